//! `hactl secrets NAME rotate certificates`: new certificates for the machines, one after the other.

use std::time::{Duration, Instant};

use super::frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform};
use crate::{
    access::Access,
    component::{Stamp, doors},
    context::RunContext,
    deployment::{Cluster, Deployment, access},
    error::{Error, Result},
    event::{Stage, Summary},
    fleet::{Fleet, FleetNode},
    health::{self, Certificates, Healthy},
    model::InstanceKey,
    secrets::Vault,
    stage::{prepare, software, versions},
};

pub const ROTATE: Operation = Operation {
    command: "secrets",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Nothing,
    secrets: SecretsUse::Open,
    locks: LockUse::Cluster,
};

/// How long a cluster that is in use may take to be found healthy, and to be so again after a machine's turn.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// How long services may take to read new files: Patroni does so once per loop.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Renews the certificates of the instances `only`, or of all of them and hactl's own: replicas first, the primary last.
///
/// # Errors
/// When the cluster is not healthy, a task fails, or a service does not take its new certificate. What was done so far stays,
/// and the next `up` does the rest.
pub async fn rotate_certificates(
    run: &RunContext,
    deployment: Deployment,
    only: &[String],
    mitogen: bool,
) -> Result<Summary> {
    let work = perform(run, deployment, &ROTATE, async |acting| {
        acting.deployment.take_over()?;
        versions::learn(&run.context, &mut acting.deployment).await?;
        let (cluster, known, vault) = acting.deployment.parts(&run.context).await?;
        let fleet = known.fleet(cluster)?;
        let chosen = only.iter().map(|word| fleet.node(word)).collect::<Result<Vec<_>>>()?;
        let healthy = healthy(run, cluster, fleet, &access(&run.context, cluster, vault)?).await?;
        let order = in_order(fleet, &chosen, healthy.leader());
        let prepared = prepare::prepare(run, cluster, vault, mitogen).await?;
        if only.is_empty() {
            vault.forget_clients();
        }
        let mut certificates = Certificates::new();
        for node in &order {
            vault.forget_leaves(node.key());
            software::render(run, cluster, vault, fleet, &prepared.downloads).await?;
            software::run_playbook(run, cluster, &prepared, mitogen, false).await?;
            certificates = settle(run, cluster, fleet, vault, node).await?;
        }
        let name = cluster.name();
        let keys: Vec<&str> = order.iter().map(|node| node.key().as_str()).collect();
        let own = if only.is_empty() { ", and hactl's own" } else { "" };
        let message = format!("{name}: renewed the certificates of {}{own}.", keys.join(", "));
        let outcome = Outcome {
            message: match health::earliest_end(&certificates) {
                Some(end) => format!("{message}\nThe earliest certificate ends on {end}."),
                None => message,
            },
            next: vec![format!("hactl status {name}")],
            changed: true,
            ..Outcome::default()
        };
        Ok((outcome, ()))
    });
    Ok(work.await?.0)
}

/// The machines in the order of their turns: the primary is the last. Without a choice, all that are part of the cluster.
fn in_order<'a>(fleet: &'a Fleet, chosen: &[&'a FleetNode], leader: &InstanceKey) -> Vec<&'a FleetNode> {
    let is_chosen = |node: &FleetNode| chosen.is_empty() || chosen.iter().any(|other| other.key() == node.key());
    let members = fleet.nodes.values().filter(|node| !node.node.roles.is_empty());
    let mut order: Vec<&FleetNode> = members.filter(|node| is_chosen(node)).collect();
    order.sort_by_key(|node| node.key() == leader);
    order
}

async fn healthy(run: &RunContext, cluster: &Cluster, fleet: &Fleet, access: &Access) -> Result<Healthy> {
    run.stage(Stage::Health, async {
        let plan = &cluster.plan;
        let healthy = health::wait_until_healthy(&run.context, plan, fleet, access, HEALTHY_WITHIN).await?;
        let detail = format!("{} leads", healthy.leader());
        Ok((healthy, Some(detail)))
    })
    .await
}

/// Waits until the cluster is healthy and every service of `node` serves the certificate that the secrets file has.
async fn settle(
    run: &RunContext,
    cluster: &Cluster,
    fleet: &Fleet,
    vault: &Vault,
    node: &FleetNode,
) -> Result<Certificates> {
    run.stage(Stage::Health, async {
        // hactl's own certificate may be a new one.
        let access = access(&run.context, cluster, vault)?;
        health::wait_until_healthy(&run.context, &cluster.plan, fleet, &access, HEALTHY_WITHIN).await?;
        let started = Instant::now();
        loop {
            let look = async { Ok(health::certificates(fleet, &access).await) };
            let seen = run.context.interruptible("wait for", cluster.name(), look).await?;
            let missing = missing(node, vault, &seen);
            if missing.is_empty() {
                let detail = format!("{} serves its new certificates", node.key());
                return Ok((seen, Some(detail)));
            }
            if started.elapsed() > READ_WITHIN {
                let error = Error::failed("certificate", "renew the certificates of", node.key());
                let error = missing.iter().fold(error, |error, title| {
                    error.cause(format!("{title} serves another certificate after {} s", READ_WITHIN.as_secs()))
                });
                return Err(error.hint(format!("Run `hactl status {}`", cluster.name())));
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await
}

/// The services of `node` that do not serve the certificate of the secrets file.
fn missing(node: &FleetNode, vault: &Vault, seen: &Certificates) -> Vec<&'static str> {
    let served = seen.get(node.key()).map_or(&[][..], Vec::as_slice);
    let leaves = vault.node_leaves().get(node.key());
    let doors = doors(node).into_iter().filter(|door| {
        let wanted = leaves.and_then(|leaves| Stamp::of_pem(&leaves.get(door.certificate.name)?.certificate));
        let now = served.iter().find(|one| one.service == door.service).and_then(|one| one.served.clone());
        wanted.is_none() || wanted != now
    });
    doors.map(|door| door.service.title()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fleet::Outputs, model::Choices, plan, spec};

    #[test]
    fn primary_has_the_last_turn_and_only_chosen_machines_have_one() {
        let text = b"instances: {a: {}, b: {}, c: {}, plain: {roles: []}}";
        let plan = plan::decide(&spec::load("t.yaml", text, "t").unwrap(), &Choices::default()).unwrap();
        let fleet = Fleet::known(&plan, &plan.nodes, &Outputs::new());
        let turns = |chosen: &[&str], leader: &str| {
            let chosen: Vec<&FleetNode> = chosen.iter().map(|key| fleet.node(key).unwrap()).collect();
            let order = in_order(&fleet, &chosen, &leader.parse().unwrap());
            order.iter().map(|node| node.key().as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(turns(&[], "a"), "b c a");
        assert_eq!(turns(&[], "c"), "a b c");
        assert_eq!(turns(&["a", "b"], "a"), "b a");
    }
}
