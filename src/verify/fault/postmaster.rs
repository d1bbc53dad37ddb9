//! Where PostgreSQL's data directory and its postmaster are on a node, as shell text.

use crate::{fleet::FleetNode, ssh::quoted};

/// PostgreSQL's data directory, as a word of the shell.
pub(super) fn data_dir(node: &FleetNode) -> String {
    match &node.found {
        Some(found) => quoted(&found.data_dir),
        None => r#"$(sed -n 's/^ *data_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml)"#.to_owned(),
    }
}

/// Finds the postmaster by the file that it keeps in its data directory.
pub(super) fn postmaster(node: &FleetNode) -> String {
    let find = r#"read -r postmaster <"$data/postmaster.pid"
[ "$(cat "/proc/$postmaster/comm")" = postgres ] || { echo "no postmaster is running on $data" >&2; exit 1; }
"#;
    format!("data={}\n{find}", data_dir(node))
}
