//! `hactl up`: every stage, from left to right.

use std::time::Duration;

use super::verify;
use crate::{
    component::postgres,
    context::RunContext,
    deployment::{
        Cluster,
        lock::{Asking, Locks},
        look, shared_record,
    },
    error::Result,
    event::{Event, Stage, Summary, WriteGap},
    health,
    model::{Platform, Role},
    report,
    secrets::Vault,
    stage::{
        dns, hypervisor,
        machines::{self, Provisioned, With},
        prepare, software,
    },
    terraform::Consent,
    verify::Verdict,
};

/// How long a configured cluster may take to become healthy: a replica that is rewound or made anew
/// is the slowest case.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);

/// How long the written row may take to arrive on every replica.
const ARRIVES_WITHIN: Duration = Duration::from_secs(20);

/// Creates the cluster, or converges it.
///
/// # Errors
/// When a stage fails. What was done so far stays; the next `up` carries on from there.
pub async fn up(
    run: &RunContext,
    cluster: &Cluster,
    agreed: &Consent,
    mitogen: bool,
    proof: bool,
) -> Result<(Summary, Option<Verdict>)> {
    let context = &run.context;
    let gap = |bound: &crate::plan::Bound| WriteGap { fault: bound.fault.clone(), seconds: bound.seconds };
    context
        .events
        .emit(Event::Planned {
            durability: cluster.plan.patroni.durability.to_string(),
            fencing: cluster.plan.fencing.clone(),
            bounds: cluster.plan.bounds.iter().map(gap).collect(),
        })
        .await;
    for warning in &cluster.plan.warnings {
        let (message, hint) = (warning.message.clone(), warning.hint.clone());
        context.events.emit(Event::Warning { code: "plan", message, hint }).await;
    }
    prepare::tools(context, &cluster.plan.platform).await?;
    dns::check(context, cluster).await?;
    hypervisor::check(context, cluster).await?;
    machines::check(context, cluster)?;
    run.keep("plan", &cluster.plan)?;
    let mut vault = shared_record::open(context, cluster).await?;
    cluster.note(&context.dirs)?;

    let mut locks = Locks::take_if_known(run, cluster, "up", &vault, false).await?;
    let asked = Asked { agreed, mitogen, proof };
    let result = converge(run, cluster, &mut vault, &asked, &mut locks).await;
    // Also of a run that failed.
    shared_record::say_saved(context, cluster, &vault).await;
    locks.give_back(result).await
}

/// What `up` was asked for.
struct Asked<'a> {
    agreed: &'a Consent,
    mitogen: bool,
    proof: bool,
}

/// The stages that make and change something. A cluster that has no etcd yet is locked as soon as it has one.
async fn converge(
    run: &RunContext,
    cluster: &Cluster,
    vault: &mut Vault,
    asked: &Asked<'_>,
    locks: &mut Locks,
) -> Result<(Summary, Option<Verdict>)> {
    let Asked { agreed, mitogen, proof } = *asked;
    let context = &run.context;
    shared_record::is_current(context, cluster).await?;
    let plain = cluster.plan.nodes.values().all(|node| node.roles.is_empty());
    if plain && !matches!(cluster.plan.platform, Platform::Local(_)) {
        let provisioned = machines::apply(run, cluster, vault, &With { image: None, agreed }).await?;
        return Ok((plain_machines(run, cluster, vault, &provisioned)?, None));
    }
    let prepared = prepare::prepare(run, cluster, vault, mitogen).await?;
    let with = With { image: prepared.image.as_deref(), agreed };
    let provisioned = machines::apply(run, cluster, vault, &with).await?;
    let fleet = &provisioned.fleet;
    if plain {
        return Ok((plain_machines(run, cluster, vault, &provisioned)?, None));
    }
    let inventory = software::render(run, cluster, vault, fleet, &prepared.downloads).await?;
    let access = look::access(context, cluster, vault)?;
    let asking = Asking { run, cluster, command: "up", fleet, access: &access };
    let configured = if !provisioned.changed && software::is_current(cluster, fleet, &access, &inventory).await {
        run.skip(Stage::Configure, "every node has this configuration, and the cluster is healthy").await;
        0
    } else {
        locks.take_machines(asking).await?;
        // A run elsewhere may have been faster; that there is no etcd yet is no news.
        locks.try_etcd(asking).await?;
        software::run(run, cluster, &prepared, mitogen, false).await?.changed()
    };
    locks.take_etcd(asking).await?;
    let leader = run
        .stage(Stage::Health, async {
            let healthy = health::wait_until_healthy(context, &cluster.plan, fleet, &access, HEALTHY_WITHIN).await?;
            run.keep("health", healthy.health())?;
            postgres::write_and_read(fleet, &access, healthy.leader(), ARRIVES_WITHIN).await?;
            let leader = healthy.leader().clone();
            let detail = format!("{leader} leads; a row written there is on every replica");
            Ok((leader, Some(detail)))
        })
        .await?;
    let data_nodes = cluster.plan.with_role(Role::Patroni).count();
    let proved = match (proof, data_nodes) {
        (false, _) => None,
        (true, 1) => {
            run.skip(Stage::Verify, "not proved: one data node").await;
            None
        }
        (true, _) => verify::prove(run, cluster, fleet, &access, &leader).await?,
    };

    let name = cluster.name();
    let changed = provisioned.changed || configured > 0;
    let message = match (changed, cluster.plan.nodes.len()) {
        (false, _) => format!("{name} is healthy; nothing had to change. {leader} leads."),
        // The proof has moved the leader.
        (true, count) if proved.is_some() => format!("{name} is healthy: {count} machines."),
        (true, count) => format!("{name} is healthy: {count} machines, {leader} leads."),
    };
    let message = match &proved {
        Some(verdict) => format!("{message}\n{}", report::verify::proof(verdict)),
        None if data_nodes == 1 => format!("{message}\nnot proved: one data node"),
        None => message,
    };
    let summary = Summary {
        ok: true,
        command: "up".to_owned(),
        cluster: name.to_string(),
        message,
        dsn: Some(look::as_owner(&context.dirs, cluster, fleet).to_string()),
        next: vec![format!("hactl status {name}"), format!("hactl psql {name}"), format!("hactl down {name}")],
        stages: run.times(),
        changed,
        record: None,
    };
    Ok((summary, proved))
}

/// Machines without a role are made and listed, and nothing is configured on them.
fn plain_machines(run: &RunContext, cluster: &Cluster, vault: &Vault, provisioned: &Provisioned) -> Result<Summary> {
    software::client_files(&run.context, cluster, vault, &provisioned.fleet)?;
    let name = cluster.name();
    let message = match cluster.plan.nodes.len() {
        0 => format!("{name}: no machines."),
        1 => format!("{name}: 1 machine without a role; nothing to configure."),
        count => format!("{name}: {count} machines without a role; nothing to configure."),
    };
    Ok(Summary {
        ok: true,
        command: "up".to_owned(),
        cluster: name.to_string(),
        message,
        next: vec![format!("hactl down {name}")],
        stages: run.times(),
        changed: provisioned.changed,
        ..Summary::default()
    })
}
