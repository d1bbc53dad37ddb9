//! What the services of every node said in a round that failed, kept beside the report: a journal in memory is
//! gone with its machine.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use futures_util::future::join_all;

use super::{
    fault::{FaultTarget, shell},
    table,
};
use crate::{component, file};

/// The most of one node's journal that is kept, from its end.
const LIMIT: u32 = 4 << 20;

/// Writes the journals of the last `length` into `dir`, one file for each node. The drill's own clients, which
/// PostgreSQL has much to say about, are left out.
///
/// # Errors
/// When the directory or a file cannot be written. A node that does not answer has that in its file.
pub(super) async fn keep(cluster: &FaultTarget<'_>, dir: &Path, length: Duration) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let nodes = cluster.fleet.nodes.values().map(async |node| {
        let units: Vec<String> = component::all_units(node).map(|unit| format!("-u {unit}")).collect();
        let command = format!(
            "journalctl --no-pager -o short-iso-precise --since -{}s {} | grep -v {}@ | tail -c {LIMIT}",
            length.as_secs(),
            units.join(" "),
            table::NAME
        );
        let said = shell::run(cluster, node.key(), &command).await;
        let text = said.map_or_else(|error| format!("{error}\n"), |done| done.stdout + &done.stderr);
        file::private(&dir.join(format!("{}.log", node.key())))?.write_all(text.as_bytes())
    });
    join_all(nodes).await.into_iter().collect()
}
