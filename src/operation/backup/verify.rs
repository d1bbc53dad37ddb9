//! `hactl backup verify`: restores the cluster on a replica's machine into a directory of its own, and compares what is there
//! with the primary.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Client;

use super::{
    shared::{archived, configured, look, primary},
    unit,
};
use crate::{
    component::postgres,
    context::RunContext,
    deployment::{Deployment, RunningCluster},
    error::{Error, Result, codes},
    event::{Stage, Summary},
    file,
    fleet::FleetNode,
    health::Health,
    model::{InstanceKey, ProvedRestore},
    operation::{
        frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform},
        obstacle::{Obstacle, refuse},
    },
    report::verify::{JUNIT, RestoreCase, junit_of_restore},
    stage::versions,
};

pub const VERIFY_BACKUP: Operation = Operation {
    command: "backup verify",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Nothing,
    secrets: SecretsUse::Open,
    // Other changes need not wait for it, and its unit runs once on a machine.
    locks: LockUse::Directory,
};

/// Where the backup is tested.
#[derive(Clone, Debug, Default)]
pub struct VerifyBackupRequest {
    /// The replica whose machine restores; by default the one with the most free space.
    pub on: Option<InstanceKey>,
}

/// The unit of a test.
const UNIT: &str = "hactl-restore-test.service";

/// How long a look at a machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The rows that the test writes and looks for; the newest of them stay.
const TABLE: &str = "CREATE SCHEMA IF NOT EXISTS hactl_backup; \
    CREATE TABLE IF NOT EXISTS hactl_backup.heartbeat (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
    at timestamptz NOT NULL DEFAULT clock_timestamp(), token text NOT NULL); \
    DELETE FROM hactl_backup.heartbeat WHERE id < (SELECT max(id) - 1000 FROM hactl_backup.heartbeat)";

/// What a test has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Proof {
    /// The machine that restored.
    node: String,
    /// Seconds from the repository to the disk, and to the end of the recovery.
    restore_seconds: u64,
    recovery_seconds: u64,
    /// Seconds of the checks.
    check_seconds: u64,
    bytes: u64,
    /// Rows that were compared.
    rows: i64,
    amcheck: String,
    checksums: String,
}

impl Proof {
    /// What each step has shown.
    fn cases(&self) -> Vec<RestoreCase> {
        let case = |name, seconds, output: String| RestoreCase { name, seconds, output };
        vec![
            case("restore", self.restore_seconds, format!("{} bytes on {}", self.bytes, self.node)),
            case("recovery", self.recovery_seconds, "to the restore point".to_owned()),
            case("rows", 0, format!("{} rows are those of the primary, and none was written later", self.rows)),
            case("amcheck and checksums", self.check_seconds, format!("{}, {}", self.amcheck, self.checksums)),
        ]
    }
}

/// The result of a test, as it is written into the run record.
#[derive(Serialize)]
struct Written<'a> {
    cluster: &'a str,
    started: Timestamp,
    /// Whether the backups restore.
    proved: bool,
    proof: Option<&'a Proof>,
    error: Option<&'a Error>,
}

/// Restores the cluster beside a replica, and compares.
///
/// # Errors
/// When no replica has the space, the restore fails, or what was restored differs.
pub async fn verify_backup(run: &RunContext, deployment: Deployment, request: &VerifyBackupRequest) -> Result<Summary> {
    let done = perform(run, deployment, &VERIFY_BACKUP, async |acting| {
        configured(&acting.deployment.cluster.plan, "test the backups of")?;
        let cluster = acting.deployment.running(&run.context).await?;
        let started = Timestamp::now();
        let tested = run.stage(Stage::Backup, test(run, &cluster, request)).await;
        report_files(run, cluster.plan.cluster.as_str(), started, tested.as_ref())?;
        let proof = tested?;
        let seconds = proof.restore_seconds + proof.recovery_seconds;
        acting.deployment.cluster.note_restored(ProvedRestore { at: Timestamp::now(), seconds })?;
        versions::share(&run.context, &mut acting.deployment).await?;
        let name = &cluster.plan.cluster;
        let message = format!(
            "{name}: the backups restore. {} restored {} MiB in {} s and recovered to the restore point in {} s: {} rows are \
             those of the primary, none was written later, amcheck found nothing{}.",
            proof.node,
            proof.bytes >> 20,
            proof.restore_seconds,
            proof.recovery_seconds,
            proof.rows,
            if proof.checksums == "ok" { ", and every checksum is right" } else { "; the data has no checksums" }
        );
        let next = vec![format!("hactl backup list {name}")];
        Ok((Outcome { message, next, ..Outcome::default() }, ()))
    });
    Ok(done.await?.0)
}

