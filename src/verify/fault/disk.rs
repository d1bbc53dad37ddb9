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
    let step = |step: &str| script.replace("@STEP@", step);
    NodeFault {
        possible: step("possible"),
        inject: step("inject"),
        effect: step("effect"),
        // Nothing in it may fail: the undo runs it.
        revert: format!("! systemctl is-active --quiet {UNIT} || systemctl stop {UNIT}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fault::tests::node;

    #[test]
    fn fill_script_names_the_data_directory_and_has_no_placeholder() {
        let fault = fill(&node());
        let data = r#"data=$(sed -n 's/^ *data_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml)"#;
        for (script, step) in [(&fault.possible, "possible"), (&fault.inject, "inject"), (&fault.effect, "effect")] {
            assert!(script.contains(&format!("step='{step}'\n{data}\nuser='postgres'\n")), "{script}");
            assert!(!script.contains('@'), "{script}");
        }
    }
}
