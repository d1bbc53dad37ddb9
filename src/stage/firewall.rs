//! The packet filter of a healthy cluster: loaded on one machine, then on the others, and kept only if every member and hactl
//! still get through. A timer on each machine removes a table that is not confirmed.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::{join_all, try_join_all};

use crate::{
    access::Access,
    component::{NodeView, Observations},
    context::Context,
    deployment::{Cluster, Deployment, access},
    error::{Error, Result, codes},
    event::Stage,
    firewall::{self, LoadError, RefusedSource, Rules},
    fleet::{Fleet, FleetNode},
    health,
    model::InstanceKey,
    plan::Plan,
};

/// How long hactl tries to reach every machine and service through the new rules.
const REACHED_WITHIN: Duration = Duration::from_secs(20);

/// The sources that are connected now, and that the firewall of the plan would refuse.
///
/// # Errors
/// When the record of the machines cannot be read, or the run was interrupted.
pub(crate) async fn refused_sources(context: &Context, deployment: &Deployment) -> Result<Vec<RefusedSource>> {
    let (cluster, vault) = (&deployment.cluster, deployment.opened());
    let (Some(fleet), Some(vault)) = (deployment.known.fleet_if_any()?, vault) else { return Ok(Vec::new()) };
    let Some(rules) = Rules::of(&cluster.plan, fleet) else { return Ok(Vec::new()) };
    // A plan needs no key of the machines. A run that needs one reports it later.
    let Ok(access) = access(context, cluster, vault) else { return Ok(Vec::new()) };
    let seen = async { Ok(ask(fleet, &access, true).await) };
    let seen = context.interruptible("inspect the machines of", cluster.name(), seen).await?;
    Ok(firewall::refused_sources(&rules, &seen))
}

/// Lets all members into tables that are loaded and differ from the plan: a new member has to reach the others before it
/// is part of a healthy cluster.
///
/// # Errors
/// When a machine with such a table does not answer.
pub(crate) async fn admit_members(cluster: &Cluster, fleet: &Fleet, access: &Access) -> Result<()> {
    let Some(rules) = Rules::of(&cluster.plan, fleet) else { return Ok(()) };
    let (seen, digest) = (ask(fleet, access, false).await, rules.digest());
    let differs = |node: &FleetNode| {
        let there = seen.get(node.key()).and_then(|view| view.firewall.as_ref());
        there.is_some_and(|there| there.loaded && !there.is_current(&digest))
    };
    let admitted = members(fleet).filter(|node| differs(node)).map(async |node| {
        let admitted = firewall::admit(&access.connect(node).await?, &rules).await;
        admitted.map_err(|error| failed("change", node.key(), error))
    });
    try_join_all(admitted).await.map(drop)
}

/// Brings the packet filter of a healthy cluster to the plan. Gives the number of machines that it changed.
///
/// # Errors
/// When a member or hactl does not get through the new rules: they are removed then. When a machine does not answer.
pub(crate) async fn converge(
    context: &Context,
    cluster: &Cluster,
    fleet: &Fleet,
    access: &Access,
    leader: &InstanceKey,
) -> Result<usize> {
    let plan = &cluster.plan;
    let seen = ask(fleet, access, false).await;
    let has = |node: &FleetNode| seen.get(node.key()).and_then(|view| view.firewall.as_ref());
    let Some(rules) = Rules::of(plan, fleet) else {
        let present: Vec<_> = members(fleet).filter(|node| has(node).is_some_and(|there| there.is_present())).collect();
        if !present.is_empty() {
            context.events.step(Stage::Health, None, "removing the firewall").await;
        }
        let removed = present.iter().map(async |node| {
            firewall::remove(&access.connect(node).await?).await.map_err(|error| failed("remove", node.key(), error))
        });
        try_join_all(removed).await?;
        return Ok(present.len());
    };
    let digest = rules.digest();
    let mut stale: Vec<&FleetNode> =
        members(fleet).filter(|node| has(node).is_none_or(|there| !there.is_current(&digest))).collect();
    if stale.is_empty() {
        return Ok(0);
    }
    warn(context, &firewall::refused_sources(&rules, &ask(fleet, access, true).await)).await;
    // A mistake must not meet the leader first.
    stale.sort_by_key(|node| node.key() == leader);
    let mut loading = Loading { context, plan, fleet, access, rules: &rules, loaded: Vec::new() };
    let result = async {
        let (first, others) = stale.split_at(1);
        loading.load(first).await?;
        loading.get_through().await?;
        if !others.is_empty() {
            loading.load(others).await?;
            loading.get_through().await?;
        }
        loading.keep().await
    };
    let result = result.await;
    if result.is_err() {
        loading.take_back().await;
    }
    result
}

/// Warns of the sources that are connected now and that the firewall refuses.
async fn warn(context: &Context, refused: &[RefusedSource]) {
    if refused.is_empty() {
        return;
    }
    let list: Vec<String> = refused.iter().map(ToString::to_string).collect();
    let message =
        format!("the firewall refuses new connections from sources that are connected now: {}", list.join("; "));
    context.events.warn("firewall-refuses", message, Some(LET_IN.to_owned())).await;
}

