//! A file system without a free block. Only one that holds PGDATA and nothing else is ever filled.

use super::blow::Blow;

const DATA: &str = "data=$(sed -n 's/^ *data_dir: \"\\(.*\\)\"$/\\1/p' /etc/patroni/patroni.yml)\n";

/// The space is held by a unit in a file that has no name: it is free again when the unit ends, however.
const UNIT: &str = "hactl-fill-pgdata";

/// The longest time that the space is held, should the undo fail.
const LONGEST_SECONDS: u32 = 600;

pub(super) fn fill() -> Blow {
    Blow {
        possible: format!(
            "{DATA}its() {{ findmnt --noheadings --output \"$1\" --target \"$data\"; }}\n\
             no() {{ echo \"PGDATA has no file system of its own: $1\"; exit 1; }}\n\
             [ \"$(its TARGET)\" != / ] || no 'it lies on the root file system'\n\
             [ \"$(its FSTYPE)\" != overlay ] || no 'it lies on an overlay'\n\
             [ \"$(its FSROOT)\" = / ] || no \"it is a directory of a larger one, $(its SOURCE)\"\n\
             [ \"$(findmnt --noheadings --output TARGET --source \"$(its SOURCE)\" | wc -l)\" = 1 ] ||\n  \
             no \"$(its SOURCE) is mounted elsewhere, too\"\n"
        ),
        strike: format!(
            "{DATA}file=\"$data/.hactl-fill\"\n\
             free=$(df --output=avail -B1 \"$data\" | tail -n 1)\n\
             systemd-run --quiet --collect --unit={UNIT} --property=RuntimeMaxSec={LONGEST_SECONDS} \
             /bin/sh -c \"exec 9>'$file'; rm '$file'; fallocate -l $free /proc/self/fd/9; \
             dd if=/dev/zero bs=64k oflag=append conv=notrunc >&9; exec sleep {LONGEST_SECONDS}\"\n"
        ),
        effect: format!("{DATA}[ \"$(df --output=avail -B1 \"$data\" | tail -n 1)\" -lt 65536 ]\n"),
        undo: format!("! systemctl is-active --quiet {UNIT} || systemctl stop {UNIT}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_is_held_by_a_unit_in_a_file_without_a_name() {
        assert_eq!(
            fill().strike,
            r#"data=$(sed -n 's/^ *data_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml)
file="$data/.hactl-fill"
free=$(df --output=avail -B1 "$data" | tail -n 1)
systemd-run --quiet --collect --unit=hactl-fill-pgdata --property=RuntimeMaxSec=600 /bin/sh -c "exec 9>'$file'; rm '$file'; fallocate -l $free /proc/self/fd/9; dd if=/dev/zero bs=64k oflag=append conv=notrunc >&9; exec sleep 600"
"#
        );
    }
}
