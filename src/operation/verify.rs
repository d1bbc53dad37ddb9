//! Healthy -> Verdict: the drills on a running cluster, and what they cost.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;

use super::frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform};
use crate::{
    access::{Access, DatabaseLogin},
    component::postgres,
    context::RunContext,
    deployment::{Cluster, Deployment, RunningCluster, as_owner, endpoints, for_psql},
    error::{Error, Kind, Result},
    event::{Stage, Summary},
    fleet::Fleet,
    health,
    model::{ClusterName, Dcs, InstanceKey},
    plan::Plan,
    report,
    secrets::ShortLeaves,
    verify::{self, Choice, FaultTarget, Heading, Load, PrintedString, Verdict, Verification},
};

/// What `up` runs on a cluster that it has just initialised.
const PROOF: [&str; 2] = ["switchover", "postgres-crash"];

/// What `verify` is asked for.
pub enum Work {
    Drills(Choice),
    /// The positive control.
    SelfTest(Load),
}

pub const VERIFY: Operation = Operation {
    command: "verify",
    on_adopted: true,
    reads_state: true,
    preflight: Preflight::Nothing,
    secrets: SecretsUse::Open,
    locks: LockUse::Cluster,
};

/// `hactl verify`: the drills on a running cluster.
///
/// # Errors
/// When the cluster is not healthy, a drill fails, or one that was asked for by name is refused.
pub async fn verify(run: &RunContext, deployment: Deployment, work: &Work, seed: u64) -> Result<(Summary, Verdict)> {
    perform(run, deployment, &VERIFY, async |acting| {
        let context = &run.context;
        if acting.deployment.cluster.adopted().is_some() {
            let step = "adopted cluster: hactl writes no lock into its etcd; make sure that nothing else changes the \
                        cluster during the drills";
            context.events.step(Stage::Verify, None, step).await;
        }
        let RunningCluster { plan, fleet, access, conninfo, endpoints, short_leaves, owner, .. } =
            acting.deployment.running(context).await?;
        let running = Running {
            plan: &plan,
            fleet: &fleet,
            access: &access,
            dsn: conninfo.to_string(),
            pooled: endpoints.map(|endpoints| endpoints.pooled),
            short_leaves: short_leaves.as_ref(),
            owner: owner.as_ref(),
        };
        let verdict = run.stage(Stage::Verify, drill(run, running, work, seed)).await?;
        let headline = report::verify::headline(&verdict);
        let message = match health::earliest_end(&health::certificates(&fleet, &access).await) {
            Some(end) => format!("{headline}\nThe first certificate expires on {end}."),
            None => headline,
        };
        let outcome = Outcome {
            failed: !verdict.passed(),
            message,
            next: vec![format!("hactl report {} --open", plan.cluster)],
            ..Outcome::default()
        };
        Ok((outcome, verdict))
    })
    .await
}

/// The proof that `up` gives, on a cluster that this very run has initialised: none on any other.
pub(crate) async fn prove(
    run: &RunContext,
    cluster: &Cluster,
    fleet: &Fleet,
    access: &Access,
    leader: &InstanceKey,
) -> Result<Option<Verdict>> {
    let failed = |seen: String| Error::failed("cluster-age", "read the age of the data on", leader).cause(seen);
    let node = fleet.nodes.get(leader).ok_or_else(|| failed("it is not a machine of the cluster".to_owned()))?;
    let age = postgres::age(access, node).await.map_err(|seen| failed(seen.to_string()))?;
    match made_within(age, run.elapsed()) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        // The data may be old: drills would interrupt a cluster in use.
        Err(ahead) => {
            let words =
                format!("not proved: by the clock of {leader}, the cluster was created {ahead} s in the future");
            let hint = format!("Set the clock of {leader}, then run `hactl verify {}`", cluster.name());
            run.context.events.warn("clock-behind", words, Some(hint)).await;
            return Ok(None);
        }
    }
    let drills = verify::choose(&PROOF.map(str::to_owned)).unwrap_or_default();
    let work = Work::Drills(Choice { drills, rounds: 1, load: Load::default(), left_out: Vec::new(), soak: None });
    let running = Running {
        plan: &cluster.plan,
        fleet,
        access,
        dsn: as_owner(cluster, fleet).to_string(),
        pooled: endpoints(cluster, fleet).map(|endpoints| endpoints.pooled),
        short_leaves: None,
        owner: None,
    };
    run.stage(Stage::Verify, drill(run, running, &work, 0)).await.map(Some)
}

