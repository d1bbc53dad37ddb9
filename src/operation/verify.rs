//! Healthy -> Verdict: the drills on a running cluster, and what they cost.

use std::path::PathBuf;

use jiff::Timestamp;

use super::frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform};
use crate::{
    access::Access,
    component::postgres,
    context::RunContext,
    deployment::{Cluster, Deployment, RunningCluster},
    error::{Error, Kind, Result},
    event::{Stage, Summary},
    fleet::Fleet,
    health,
    model::{ClusterName, Dcs, InstanceKey},
    plan::Plan,
    report,
    verify::{self, Choice, FaultTarget, Heading, Load, Verdict, Verification},
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
        let RunningCluster { plan, fleet, access, .. } = acting.deployment.running(context).await?;
        let verdict = run.stage(Stage::Verify, drill(run, &plan, &fleet, &access, work, seed)).await?;
        let outcome = Outcome {
            failed: !verdict.passed(),
            message: report::verify::headline(&verdict),
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
    if age > run.elapsed() {
        return Ok(None);
    }
    let drills = verify::choose(&PROOF.map(str::to_owned)).unwrap_or_default();
    let work = Work::Drills(Choice { drills, rounds: 1, load: Load::default(), left_out: Vec::new(), soak: None });
    run.stage(Stage::Verify, drill(run, &cluster.plan, fleet, access, &work, 0)).await.map(Some)
}

async fn drill(
    run: &RunContext,
    plan: &Plan,
    fleet: &Fleet,
    access: &Access,
    work: &Work,
    seed: u64,
) -> Result<(Verdict, Option<String>)> {
    let context = &run.context;
    let control = access.apart();
    let cluster = FaultTarget { plan, fleet, access, control: &control, context };
    let platform = plan.platform.as_str().to_owned();
    let mut stamps: Vec<String> = plan.platform.local().map(|_| SHARED_KERNEL.to_owned()).into_iter().collect();
    if plan.platform.is_adopted() {
        let found = async { Ok(adopted_stamps(plan, fleet, access).await) };
        stamps.extend(context.interruptible("drill", &plan.cluster, found).await?);
    }
    let heading = Heading { started: Timestamp::now().strftime("%FT%TZ").to_string(), platform, stamps, seed };
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
