//! A file system without a free block, and a PostgreSQL that needs one. Only a file system that holds PGDATA
//! and nothing else is ever filled.
//!
//! On a full disk PostgreSQL continues to write for a while, into pages and WAL segments that it already has. So that
//! the result does not depend on chance, the fault makes it begin one segment after the other until it finds no room
//! for the next.

use super::{node_fault::NodeFault, postmaster::data_dir};
use crate::{component::postgres, fleet::FleetNode};

/// The unit that holds the space.
const UNIT: &str = "hactl-fill-pgdata";

pub(super) fn fill(node: &FleetNode) -> NodeFault {
    let connect = node.found.as_ref().map(|found| format!("-p {} -d postgres", found.postgres.port));
    let script = include_str!("fill.sh")
        .replace("@DATA@", &data_dir(node))
        .replace("@USER@", postgres::user(node))
        .replace("@UNIT@", UNIT)
        .replace("@CONNECT@", &connect.unwrap_or_default());
    NodeFault {
        // Nothing in it may fail: the undo runs it.
        revert: format!("! systemctl is-active --quiet {UNIT} || systemctl stop {UNIT}\n"),
        ..NodeFault::of_steps(&script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fault::tests::{code, node};

    #[test]
    fn fill_script_names_the_data_directory_and_has_no_placeholder() {
        let fault = fill(&node());
        let data = r#"data=$(sed -n 's/^ *data_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml)"#;
        for (script, step) in [(&fault.possible, "possible"), (&fault.inject, "inject"), (&fault.effect, "effect")] {
            assert!(script.contains(&format!("step='{step}'\n{data}\nuser='postgres'\n")), "{script}");
            assert!(!script.contains('@'), "{script}");
        }
        let script = code(&fault.inject);
        let steps = [
            "unit='hactl-fill-pgdata'\nlongest=600\nsegments=200\n",
            r#"free() { df --output=avail -B1 "$data" | tail -n 1; }
sql() { runuser -u "$user" -- psql  -XAtq -c "$1"; }
"#,
            r#"  inject)
    file="$data/.hactl-fill"
    systemd-run --quiet --collect --unit="$unit" --property=RuntimeMaxSec="$longest" /bin/sh -c \
      "exec 9>'$file' 2>/dev/null; rm '$file'; fallocate -l $(free) /proc/self/fd/9; while :; do dd if=/dev/zero bs=64k oflag=append conv=notrunc >&9; sleep 0.2; done"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      [ "$(free)" -ge 65536 ] || break
      sleep 0.5
    done
    if sql "DO 'BEGIN FOR n IN 1..$segments LOOP PERFORM pg_logical_emit_message(false, '''', ''''), pg_switch_wal(); END LOOP; END'" 2>/dev/null; then
      echo 0
    else
      echo 1
    fi
    ;;
"#,
        ];
        for text in steps {
            assert!(script.contains(text), "{text} is not in {script}");
        }
    }
}