async fn test(
    run: &RunContext,
    cluster: &RunningCluster,
    request: &VerifyBackupRequest,
) -> Result<(Proof, Option<String>)> {
    let (context, name) = (&run.context, &cluster.plan.cluster);
    let failed = || Error::failed(codes::RESTORE_TEST_FAILED, "restore the backups of", name);
    let health = look(run, cluster).await?;
    let primary = primary(cluster, &health, "test the backups of")?;
    let node = machine(cluster, &health, request).await?;
    let client = postgres::superuser(&cluster.access, primary, "postgres").await;
    let client = client.map_err(|said| failed().cause(format!("{}: {said}", primary.key())))?;
    let asked = async { write(&client).await.map_err(|error| failed().cause(error.to_string())) };
    let expected = context.interruptible("write rows on", primary.key(), asked).await?;
    let words = format!("waiting until segment {} is in the repository", expected.segment);
    context.events.step(Stage::Backup, Some(primary.key()), words).await;
    context.interruptible("wait for the archive of", name, archived(&client, &expected.segment, &failed)).await?;

    // A test that an interrupted command left behind restores to another moment: its result would be taken for this one's.
    let script = include_str!("restore_test.sh").replace("@TARGET@", &expected.lsn);
    let remote = cluster.access.connect(node).await?;
    let install = format!(
        "systemctl stop {UNIT} 2>/dev/null; cat >/run/hactl-restore-test.sh && chmod 644 /run/hactl-restore-test.sh"
    );
    let done = remote.run(&install, script.as_bytes(), PATIENCE).await?;
    done.output().map_err(|said| failed().cause(said))?;
    let command = "/bin/sh /run/hactl-restore-test.sh";
    let unit = unit::Unit { name: UNIT, user: "postgres", command, memory_mib: Some(node.node.memory_mib / 2) };
    let lines = unit.run(context, cluster, node, failed).await?;
    let proof = judged(node.key(), &lines, &expected).map_err(|said| failed().cause(said))?;
    let detail = format!("restored on {} in {} s", node.key(), proof.restore_seconds + proof.recovery_seconds);
    Ok((proof, Some(detail)))
}

/// Writes the result into the run record, as JSON and for CI systems.
fn report_files(run: &RunContext, cluster: &str, started: Timestamp, tested: Result<&Proof, &Error>) -> Result<()> {
    let written = Written { cluster, started, proved: tested.is_ok(), proof: tested.ok(), error: tested.err() };
    run.keep("restore-test", &written)?;
    let xml = junit_of_restore(cluster, &started.to_string(), tested.map(Proof::cases))?;
    let path = run.record().join(JUNIT);
    file::replace(&path, xml.as_bytes())
        .map_err(|error| Error::failed("report", "write", path.display()).source(&error))
}

/// What the restored cluster must have.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    /// Where the restore point ends.
    lsn: String,
    /// The segment that has it.
    segment: String,
    /// The number of rows that were acknowledged before the restore point, and what is in them.
    rows: i64,
    digest: String,
}

/// Writes a row, a restore point and one more row on the primary, which that restore point does not have.
async fn write(client: &Client) -> Result<Expected, tokio_postgres::Error> {
    let token = format!("{:032x}", rand::random::<u128>());
    let point = format!("hactl-{token}");
    client.batch_execute(TABLE).await?;
    let insert = "INSERT INTO hactl_backup.heartbeat (token) VALUES ($1)";
    client.execute(insert, &[&token]).await?;
    let row = client.query_one("SELECT pg_create_restore_point($1)::text", &[&point]).await?;
    let lsn = row.get(0);
    let row = client
        .query_one(
            "SELECT count(*), coalesce(md5(string_agg(id || ':' || token, ',' ORDER BY id)), '-') \
             FROM hactl_backup.heartbeat",
            &[],
        )
        .await?;
    let (rows, digest) = (row.get(0), row.get(1));
    client.execute(insert, &[&format!("after {token}")]).await?;
    let row = client.query_one("SELECT pg_walfile_name(pg_switch_wal())", &[]).await?;
    Ok(Expected { lsn, segment: row.get(0), rows, digest })
}

