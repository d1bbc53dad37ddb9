//! Where PostgreSQL's data directory and its postmaster are on a node, as shell text.

use crate::{fleet::FleetNode, ssh::quoted};

/// Sets `$data` to PostgreSQL's data directory.
pub(super) fn data_dir(node: &FleetNode) -> String {
    match &node.found {
        Some(found) => format!("data={}\n", quoted(&found.data_dir)),
        None => "data=$(sed -n 's/^ *data_dir: \"\\(.*\\)\"$/\\1/p' /etc/patroni/patroni.yml)\n".to_owned(),
    }
}

/// Finds the postmaster by the file that it keeps in its data directory.
pub(super) fn postmaster(node: &FleetNode) -> String {
    let find = r#"read -r postmaster <"$data/postmaster.pid"
[ "$(cat "/proc/$postmaster/comm")" = postgres ] || { echo "no postmaster is running on $data" >&2; exit 1; }
"#;
    data_dir(node) + find
}
