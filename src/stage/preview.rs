//! What the playbook would change on the machines that exist: the playbook itself, in Ansible's check mode.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    prepare,
    software::{self, PlayMode},
};
use crate::{
    ansible::{self, Change, Effect, UnitAction, inventory},
    context::Context,
    deployment::{Cluster, Deployment, access, client_files},
    error::Result,
    event::Stage,
    fleet::Fleet,
    model::{InstanceKey, Settled},
};

/// What `up` would change on the machines that exist.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ConfigurationPlan {
    /// Programs that move to another version.
    pub versions: Vec<VersionMove>,
    /// Files, units, settings and accounts that change, in the order in which `up` reaches them: the restarts are in the
    /// order of the members.
    pub changes: Vec<Change>,
    /// Machines whose changes are not known, each with the reason.
    pub unknown: Vec<UnknownMachine>,
    /// Whether `up` runs the playbook. Without a change it then only notes on the machines that they are up to date.
    pub runs: bool,
}

/// A program that moves to another version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VersionMove {
    /// `etcd`, `patroni` or `postgres`.
    pub program: String,
    /// The version that runs.
    pub from: String,
    /// The version that the cluster file gives.
    pub to: String,
}

/// A machine whose changes are not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnknownMachine {
    /// The instance's key.
    pub machine: String,
    /// Why they are not known.
    pub reason: String,
}

impl ConfigurationPlan {
    /// Whether something changes, or may change.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.versions.is_empty() || !self.changes.is_empty() || !self.unknown.is_empty()
    }

    /// Whether writes are interrupted.
    #[must_use]
    pub fn interrupts_writes(&self) -> bool {
        self.changes.iter().any(Change::interrupts_writes)
    }

    /// The plan for people: versions, settings, then each machine with its files and units, then the restarts in order.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from(match (self.has_changes(), self.runs) {
            (true, _) => "Configuration:",
            (false, true) => "Configuration: no changes; `up` runs the playbook to check the machines",
            (false, false) => "Configuration: no changes",
        });
        for VersionMove { program, from, to } in &self.versions {
            let _ = write!(text, "\n  {program}: {from} -> {to}");
        }
        let of_cluster = |effect: &Effect| matches!(effect, Effect::Setting { .. } | Effect::Account { .. });
        for change in self.changes.iter().filter(|change| of_cluster(&change.effect)) {
            let _ = write!(text, "\n  {}", change.effect);
        }
        let mut machines: Vec<&str> = self.changes.iter().map(|change| change.machine.as_str()).collect();
        machines.sort_unstable();
        machines.dedup();
        for machine in machines {
            let of_machine = |change: &&Change| change.machine == machine && !of_cluster(&change.effect);
            let mut of_machine = self.changes.iter().filter(of_machine).peekable();
            if of_machine.peek().is_some() {
                let _ = write!(text, "\n  {machine}:");
            }
            for change in of_machine {
                let _ = write!(text, "\n    {}", change.effect);
                if let Effect::File { diff: Some(diff), .. } = &change.effect {
                    diff.lines().for_each(|line| _ = write!(text, "\n      {line}"));
                }
            }
        }
        let restarts: Vec<String> =
            self.restarts().map(|change| format!("{} on {}", change.effect, change.machine)).collect();
        if !restarts.is_empty() {
            let _ = write!(text, "\n  Restarts, in this order:");
            restarts.iter().enumerate().for_each(|(at, restart)| _ = write!(text, "\n    {}. {restart}", at + 1));
        }
        for UnknownMachine { machine, reason } in &self.unknown {
            let _ = write!(text, "\n  {machine}: not known: {reason}");
        }
        text
    }

    /// The restarts of services, in their order.
    pub fn restarts(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| matches!(&change.effect, Effect::Unit { action: UnitAction::Restart, .. }))
    }
}

/// What the playbook would change; none for a cluster that has no machines yet, or none with a role.
///
/// # Errors
/// When a machine refuses what it is asked for, and those of Ansible.
pub(crate) async fn preview(
    context: &Context,
    deployment: &mut Deployment,
    mitogen: bool,
) -> Result<Option<ConfigurationPlan>> {
    let Some(fleet) = deployment.known.fleet_if_any()?.map(|fleet| as_planned(&deployment.cluster, fleet)) else {
        return Ok(None);
    };
    let planned = deployment.cluster.plan.nodes.values().filter(|node| !node.roles.is_empty());
    let new = planned.filter(|node| !fleet.nodes.contains_key(&node.key)).map(|node| UnknownMachine {
        machine: node.key.to_string(),
        reason: "the machine does not exist yet; its address may change files of the other machines".to_owned(),
    });
    let mut found = ConfigurationPlan { unknown: new.collect(), ..ConfigurationPlan::default() };
    if fleet.nodes.values().all(|node| node.node.roles.is_empty()) {
        return Ok(found.has_changes().then_some(found));
    }
    if deployment.opened().is_none() {
        let reason = format!("{} is missing", deployment.cluster.secrets_file().display());
        let known = fleet.nodes.keys().map(|key| UnknownMachine { machine: key.to_string(), reason: reason.clone() });
        found.unknown.extend(known);
        return Ok(Some(found));
    }
    let (cluster, _, vault) = deployment.parts(context).await?;
    found.versions = moves(cluster);
    // Only in memory: `up` signs and saves.
    software::complete(cluster, vault, &fleet)?;
    client_files(context, cluster, vault, &fleet)?;
    let access = match access(context, cluster, vault) {
        Ok(access) => access,
        // A plan of the machines needs no key of theirs.
        Err(error) => {
            let reason = format!("cannot {} {}: {}", error.what, error.object, error.causes.join(": "));
            let known = |key: &InstanceKey| UnknownMachine { machine: key.to_string(), reason: reason.clone() };
            found.unknown.extend(fleet.nodes.keys().map(known));
            return Ok(Some(found));
        }
    };
    let material = software::material(context, cluster, vault, &[]);
    let inventory = inventory::build(&cluster.plan, &fleet, &material)?;
    let seen = async { Ok(software::look(cluster, &fleet, &access, &inventory).await) };
    let seen = context.interruptible("inspect the machines of", cluster.name(), seen).await?;
    if !seen.unreachable.is_empty() {
        let silent =
            seen.unreachable.into_iter().map(|(key, reason)| UnknownMachine { machine: key.to_string(), reason });
        found.unknown.extend(silent);
        return Ok(Some(found));
    }
    found.runs = !seen.current;
    if seen.current {
        return Ok(Some(found));
    }
    context.events.step(Stage::Plan, None, "running the playbook in Ansible's check mode").await;
    let (downloads, ansible) = tokio::try_join!(prepare::downloads(context, cluster), ansible::environment(context))?;
    let scratch = prepare::scratch()?;
    let inventory = inventory::build(&cluster.plan, &fleet, &software::material(context, cluster, vault, &downloads))?;
    inventory::write(scratch.path(), &inventory)?;
    // What it would do with the consent that it asks for.
    let mode = PlayMode { mitogen, check: true, may_interrupt: true, origin: None };
    let target = (scratch.path().to_owned(), fleet.nodes.values().filter(|node| !node.node.roles.is_empty()).count());
    let configured = software::play(context, cluster, &ansible, target, mode, seen.leader.as_ref()).await;
    // A plan keeps no record to read.
    let configured = configured.map_err(|error| match error.code {
        "ansible" => {
            error.hint("Correct the cause and run the same command again; `--verbose` shows Ansible's own output")
        }
        _ => error,
    })?;
    found.changes = configured.changes;
    Ok(Some(found))
}