/// How a refused source is let in.
pub(crate) const LET_IN: &str = "Add the sources that need these ports to `postgres.access`, `postgres.monitoring` or \
                                 `postgres.load_balancers`, or set `firewall: false`";

/// Asks every member about its packet filter, and for its connections if `with_peers`.
async fn ask(fleet: &Fleet, access: &Access, with_peers: bool) -> Observations {
    let asked = members(fleet).map(async |node| {
        let mut view = NodeView::new(node.node.roles.clone(), Ok(()));
        if let Ok(remote) = access.connect(node).await {
            view.firewall = match with_peers {
                true => firewall::ask_with_peers(&remote, node).await,
                false => firewall::ask(&remote, firewall::STEP).await,
            };
        }
        (node.key().clone(), view)
    });
    join_all(asked).await.into_iter().collect()
}

fn members(fleet: &Fleet) -> impl Iterator<Item = &FleetNode> {
    fleet.nodes.values().filter(|node| !node.node.roles.is_empty())
}

fn failed(what: &str, key: &InstanceKey, error: LoadError) -> Error {
    let (LoadError::Refused(said) | LoadError::Failed(said)) = error;
    Error::failed("firewall", format!("{what} the firewall of"), key).cause(said)
}

/// Rules that are being loaded.
struct Loading<'a> {
    context: &'a Context,
    plan: &'a Plan,
    fleet: &'a Fleet,
    access: &'a Access,
    rules: &'a Rules,
    /// The machines that have them, unconfirmed.
    loaded: Vec<&'a FleetNode>,
}

impl<'a> Loading<'a> {
    /// Loads the rules. A machine that cannot load them goes without, with a warning.
    async fn load(&mut self, nodes: &[&'a FleetNode]) -> Result<()> {
        let loads = nodes.iter().map(async |node| {
            let remote = self.access.connect(node).await?;
            self.context.events.step(Stage::Health, Some(node.key()), "loading the firewall").await;
            Ok::<_, Error>((*node, firewall::load(&remote, self.rules).await))
        });
        // All of them, before an error: what was loaded must be taken back.
        let mut result = Ok(());
        for load in join_all(loads).await {
            match load {
                Ok((node, Ok(()))) => self.loaded.push(node),
                Ok((node, Err(LoadError::Refused(reason)))) => {
                    let message = format!(
                        "{}: the machine cannot load the firewall, so its ports accept connections from every address: {reason}",
                        node.key()
                    );
                    self.context.events.warn("firewall-unsupported", message, None).await;
                }
                Ok((node, Err(error))) => {
                    self.loaded.push(node);
                    result = Err(failed("load", node.key(), error));
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Checks that each member connects to all ports of each other, and that hactl reaches everything by new sessions.
    async fn get_through(&self) -> Result<()> {
        if self.loaded.is_empty() {
            return Ok(());
        }
        let nodes: Vec<&FleetNode> = members(self.fleet).collect();
        let checks = nodes.iter().map(async |node| {
            let remote = self.access.connect(node).await?;
            let silent = firewall::check(&remote, node, &nodes).await;
            silent.map(|silent| (node.key(), silent)).map_err(|error| failed("check", node.key(), error))
        });
        let checks: BTreeMap<_, _> = try_join_all(checks).await?.into_iter().collect();
        let name = &self.plan.cluster;
        let mut error = Error::failed(codes::FIREWALL_BLOCKS, "keep the firewall of", name);
        let mut blocked = false;
        for (key, endpoint) in
            checks.iter().flat_map(|(key, silent)| silent.iter().map(move |endpoint| (key, endpoint)))
        {
            error = error.cause(format!("{key} could not connect to {endpoint} within 3 s"));
            blocked = true;
        }
        if blocked {
            return Err(error.hint(BLOCKED));
        }
        // New sessions: those that are open pass every rule.
        let apart = self.access.apart();
        let reached = health::wait_until_healthy(self.context, self.plan, self.fleet, &apart, REACHED_WITHIN).await;
        reached.map(drop).map_err(|seen| error.cause(&seen).hint(BLOCKED))
    }

    async fn keep(&self) -> Result<usize> {
        let kept = self.loaded.iter().map(async |node| {
            let remote = self.access.connect(node).await?;
            firewall::keep(&remote).await.map_err(|error| failed("keep", node.key(), error))
        });
        try_join_all(kept).await?;
        Ok(self.loaded.len())
    }

    /// Removes the rules at once. Where this fails, the timer on the machine does it.
    async fn take_back(&self) {
        let removed = self.loaded.iter().map(async |node| {
            if let Ok(remote) = self.access.connect(node).await {
                let _ = firewall::remove(&remote).await;
            }
        });
        join_all(removed).await;
    }
}

/// What to do about rules that block the cluster itself.
const BLOCKED: &str = "hactl removed the new rules again, and the machines that had them run without a firewall. Check that the machines connect to each \
                       other from the addresses in `hactl inventory`, and that no other packet filter blocks them; then run \
                       the same command again, or set `firewall: false`";
