//! `hactl up`: every stage, from left to right.

use std::time::Duration;

use super::{
    frame::{Acting, LockUse, Operation, Outcome, Preflight, SecretsUse, perform},
    plan::still_fits,
    switchover,
    verify::prove,
};
use crate::{
    ansible::Configured,
    component::{pgbackrest::Origin, postgres},
    context::RunContext,
    deployment::{Cluster, Deployment, RunningCluster, access, as_owner, client_files, endpoints, lock::LockRequest},
    error::{Error, Result},
    event::{Stage, Summary},
    health,
    model::InstanceKey,
    report,
    stage::{
        firewall, interruption,
        machines::{self, Provisioned, With},
        prepare,
        saved_plan::SavedPlan,
        software::{self, PlayMode},
        versions,
    },
    terraform::Consent,
    verify::Verdict,
};

/// How long a configured cluster may take to become healthy: a replica that is rewound or rebuilt is
/// the slowest case.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);

/// How long the written row may take to arrive on every replica.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

pub const UP: Operation = Operation {
    command: "up",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Announced,
    secrets: SecretsUse::Create,
    locks: LockUse::IfKnown,
};

/// What `up` is asked for.
#[derive(Clone, Debug)]
pub struct UpRequest {
    /// What may be destroyed or restarted.
    pub agreed: Consent,
    /// Whether Ansible runs with Mitogen.
    pub mitogen: bool,
    /// Whether a cluster that this run initialises is drilled.
    pub proof: bool,
    /// Whether writes may be interrupted.
    pub may_interrupt: bool,
    /// The plan that is carried out, and nothing else.
    pub saved: Option<SavedPlan>,
    /// What a new cluster begins with in place of an empty one.
    pub origin: Option<Origin>,
}

/// Creates the cluster, or converges it. `ask` asks for consent to an interruption of writes.
///
/// # Errors
/// When a stage fails. What was done so far stays; the next `up` continues from there.
pub async fn up(
    run: &RunContext,
    deployment: Deployment,
    request: &UpRequest,
    ask: impl AsyncFnOnce(&str) -> Result<bool>,
) -> Result<(Summary, Option<Verdict>)> {
    perform(run, deployment, &UP, async |acting| converge(acting, request, ask).await).await
}