/// Whether a cluster of this age, in seconds, is no older than `elapsed`. The error is how far in the future it was created.
fn made_within(age: i64, elapsed: Duration) -> Result<bool, u64> {
    u64::try_from(age).map(|age| Duration::from_secs(age) <= elapsed).map_err(|_| age.unsigned_abs())
}

/// The cluster that is drilled, and the connection strings that are printed for it.
struct Running<'a> {
    plan: &'a Plan,
    fleet: &'a Fleet,
    access: &'a Access,
    dsn: String,
    pooled: Option<String>,
    short_leaves: Option<&'a ShortLeaves>,
    owner: Option<&'a DatabaseLogin>,
}

async fn drill(
    run: &RunContext,
    Running { plan, fleet, access, dsn, pooled, short_leaves, owner }: Running<'_>,
    work: &Work,
    seed: u64,
) -> Result<(Verdict, Option<String>)> {
    let context = &run.context;
    let control = access.apart();
    let cluster = FaultTarget { plan, fleet, access, control: &control, context, short_leaves, owner };
    let platform = plan.platform.as_str().to_owned();
    let mut stamps: Vec<String> = plan.platform.local().map(|_| SHARED_KERNEL.to_owned()).into_iter().collect();
    if plan.platform.is_adopted() {
        let found = async { Ok(adopted_stamps(plan, fleet, access).await) };
        stamps.extend(context.interruptible("drill", &plan.cluster, found).await?);
    }
    // The string of an adopted cluster leads to no password: it is the user's to give.
    let password = plan.platform.is_adopted().then(|| access.keys.superuser.1.clone());
    let printed = PrintedString { dsn: for_psql(&dsn), pooled: pooled.map(|dsn| for_psql(&dsn)), password };
    let heading = Heading { started: Timestamp::now().strftime("%FT%TZ").to_string(), platform, stamps, seed, printed };
    let history: PathBuf = run.record().join("history.jsonl");
    let Verification { verdict, error } = match work {
        Work::Drills(choice) => verify::verify(&cluster, choice, heading, &history).await?,
        Work::SelfTest(load) => verify::self_test(&cluster, *load, heading, &history).await?,
    };
    // Also what an interrupted verification has found so far.
    report::verify::write_all(run.record(), &verdict, &history)?;
    if let Some(error) = error {
        return Err(error);
    }
    let detail = report::verify::headline(&verdict);
    Ok((verdict, Some(detail)))
}

/// What a reader of the report must know about a cluster that hactl did not make.
async fn adopted_stamps(plan: &Plan, fleet: &Fleet, access: &Access) -> Vec<String> {
    let mut stamps = vec!["adopted: hactl did not make this cluster".to_owned()];
    let seen = health::observe(fleet, access).await;
    let plain = seen.iter().filter(|(_, view)| !view.without_tls.is_empty());
    let plain: Vec<String> = plain.map(|(key, view)| format!("{} on {key}", view.without_tls.join(", "))).collect();
    if !plain.is_empty() {
        stamps.push(format!("probed without TLS, because the service has none: {}", plain.join("; ")));
    }
    match &plan.dcs {
        Dcs::Other(store) => {
            stamps.push(format!("the holder of the leader key is known from Patroni only, because the DCS is {store}"))
        }
        Dcs::Etcd { leader_key: None, .. } => {
            stamps.push("the holder of the leader key is known from Patroni only".to_owned())
        }
        Dcs::Etcd { .. } => {}
    }
    stamps
}

/// What drills on containers cannot prove.
const SHARED_KERNEL: &str = "shared kernel: containers on one machine; fsync durability, watchdogs, clocks and the \
                             timings of other hardware are not proved";

/// The error of a verdict that is not good enough, with every drill that failed.
#[must_use]
pub fn unproved(cluster: &ClusterName, verdict: &Verdict) -> Option<Error> {
    if verdict.passed() {
        return None;
    }
    let error = Error::new(Kind::Unproved, "not-proved", "prove the failover of", cluster);
    let failed = verdict.drills.iter().filter(|drill| drill.outcome == verify::verdict::DrillOutcome::Failed);
    let error = failed.fold(error, |error, drill| {
        let variant = drill.variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
        error.cause(format!("{}{variant}: {}", drill.name, drill.reason.as_deref().unwrap_or("the drill failed")))
    });
    Some(error.hint(format!("Run `hactl report {cluster} --open` to see each round")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_created_in_the_future_is_not_new() {
        let elapsed = Duration::from_secs(90);
        let table = [(0, Ok(true)), (90, Ok(true)), (91, Ok(false)), (-1, Err(1)), (-86_400, Err(86_400))];
        for (age, new) in table {
            assert_eq!(made_within(age, elapsed), new, "{age}");
        }
    }
}