/// The machines of the last run that stay, with the roles that the cluster file gives them.
fn as_planned(cluster: &Cluster, fleet: &Fleet) -> Fleet {
    let mut fleet = fleet.clone();
    fleet.nodes.retain(|key, _| cluster.plan.nodes.contains_key(key));
    for (key, node) in &mut fleet.nodes {
        node.node = cluster.plan.nodes[key].clone();
    }
    fleet
}

fn moves(cluster: &Cluster) -> Vec<VersionMove> {
    let Some(runs) = cluster.settled() else { return Vec::new() };
    version_moves(runs, &cluster.plan.settled())
}

fn version_moves(runs: &Settled, wanted: &Settled) -> Vec<VersionMove> {
    let pairs = [
        ("etcd", runs.etcd.to_string(), wanted.etcd.to_string()),
        ("patroni", runs.patroni.clone(), wanted.patroni.clone()),
        ("postgres", runs.postgres.number().to_string(), wanted.postgres.number().to_string()),
    ];
    let moved = pairs.into_iter().filter(|(_, from, to)| from != to);
    moved.map(|(program, from, to)| VersionMove { program: program.to_owned(), from, to }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use std::collections::BTreeSet;

    use super::*;
    use crate::model::IcuLocales;

    fn change(value: serde_json::Value) -> Change {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn plan_lists_settings_once_files_by_machine_and_restarts_in_order() {
        let restart = |machine: &str, interrupts: bool| {
            change(json!({"machine": machine, "kind": "unit", "unit": "postgresql", "action": "restart",
                          "interrupts_writes": interrupts}))
        };
        let plan = ConfigurationPlan {
            versions: vec![VersionMove { program: "etcd".into(), from: "3.5.35".into(), to: "3.6.16".into() }],
            changes: vec![
                change(json!({"machine": "node1", "kind": "file", "path": "/etc/patroni/patroni.yml", "diff": null})),
                change(json!({"machine": "node2", "kind": "file", "path": "/etc/a", "diff": "@@\n-a\n+b\n"})),
                change(json!({"machine": "node1", "kind": "setting", "name": "ttl", "old": 20, "new": 30})),
                restart("node2", false),
                restart("node1", true),
            ],
            ..ConfigurationPlan::default()
        };
        let expected = "Configuration:\n  etcd: 3.5.35 -> 3.6.16\n  ttl: 20 -> 30\n  node1:\n    /etc/patroni/patroni.yml\n    \
                        restart postgresql (interrupts writes)\n  node2:\n    /etc/a\n      @@\n      -a\n      +b\n    \
                        restart postgresql\n  Restarts, in this order:\n    1. restart postgresql on node2\n    \
                        2. restart postgresql (interrupts writes) on node1";
        assert_eq!(plan.text(), expected);
        assert!(plan.has_changes() && plan.interrupts_writes());
        assert_eq!(ConfigurationPlan::default().text(), "Configuration: no changes");
    }

    #[test]
    fn version_that_moves_is_listed_with_both_versions() {
        let settled = |patroni: &str| Settled {
            etcd: "3.6.16".parse().unwrap(),
            patroni: patroni.to_owned(),
            postgres: 15.try_into().unwrap(),
            own_network: false,
            synchronous_nodes: 1,
            memory_mib: None,
            birth: 0,
            archives: false,
            entry_point: false,
            locale: None,
            icu_locales: IcuLocales::new(),
            data_nodes: BTreeSet::new(),
            voters: BTreeSet::new(),
        };
        let moved = version_moves(&settled("4.1.4"), &settled("4.1.5"));
        assert_eq!(moved, [VersionMove { program: "patroni".into(), from: "4.1.4".into(), to: "4.1.5".into() }]);
        assert_eq!(version_moves(&settled("4.1.5"), &settled("4.1.5")), []);
    }
}
