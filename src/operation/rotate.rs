//! `hactl secrets NAME rotate certificates`: new certificates for the machines, one after the other.

use std::time::{Duration, Instant};

use super::frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform};
use crate::{
    access::Access,
    component::{Certificates, Stamp, doors},
    context::RunContext,
    deployment::{Cluster, Deployment, access},
    error::{Error, Result},
    event::{Stage, Summary},
    fleet::{Fleet, FleetNode},
    health::{self, Healthy},
    model::InstanceKey,
    secrets::Vault,
    stage::{
        prepare,
        software::{self, PlayMode},
        versions,
    },
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
        let chosen = chosen_members(fleet, only)?;
        let healthy = healthy(run, cluster, fleet, &access(&run.context, cluster, vault)?).await?;
        let order = in_order(&chosen, healthy.leader());
        let prepared = prepare::prepare(run, cluster, vault, mitogen).await?;
        if only.is_empty() {
            vault.forget_certificates(None);
        }
        let mut certificates = Certificates::new();
        for node in &order {
            vault.forget_certificates(Some(node.key()));
            software::render(run, cluster, vault, fleet, &prepared.downloads).await?;
            let access = access(&run.context, cluster, vault)?;
            software::look_at_dates(&run.context, cluster, vault, fleet, &access).await?;
            // A setting that waits for a restart of the primary waits on.
            let mode = PlayMode { mitogen, check: false, may_interrupt: false, origin: None };
            software::run_playbook(run, cluster, &prepared.ansible, mode, None).await?;
            certificates = settle(run, cluster, fleet, vault, node).await?;
        }
        let name = cluster.name();
        let keys: Vec<&str> = order.iter().map(|node| node.key().as_str()).collect();
        let own = if only.is_empty() { ", and hactl's own" } else { "" };
        let message = format!("{name}: renewed the certificates of {}{own}.", keys.join(", "));
        let outcome = Outcome {
            message: match health::earliest_end(&certificates) {
                Some(end) => format!("{message}\nThe first certificate expires on {end}."),
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

/// The machines that are part of the cluster: all, or those that are named.
fn chosen_members<'a>(fleet: &'a Fleet, only: &[String]) -> Result<Vec<&'a FleetNode>> {
    for word in only {
        if fleet.node(word)?.node.roles.is_empty() {
            return Err(
                Error::usage("node-unknown", "renew the certificates of", word).cause("it has no role in the cluster")
            );
        }
    }
    let members = fleet.nodes.values().filter(|node| !node.node.roles.is_empty());
    Ok(members.filter(|node| only.is_empty() || only.iter().any(|word| word == node.key().as_str())).collect())
}

/// The machines in the order of their turns: the primary is the last.
fn in_order<'a>(chosen: &[&'a FleetNode], leader: &InstanceKey) -> Vec<&'a FleetNode> {
    let mut order = chosen.to_vec();
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
    let served = seen.get(node.key()).and_then(|seen| seen.as_deref().ok()).unwrap_or_default();
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
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        model::{Choices, SshTarget},
        plan, spec,
    };

    fn fleet() -> Fleet {
        let text = b"instances: {a: {}, b: {}, c: {}, plain: {roles: []}}";
        let plan = plan::decide(&spec::load("t.yaml", text, "t").unwrap(), &Choices::default()).unwrap();
        let nodes = plan.nodes.values().map(|node| {
            let (host, user, port) = ("10.0.0.1".to_owned(), "root".to_owned(), 22);
            let ssh = SshTarget { host, port, user, sudo: false, host_key: None, bastion: None };
            let address = Ipv4Addr::new(10, 0, 0, 1);
            (
                node.key.clone(),
                FleetNode { node: node.clone(), address, machine_id: None, ssh, data_device: None, found: None },
            )
        });
        Fleet { cluster: plan.cluster.clone(), nodes: nodes.collect() }
    }

    #[test]
    fn primary_has_the_last_turn_and_only_chosen_machines_have_one() {
        let fleet = fleet();
        let turns = |chosen: &[&str], leader: &str| {
            let chosen: Vec<String> = chosen.iter().map(ToString::to_string).collect();
            let chosen = chosen_members(&fleet, &chosen).unwrap();
            let order = in_order(&chosen, &leader.parse().unwrap());
            order.iter().map(|node| node.key().as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(turns(&[], "a"), "b c a");
        assert_eq!(turns(&[], "c"), "a b c");
        assert_eq!(turns(&["a", "b", "a"], "a"), "b a");
    }

    #[test]
    fn machine_without_a_role_has_no_certificates_to_renew() {
        let error = chosen_members(&fleet(), &["plain".to_owned()]).unwrap_err();
        assert_eq!(error.causes, ["it has no role in the cluster"]);
        assert!(chosen_members(&fleet(), &["d".to_owned()]).is_err());
    }
}
