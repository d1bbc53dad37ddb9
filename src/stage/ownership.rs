//! Machines that hactl did not make -> machines of this cluster: they are examined before anything is changed on them,
//! and each then carries the cluster's mark.
//!
//! The mark is `/etc/hactl/cluster.json`. It stays as long as the cluster's data does, so that no other cluster takes the
//! machine over, and so that hactl recognizes what a killed run left there.

#[cfg(test)]
mod tests;

use std::{fmt::Write as _, net::Ipv4Addr, time::Duration};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::enroll;
use crate::{
    component::{self, COMPONENTS, etcd},
    context::{Context, RunContext},
    deployment::{Cluster, ssh_keys},
    error::{Error, Result},
    event::Stage,
    fleet::{Fleet, FleetNode},
    model::{Distribution, InstanceKey, Platform},
    secrets::Vault,
    ssh::{Remote, quoted},
};

/// How long the login and each answer may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Where the mark is.
pub(crate) const MARK: &str = "/etc/hactl/cluster.json";

/// The cluster that a machine belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnershipMarker {
    pub(crate) cluster: String,
    pub(crate) uuid: Uuid,
}

/// What is on a machine.
#[derive(Clone, Debug, Default, PartialEq)]
struct MachineFacts {
    /// As images are named: `debian:12`.
    release: String,
    arch: String,
    memory_mib: u32,
    /// Its own IPv4 addresses; none where it does not tell.
    addresses: Vec<Ipv4Addr>,
    /// From which of them it reaches the other machines: its own, and theirs.
    sources: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// Identifies the machine and its network namespace: instances with equal values share their ports.
    ports_of: String,
    /// The text of the mark.
    mark: Option<String>,
    /// Data of PostgreSQL and etcd, configurations of Patroni, and what listens where the cluster would.
    things: Vec<Thing>,
}

/// Something on a machine that may be in the way.
#[derive(Clone, Debug, PartialEq)]
struct Thing {
    /// The component that it is of, or the process.
    owner: String,
    is_data: bool,
    words: String,
}

/// Machines that are free, or already belong to the cluster.
pub(crate) struct Looked {
    ours: OwnershipMarker,
    /// Those that do not carry the mark yet.
    unmarked: Vec<(InstanceKey, Remote)>,
}

/// Examines every machine that gets a role, and refuses those in use by others. Machines that hactl makes are not
/// examined.
///
/// # Errors
/// With every reason against every machine, or when a machine does not answer.
pub(crate) async fn look(run: &RunContext, cluster: &Cluster, vault: &Vault, fleet: &Fleet) -> Result<Looked> {
    let platform = &cluster.plan.platform;
    let ours = OwnershipMarker { cluster: cluster.name().to_string(), uuid: vault.uuid() };
    let Some(release) = platform.release().filter(|_| platform.has_users_machines()) else {
        return Ok(Looked { ours, unmarked: Vec::new() });
    };
    let context = &run.context;
    let keys = ssh_keys::load(context, platform, vault)?;
    let with_roles = fleet.nodes.values().filter(|node| !node.node.roles.is_empty());
    let looked = join_all(with_roles.map(async |node| {
        let remote = Remote::connect(node.key(), &node.ssh, &keys, ANSWERS_WITHIN).await?;
        let said = enroll::output_as_root(node, &remote, &script(fleet, node), ANSWERS_WITHIN).await?;
        Ok::<_, Error>((node, remote, MachineFacts::read(&said)))
    }));
    let looked: Result<Vec<_>> = tokio::select! {
        looked = looked => looked.into_iter().collect(),
        () = context.stop.cancelled() => Err(Error::interrupted("inspect the machines of", cluster.name())),
    };
    let looked = looked?;
    let all: Vec<_> = looked.iter().map(|(node, _, found)| (*node, found)).collect();
    let said = |key: &InstanceKey, problem: String| format!("{key}: {problem}");
    let misplaced = all.iter().filter_map(|(node, found)| Some(said(node.key(), found.misplaced(node)?)));
    let misplaced: Vec<String> = misplaced.chain(same_machine(&all)).collect();
    let taken = |(node, found): &(&FleetNode, &MachineFacts)| {
        found.problems(node, &ours, release).into_iter().map(|problem| said(node.key(), problem)).collect::<Vec<_>>()
    };
    let taken: Vec<String> = all.iter().flat_map(taken).collect();
    if !(misplaced.is_empty() && taken.is_empty()) {
        let hints =
            [(!misplaced.is_empty()).then(|| place_hint(platform)), (!taken.is_empty()).then(|| hint(platform))];
        let error = Error::failed("machine-taken", "create the cluster on the machines of", cluster.name());
        let error = misplaced.into_iter().chain(taken).fold(error, Error::cause);
        return Err(error.hint(hints.into_iter().flatten().collect::<Vec<_>>().join("\n")));
    }
    let left = left_over(&all);
    if !left.is_empty() {
        let name = cluster.name();
        let error = Error::failed("machine-left", "create the cluster on the machines of", name);
        return Err(left.into_iter().fold(error, Error::cause).hint(format!(
            "Run `hactl down {name} --wipe-data` to remove this data, which an earlier `hactl down --leave` may \
             have left there; if it is the only copy, save it first"
        )));
    }
    memory(context, &all).await;
    let unmarked = looked.into_iter().filter(|(_, _, found)| found.mark.is_none());
    Ok(Looked { ours, unmarked: unmarked.map(|(node, remote, _)| (node.key().clone(), remote)).collect() })
}

