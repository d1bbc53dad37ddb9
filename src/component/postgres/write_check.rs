//! Whether a write on the leader arrives on every replica.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::{
    client::{connect, said},
    mark::mark,
};
use crate::{
    access::Access,
    error::{Error, Result},
    fleet::{Fleet, FleetNode},
    model::{InstanceKey, reserved},
};

/// Writes a row on the leader and reads it on every replica. The table is dropped again.
///
/// # Errors
/// Names the node on which the row could not be written or did not arrive within `patience`.
pub async fn write_and_read(fleet: &Fleet, access: &Access, leader: &InstanceKey, patience: Duration) -> Result<()> {
    const TABLE: &str = reserved::HEALTH_CHECK;
    let failed = |node: &InstanceKey, seen: String| {
        Error::failed("write-check", "write a row and read it on", node)
            .cause(seen)
            .hint(format!("Run `hactl status {}`", fleet.cluster))
    };
    let open = async |node: &FleetNode| {
        let remote = access.connect(node).await.map_err(|error| failed(node.key(), error.to_string()))?;
        connect(&remote, access, node, "postgres").await.map_err(|seen| failed(node.key(), seen.to_string()))
    };
    let Some(primary) = fleet.nodes.get(leader) else {
        return Err(failed(leader, "the leader is not one of the cluster's machines".to_owned()));
    };
    let client = open(primary).await?;
    let row = format!("{:032x}", rand::random::<u128>());
    let on_leader = |error: tokio_postgres::Error| failed(leader, said(&error));
    // Another table may have the name: a table of a check that broke off is dropped, and no other.
    let mark = mark(&client).await.map_err(on_leader)?;
    let clean = format!(
        "DO $$ BEGIN IF obj_description(to_regclass('public.{TABLE}'), 'pg_class') = '{mark}' \
         THEN DROP TABLE public.{TABLE}; END IF; END $$"
    );
    let make = format!(
        "{clean}; CREATE TABLE public.{TABLE} (mark text NOT NULL); COMMENT ON TABLE public.{TABLE} IS '{mark}'"
    );
    client.batch_execute(&make).await.map_err(|error| match error.code() {
        Some(&SqlState::DUPLICATE_TABLE) => failed(leader, said(&error)).hint(format!(
            "Rename the table public.{TABLE} in database postgres if you need it, or drop it; then run the command again"
        )),
        _ => on_leader(error),
    })?;
    let arrived = async {
        let insert = format!("INSERT INTO public.{TABLE} VALUES ($1)");
        // A commit that waits for a replica which does not come would wait for ever.
        match tokio::time::timeout(patience, client.execute(&insert, &[&row])).await {
            Ok(done) => drop(done.map_err(on_leader)?),
            Err(_) => {
                let seen = format!("the commit was not acknowledged within {} s", patience.as_secs());
                return Err(failed(leader, seen));
            }
        }
        for node in fleet.data_nodes().filter(|node| node.key() != leader) {
            let client = open(node).await?;
            let query = format!("SELECT count(*) FROM public.{TABLE} WHERE mark = $1");
            let deadline = tokio::time::Instant::now() + patience;
            loop {
                let seen = match client.query_one(&query, &[&row]).await {
                    Ok(row) if row.get::<_, i64>(0) == 1 => break,
                    Ok(_) => "the row has not arrived".to_owned(),
                    Err(error) => said(&error),
                };
                if tokio::time::Instant::now() > deadline {
                    return Err(failed(node.key(), format!("{seen} after {} s", patience.as_secs())));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    };
    let arrived = arrived.await;
    // The check's own verdict counts; a table that stays behind is dropped by the next check.
    let _ = tokio::time::timeout(patience, client.batch_execute(&clean)).await;
    arrived
}
