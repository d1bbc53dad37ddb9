//! A file system without a free block, and a PostgreSQL that needs one. Only a file system that holds PGDATA
//! and nothing else is ever filled.
//!
//! On a full disk PostgreSQL continues to write for a while, into pages and WAL segments that it already has. So that
//! the result does not depend on chance, the fault makes it begin one segment after the other until it finds no room
//! for the next.

use super::{node_fault::NodeFault, postmaster::data_dir};
use crate::{component::postgres, fleet::FleetNode};

/// What the scripts have in common: `$data`, its free space, and a statement to the server on it.
fn prelude(node: &FleetNode) -> String {
    let found = node.found.as_ref().map(|found| format!(" -p {} -d postgres", found.postgres.port));
    format!(
        "{}free() {{ df --output=avail -B1 \"$data\" | tail -n 1; }}\n\
         sql() {{ runuser -u {} -- psql{} -XAtq -c \"$1\"; }}\n",
        data_dir(node),
        postgres::user(node),
        found.unwrap_or_default()
    )
}

/// The space is held by a unit in a file that has no name: it is free again when the unit ends, however.
const UNIT: &str = "hactl-fill-pgdata";

/// The longest time that the space is held, should the undo fail.
const LONGEST_SECONDS: u32 = 600;

/// More segments than are ever there in advance, 3 GB.
const SEGMENTS: u32 = 200;

pub(super) fn fill(node: &FleetNode) -> NodeFault {
    let prelude = prelude(node);
    NodeFault {
        possible: format!(
            "{prelude}its() {{ findmnt --noheadings --output \"$1\" --target \"$data\"; }}\n\
             no() {{ echo \"PGDATA has no file system of its own: $1\"; exit 1; }}\n\
             [ \"$(its TARGET)\" != / ] || no 'it is on the root file system'\n\
             [ \"$(its FSTYPE)\" != overlay ] || no 'it is on an overlay'\n\
             [ \"$(its FSROOT)\" = / ] || no \"it is a directory of a larger one, $(its SOURCE)\"\n\
             [ \"$(findmnt --noheadings --output TARGET --source \"$(its SOURCE)\" | wc -l)\" = 1 ] ||\n  \
             no \"$(its SOURCE) is also mounted elsewhere\"\n\
             sql 'SELECT 1' >/dev/null\n"
        ),
        // Also take what is freed meanwhile.
        inject: format!(
            "{prelude}file=\"$data/.hactl-fill\"\n\
             systemd-run --quiet --collect --unit={UNIT} --property=RuntimeMaxSec={LONGEST_SECONDS} \
             /bin/sh -c \"exec 9>'$file' 2>/dev/null; rm '$file'; fallocate -l $(free) /proc/self/fd/9; \
             while :; do dd if=/dev/zero bs=64k oflag=append conv=notrunc >&9; sleep 0.2; done\"\n\
             for _ in 1 2 3 4 5 6 7 8 9 10; do [ \"$(free)\" -ge 65536 ] || break; sleep 0.5; done\n\
             if sql \"DO 'BEGIN FOR n IN 1..{SEGMENTS} LOOP \
             PERFORM pg_logical_emit_message(false, '''', ''''), pg_switch_wal(); END LOOP; END'\" 2>/dev/null\n\
             then echo 0; else echo 1; fi\n"
        ),
        effect: format!("{prelude}[ \"$noted\" = 1 ] && [ \"$(free)\" -lt 65536 ]\n"),
        revert: format!("! systemctl is-active --quiet {UNIT} || systemctl stop {UNIT}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fault::tests::node;

    #[test]
    fn the_space_is_held_by_a_unit_in_a_file_without_a_name() {
        assert_eq!(
            fill(&node()).inject,
            r#"data=$(sed -n 's/^ *data_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml)
free() { df --output=avail -B1 "$data" | tail -n 1; }
sql() { runuser -u postgres -- psql -XAtq -c "$1"; }
file="$data/.hactl-fill"
systemd-run --quiet --collect --unit=hactl-fill-pgdata --property=RuntimeMaxSec=600 /bin/sh -c "exec 9>'$file' 2>/dev/null; rm '$file'; fallocate -l $(free) /proc/self/fd/9; while :; do dd if=/dev/zero bs=64k oflag=append conv=notrunc >&9; sleep 0.2; done"
for _ in 1 2 3 4 5 6 7 8 9 10; do [ "$(free)" -ge 65536 ] || break; sleep 0.5; done
if sql "DO 'BEGIN FOR n IN 1..200 LOOP PERFORM pg_logical_emit_message(false, '''', ''''), pg_switch_wal(); END LOOP; END'" 2>/dev/null
then echo 0; else echo 1; fi
"#
        );
    }
}