/// The replica whose machine restores: never the primary's.
async fn machine<'a>(
    cluster: &'a RunningCluster,
    health: &Health,
    request: &VerifyBackupRequest,
) -> Result<&'a FleetNode> {
    let refused = || Error::failed("restore-test-refused", "test the backups of", &cluster.plan.cluster);
    let streaming = health.members.iter().filter(|member| !member.is_leader() && member.state == "streaming");
    let names: Vec<&str> = streaming.map(|member| member.name.as_str()).collect();
    let wanted = |node: &&FleetNode| {
        names.contains(&node.key().as_str()) && request.on.as_ref().is_none_or(|on| on == node.key())
    };
    let mut obstacles = Vec::new();
    let mut best: Option<(u64, &FleetNode)> = None;
    for node in cluster.fleet.data_nodes().filter(wanted) {
        let done =
            cluster.access.connect(node).await?.run("/bin/sh", include_str!("space.sh").as_bytes(), PATIENCE).await?;
        let said = done.output().map_err(|said| refused().cause(said))?;
        let mut numbers = said.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        let (needed, free) = (numbers.next().unwrap_or(u64::MAX), numbers.next().unwrap_or_default());
        if free < needed.saturating_add(needed / 5) {
            let cause = format!(
                "{}: {} MiB are free, and a copy of {} MiB needs a fifth more than its size",
                node.key(),
                free >> 10,
                needed >> 10
            );
            obstacles.push(Obstacle::new(cause, "Free space on the disk of the data"));
        } else if best.is_none_or(|(most, _)| free > most) {
            best = Some((free, node));
        }
    }
    if let Some((_, node)) = best {
        return Ok(node);
    }
    if obstacles.is_empty() {
        let cause = match &request.on {
            Some(on) => format!("{on} is not a streaming replica; these replicas stream: {}", names.join(", ")),
            None => "no replica streams, and a restore beside the primary could disturb it".to_owned(),
        };
        obstacles.push(Obstacle::new(cause, format!("Run `hactl status {}`", cluster.plan.cluster)));
    }
    refuse(obstacles, refused, &cluster.plan.cluster)?;
    Err(refused())
}

/// What the lines of the unit prove.
fn judged(node: &InstanceKey, lines: &[String], expected: &Expected) -> Result<Proof, String> {
    let result = |name: &str| {
        let mut results = lines.iter().filter_map(|line| line.strip_prefix("result ")?.strip_prefix(name));
        results.next_back().map(str::trim).ok_or_else(|| format!("the test on {node} did not report its {name}"))
    };
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
    let (restore, recovery) = result("seconds")?.split_once(' ').unwrap_or_default();
    let (rows, digest) = result("rows")?.split_once(' ').unwrap_or_default();
    let wanted = (expected.rows.to_string(), expected.digest.as_str());
    if (rows, digest) != (wanted.0.as_str(), wanted.1) {
        return Err(format!(
            "the rows of hactl_backup.heartbeat differ: {rows} were restored, and the primary had {} when it acknowledged \
             the last of them",
            expected.rows
        ));
    }
    Ok(Proof {
        node: node.to_string(),
        restore_seconds: number(restore)?,
        recovery_seconds: number(recovery)?,
        check_seconds: number(result("checked")?)?,
        bytes: number(result("bytes")?)?,
        rows: expected.rows,
        amcheck: result("amcheck")?.to_owned(),
        checksums: result("checksums")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rows: &str) -> Vec<String> {
        let text = format!(
            "restoring from the repository\nresult bytes 31181764\nresult seconds 4 2\nresult rows {rows}\nresult amcheck \
             ok\nresult checksums ok\nresult checked 3"
        );
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn restored_rows_that_differ_are_no_proof() {
        let expected = Expected {
            lsn: "0/7000090".into(),
            segment: "000000010000000000000007".into(),
            rows: 2,
            digest: "ab".into(),
        };
        let node: InstanceKey = "node2".parse().unwrap();
        let proof = judged(&node, &lines("2 ab"), &expected).unwrap();
        assert_eq!((proof.restore_seconds, proof.recovery_seconds, proof.rows, proof.bytes), (4, 2, 2, 31_181_764));
        // A row less, a row of later, and a row with other content.
        for rows in ["1 cd", "3 ab", "2 cd"] {
            let said = judged(&node, &lines(rows), &expected).unwrap_err();
            assert!(said.contains("differ"), "{said}");
        }
        let mut silent = lines("2 ab");
        silent.retain(|line| !line.starts_with("result amcheck"));
        assert!(judged(&node, &silent, &expected).unwrap_err().contains("amcheck"));
    }
}