/// The stages that make and change something. A cluster that has no etcd yet is locked as soon as it has one.
pub(super) async fn converge(
    acting: &mut Acting<'_>,
    request: &UpRequest,
    ask: impl AsyncFnOnce(&str) -> Result<bool>,
) -> Result<(Outcome, Option<Verdict>)> {
    let UpRequest { agreed, mitogen, proof, saved, origin, .. } = request;
    let may_interrupt = request.may_interrupt || saved.as_ref().is_some_and(|saved| saved.interrupts_writes);
    let Acting { run, deployment, locks, .. } = acting;
    let context = &run.context;
    versions::learn(context, deployment).await?;
    if let Some(saved) = saved {
        still_fits(context, deployment, agreed, saved).await?;
    }
    let (cluster, known, vault) = deployment.parts(context).await?;
    let plain = cluster.plan.is_plain();
    if plain && cluster.plan.platform.local().is_none() {
        let with = With { image: None, agreed };
        let provisioned = machines::apply(run, cluster, known, vault, &with).await?;
        client_files(context, cluster, vault, &provisioned.fleet)?;
        return Ok((plain_machines(cluster.name().as_str(), &provisioned), None));
    }
    let prepared = prepare::prepare(run, cluster, vault, *mitogen).await?;
    let with = With { image: prepared.image.as_deref(), agreed };
    let provisioned = machines::apply(run, cluster, known, vault, &with).await?;
    let fleet = &provisioned.fleet;
    if plain {
        client_files(context, cluster, vault, fleet)?;
        return Ok((plain_machines(cluster.name().as_str(), &provisioned), None));
    }
    let inventory = software::render(run, cluster, vault, fleet, &prepared.downloads).await?;
    let access = access(context, cluster, vault)?;
    let request = LockRequest { run, cluster, command: UP.command, fleet, access: &access };
    let seen = async { Ok(software::look(cluster, fleet, &access, &inventory).await) };
    let seen = context.interruptible("inspect the machines of", cluster.name(), seen).await?;
    if origin.as_ref().is_some_and(|origin| origin.own) {
        has_no_data(cluster, &seen.with_data)?;
    }
    let skips = seen.current && !provisioned.changed;
    let configured = if skips {
        run.skip(Stage::Configure, "every machine has this configuration, and the cluster is healthy").await;
        Configured::default()
    } else {
        software::check_dates(cluster, vault, &seen)?;
        locks.take_machines(request).await?;
        // A run elsewhere may have taken it meanwhile; a missing etcd is not reported, because it is expected here.
        locks.try_etcd(request).await?;
        firewall::admit_members(cluster, fleet, &access).await?;
        let mode = PlayMode { mitogen: *mitogen, check: false, may_interrupt, origin: origin.as_ref() };
        let hand_over = async || {
            let running = RunningCluster::made_here(context, cluster, vault, fleet.clone())?;
            switchover::before_restart(run, &running).await
        };
        interruption::configure(run, cluster, &prepared.ansible, mode, seen.leader.as_ref(), ask, hand_over).await?
    };
    locks.take_etcd(request).await?;
    let (leader, filtered) = run
        .stage(Stage::Health, async {
            let healthy = health::wait_until_healthy(context, &cluster.plan, fleet, &access, HEALTHY_WITHIN).await?;
            run.keep("health", healthy.health())?;
            let leader = healthy.leader().clone();
            let filtered = firewall::converge(context, cluster, fleet, &access, &leader).await?;
            postgres::write_and_read(fleet, &access, &leader, WRITE_TIMEOUT).await?;
            let detail = format!("{leader} leads; a row written there is on every replica");
            Ok(((leader, filtered), Some(detail)))
        })
        .await?;
    versions::keep(context, cluster, known, vault, fleet, prepared.image.as_deref()).await?;
    if let Some(error) = interruption::left(UP.command, cluster, &configured) {
        return Err(error);
    }
    let data_nodes = cluster.plan.data_nodes().count();
    let proved = match (*proof, data_nodes) {
        (false, _) => None,
        (true, 1) => {
            run.skip(Stage::Verify, "not proved: one data node").await;
            None
        }
        (true, _) => prove(run, cluster, fleet, &access, &leader).await?,
    };

    let name = cluster.name();
    // Without a playbook the machines serve what was seen before it.
    let certificates = if skips { seen.certificates } else { health::certificates(fleet, &access).await };
    let earliest = health::earliest_end(&certificates);
    let changed = provisioned.changed || configured.changed() > 0 || filtered > 0;
    let message = match (changed, cluster.plan.nodes.len()) {
        (false, _) => format!("{name} is healthy; nothing had to change. {leader} leads."),
        // The drill has moved the leader.
        (true, count) if proved.is_some() => format!("{name} is healthy: {count} machines."),
        (true, count) => format!("{name} is healthy: {count} machines, {leader} leads."),
    };
    let message = match &proved {
        Some(verdict) => format!("{message}\n{}", report::verify::proof(verdict)),
        None if data_nodes == 1 => format!("{message}\nnot proved: one data node"),
        None => message,
    };
    let message = match earliest {
        Some(end) => format!("{message}\nThe first certificate expires on {end}."),
        None => message,
    };
    let outcome = Outcome {
        failed: false,
        message,
        dsn: Some(as_owner(cluster, fleet).to_string()),
        endpoints: endpoints(cluster, fleet),
        next: vec![format!("hactl status {name}"), format!("hactl psql {name}"), format!("hactl down {name}")],
        changed,
    };
    Ok((outcome, proved))
}

/// Refuses machines that have data of the cluster: an interrupted recovery leaves machines without it.
pub(super) fn has_no_data(cluster: &Cluster, with_data: &[InstanceKey]) -> Result<()> {
    if with_data.is_empty() {
        return Ok(());
    }
    let name = cluster.name();
    let error = Error::failed("recovery-refused", "recover", format!("{name} from its backups"));
    let error = with_data.iter().fold(error, |error, key| error.cause(format!("{key} answers and has data of {name}")));
    Err(error.hint(format!(
        "Run `hactl status {name}`, and `hactl up {name}` to repair the cluster with the data that it has"
    )))
}

/// Machines without a role are made and listed, and nothing is configured on them.
fn plain_machines(name: &str, provisioned: &Provisioned) -> Outcome {
    let message = match provisioned.fleet.nodes.len() {
        0 => format!("{name}: no machines."),
        1 => format!("{name}: 1 machine without a role; nothing to configure."),
        count => format!("{name}: {count} machines without a role; nothing to configure."),
    };
    Outcome { message, next: vec![format!("hactl down {name}")], changed: provisioned.changed, ..Outcome::default() }
}