/// What is asked on one machine.
fn script(fleet: &Fleet, node: &FleetNode) -> String {
    let others = fleet.nodes.values().filter(|other| !other.node.roles.is_empty() && other.key() != node.key());
    let others: Vec<String> = others.map(|other| other.address.to_string()).collect();
    let components = || COMPONENTS.iter().filter(|component| (component.is_on)(&node.node));
    let functions: String = components().map(|component| component.detect).collect();
    // From what holds the data to what holds that up: the causes of an error are in this order.
    let names: Vec<&str> = components().rev().map(|component| component.name).collect();
    let ports: Vec<String> = component::ports(&node.node).map(|(_, port)| port.number.to_string()).collect();
    let script = include_str!("ownership.sh").replace("@MARK@", MARK).replace("@OTHERS@", &others.join(" "));
    functions + &script.replace("@COMPONENTS@", &names.join(" ")).replace("@PORTS@", &ports.join(" "))
}

/// Marks the machines as this cluster's.
///
/// # Errors
/// When the mark cannot be written.
pub(crate) async fn mark(context: &Context, looked: Looked) -> Result<()> {
    let Looked { ours, unmarked } = looked;
    let text = quoted(&serde_json::to_string(&ours).unwrap_or_default());
    let script = format!("install -d -m 755 /etc/hactl && printf '%s\\n' {text} >{MARK}.new && mv {MARK}.new {MARK}");
    let marked = join_all(unmarked.iter().map(async |(key, remote)| {
        let done = remote.run(&script, b"", ANSWERS_WITHIN).await?;
        if done.status == 0 {
            context
                .events
                .step(Stage::Provision, Some(key), format!("ownership marker of {} written", ours.cluster))
                .await;
            return Ok(());
        }
        Err(Error::failed("machine-mark", format!("write {MARK} on"), key)
            .cause(done.stderr.trim())
            .hint("Check that the file system is writable and has free space"))
    }));
    marked.await.into_iter().collect()
}

/// Instances that would share one machine, and with it the cluster's ports.
fn same_machine(looked: &[(&FleetNode, &MachineFacts)]) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, (node, found)) in looked.iter().enumerate() {
        // Virtual machines that were restored from one snapshot differ in their addresses.
        let same = |(_, other): &&(&FleetNode, &MachineFacts)| {
            !found.ports_of.is_empty() && other.ports_of == found.ports_of && other.addresses == found.addresses
        };
        if let Some((other, _)) = looked[..index].iter().find(same) {
            problems.push(format!("{}: it is the same machine as {}", node.key(), other.key()));
        }
    }
    problems
}

/// Data of this cluster on some machines only, while most voters have none: these machines were left out of a teardown,
/// or the others were replaced. If all machines carry the mark, a run was killed instead.
fn left_over(looked: &[(&FleetNode, &MachineFacts)]) -> Vec<String> {
    let voters = looked.iter().filter(|(node, _)| node.node.is_voter());
    let (all, with_data) = voters.fold((0, 0), |(all, with_data), (_, found)| {
        (all + 1, with_data + usize::from(found.mark.is_some() && found.data().any(|thing| thing.owner == etcd::NAME)))
    });
    if with_data > all / 2 || looked.iter().all(|(_, found)| found.mark.is_some()) {
        return Vec::new();
    }
    let marked = looked.iter().filter(|(_, found)| found.mark.is_some());
    marked
        .flat_map(|(node, found)| found.data().map(|thing| (node.key(), thing)))
        .map(|(key, thing)| {
            format!("{key}: found {} of this cluster, but most etcd voters of the cluster have no data", thing.words)
        })
        .collect()
}

fn place_hint(platform: &Platform) -> String {
    let whose = match platform.own_module() {
        Some(_) => "`ipv4`, `ssh_host` and `ssh_port` in the output `vms`",
        None => "`address`, `ssh_host` and `ssh_port` of these instances in the cluster file",
    };
    format!("Correct {whose}: each instance needs its own machine, and the machine must have that address")
}

fn hint(platform: &Platform) -> String {
    let whose = match platform.own_module() {
        Some(_) => "machines of the module",
        None => "machines",
    };
    format!(
        "Use other {whose}, or remove what was found if you do not need it, packages and units first. Run \
         `hactl down NAME --wipe-data` to release the machines of another hactl cluster; if that cluster no longer \
         exists, remove {MARK}"
    )
}

/// Warns if the memory differs from the cluster file, from which PostgreSQL's settings are computed.
async fn memory(context: &Context, looked: &[(&FleetNode, &MachineFacts)]) {
    let data_nodes = looked.iter().filter(|(node, _)| node.node.is_data_node());
    let mut words = String::new();
    let mut small = false;
    for (node, found) in data_nodes {
        let (has, said) = (found.memory_mib, node.node.memory_mib);
        // The kernel keeps some of it.
        if has < said / 10 * 9 || has / 4 > said {
            small |= has < said;
            let _ = write!(words, "{}{} has {has} MiB", if words.is_empty() { "" } else { ", " }, node.key());
        }
    }
    let Some((node, _)) = looked.first().filter(|_| !words.is_empty()) else { return };
    let consequence = match small {
        true => "PostgreSQL would use more memory than the machine has",
        false => "PostgreSQL would use little of the memory",
    };
    let message = format!("{words}, but the cluster file says {} MiB: {consequence}", node.node.memory_mib);
    context.events.warn("machine-memory", message, Some("Set `memory` under `defaults`, in MiB".to_owned())).await;
}

impl Thing {
    /// The component, what it is, and the words for it.
    fn found(told: &str) -> Option<Self> {
        let mut parts = told.splitn(3, ' ');
        let (owner, kind, words) = (parts.next()?.to_owned(), parts.next()?, parts.next()?.to_owned());
        Some(Self { owner, is_data: kind == "data", words })
    }

    /// The address, and the process that listens on it.
    fn listening(told: &str) -> Option<Self> {
        let (address, process) = told.split_once(' ')?;
        let words = format!("a process that listens on {address}: {process}");
        Some(Self { owner: process.to_owned(), is_data: false, words })
    }

    /// Whether it is of a component that may run there beside ours.
    fn may_stay(&self, node: &FleetNode) -> bool {
        let mut foreign = COMPONENTS.iter().filter(|component| component.may_be_foreign);
        foreign.any(|component| component.name == self.owner && !node.node.roles.contains(&component.role))
    }
}

impl MachineFacts {
    fn read(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("release", release)) => found.release = release.to_owned(),
                Some(("arch", arch)) => found.arch = arch.to_owned(),
                Some(("memory", mib)) => found.memory_mib = mib.parse().unwrap_or_default(),
                Some(("addresses", told)) => {
                    found.addresses = told.split_whitespace().filter_map(|address| address.parse().ok()).collect();
                }
                Some(("from", told)) => {
                    let both = told.split_once(" to ").map(|(own, other)| (own.parse(), other.parse()));
                    found.sources.extend(both.and_then(|(own, other)| Some((own.ok()?, other.ok()?))));
                }
                Some(("ports-of", place)) => place.clone_into(&mut found.ports_of),
                Some(("mark", mark)) => found.mark = Some(mark.to_owned()),
                Some(("found", told)) => found.things.extend(Thing::found(told)),
                Some(("listens", told)) => found.things.extend(Thing::listening(told)),
                _ => {}
            }
        }
        found
    }

    fn data(&self) -> impl Iterator<Item = &Thing> {
        self.things.iter().filter(|thing| thing.is_data)
    }

    /// Why it is not the machine that is meant.
    fn misplaced(&self, node: &FleetNode) -> Option<String> {
        if self.addresses.is_empty() || self.addresses.contains(&node.address) {
            let (source, other) = self.sources.iter().find(|(source, _)| *source != node.address)?;
            return Some(format!(
                "it connects to {other} from {source}, not from {}, the only address that etcd there accepts",
                node.address
            ));
        }
        let own = self.addresses.iter().filter(|own| !own.is_loopback()).map(Ipv4Addr::to_string);
        Some(format!(
            "SSH to {}:{} reaches a machine with the address {}, not {}, which the other machines would use",
            node.ssh.host,
            node.ssh.port,
            own.collect::<Vec<_>>().join(", "),
            node.address
        ))
    }

    /// Why the cluster is not made there.
    fn problems(&self, node: &FleetNode, ours: &OwnershipMarker, release: Distribution) -> Vec<String> {
        let mut problems = Vec::new();
        let asked = release.to_string();
        // Patch releases of Debian count as the same release.
        let same = self.release.strip_prefix(&asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if !same {
            problems.push(format!("it runs {}, but the cluster file says `release: {asked}`", self.release));
        }
        let here = std::env::consts::ARCH;
        if self.arch != here {
            problems.push(format!(
                "its architecture is {}, but the software that hactl copies from here is for {here}",
                self.arch
            ));
        }
        match self.mark.as_deref().map(serde_json::from_str::<OwnershipMarker>) {
            // The data was made for this cluster, complete or not.
            Some(Ok(mark)) if mark.uuid == ours.uuid => {}
            Some(Ok(mark)) if mark.cluster == ours.cluster => problems.push(format!(
                "it carries the ownership marker of another hactl cluster with the same name, {} ({})",
                mark.cluster, mark.uuid
            )),
            Some(Ok(mark)) => {
                problems.push(format!(
                    "it carries the ownership marker of the hactl cluster {} ({})",
                    mark.cluster, mark.uuid
                ));
            }
            Some(Err(_)) => problems.push(format!("its ownership marker cannot be read: {MARK}")),
            None => {
                let in_the_way = self.things.iter().filter(|thing| !thing.may_stay(node));
                problems.extend(in_the_way.map(|thing| format!("found {}", thing.words)));
            }
        }
        problems
    }
}
