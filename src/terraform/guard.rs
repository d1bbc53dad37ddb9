//! What `up` refuses to do: pure decisions over a plan, before it is applied.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::changes::{Action, Changes, ResourceChange};
use crate::{
    error::{Error, Result},
    model::{InstanceKey, Role},
    plan::Plan,
};

/// What the user has agreed to by name, and what ran on the machines.
#[derive(Clone, Debug, Default)]
pub struct Consent {
    /// Machines that may be destroyed, replaced or forgotten: `--allow-destroy`.
    pub destroy: BTreeSet<InstanceKey>,
    /// The same by resource addresses, for modules in which hactl cannot tell which resources are machines.
    pub addresses: BTreeSet<String>,
    /// Machines that may be stopped and started: `--allow-restart`.
    pub restart: BTreeSet<InstanceKey>,
    /// What ran on each machine after the last run: the plan has no machine that was removed from the cluster file.
    pub ran: BTreeMap<InstanceKey, BTreeSet<Role>>,
}

impl Consent {
    /// The roles of a machine, current and planned together; `None` for an unknown machine.
    fn roles(&self, plan: &Plan, key: &InstanceKey) -> Option<BTreeSet<Role>> {
        let (ran, meant) = (self.ran.get(key), plan.nodes.get(key).map(|node| &node.roles));
        match (ran, meant) {
            (None, None) => None,
            (ran, meant) => Some(ran.into_iter().chain(meant).flatten().copied().collect()),
        }
    }
}

/// Refuses a plan that replaces, destroys or forgets a machine or its data, stops a running machine, or has an unknown
/// action, unless the user has agreed by the machine's name and the cluster loses no member.
///
/// The guard allows a plan to create resources (including a node that vanished while its volume remained), to change
/// them in place, to start a stopped node, and to replace a node whose creation failed: it was never in use.
///
/// # Errors
/// Names every machine that would be lost or stopped, and the option that would allow it.
pub fn guard(plan: &Plan, changes: &Changes, consent: &Consent) -> Result<()> {
    // Without machines there is no cluster that could lose its majority.
    let all_go = plan.nodes.is_empty();
    let busy = |change: &&ResourceChange| {
        let roles = change.node.as_ref().and_then(|key| consent.roles(plan, key));
        change.restarts && roles.is_none_or(|roles| !roles.is_empty())
    };
    let restarts = changes.resources.iter().filter(busy).count();
    let mut causes = Vec::new();
    let mut options = BTreeSet::new();
    for change in &changes.resources {
        let Some(disruption) = disruption(change) else { continue };
        match decide(change, disruption, plan, consent, all_go, restarts) {
            Decision::Agreed => {}
            Decision::Ask(option) => {
                options.insert(option);
                causes.push(said(change, disruption));
            }
            Decision::Never(why) => causes.push(format!("{}; {why}", said(change, disruption))),
            Decision::No => causes.push(said(change, disruption)),
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let error = Error::failed("plan-refused", "apply the plan for", &plan.cluster);
    let error = causes.into_iter().fold(error, Error::cause);
    let options: Vec<String> = options.into_iter().collect();
    let start = match options.is_empty() {
        true => "Revert".to_owned(),
        false => format!("Run again with `{}` if you intend this; otherwise revert", options.join(" ")),
    };
    let rebuild = match plan.platform.hosts() {
        Some(_) => {
            format!(
                "To put another machine in its place, run `hactl down {}` first, which keeps the data",
                plan.cluster
            )
        }
        None => format!("To rebuild the cluster without its data, run `hactl down {}` first", plan.cluster),
    };
    Err(error.hint(format!("{start} the change in the cluster file. {rebuild}")))
}

/// What a change does to a resource that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disruption {
    Replace,
    Destroy,
    Forget,
    Restart,
    /// A disk would be removed or shrunk.
    Disk,
    Unknown,
}

/// What follows from a disruption.
enum Decision {
    Agreed,
    /// The option that would allow it.
    Ask(String),
    /// No option does, and why.
    Never(Cow<'static, str>),
    No,
}

fn disruption(change: &ResourceChange) -> Option<Disruption> {
    // A DNS record holds no data: it follows its machine and the cluster file. `terraform_data` exists only in the
    // state.
    let holds_nothing =
        matches!(change.kind.as_str(), "hactl_dns_record_set" | "terraform_data") && !change.is_machine();
    match change.action {
        Action::Update if !change.lost_disks.is_empty() => Some(Disruption::Disk),
        Action::Update if change.restarts => Some(Disruption::Restart),
        Action::NoOp | Action::Create | Action::Read | Action::Update | Action::Import => None,
        Action::Replace if change.unfinished && change.is_machine() => None,
        Action::Replace | Action::Delete | Action::Forget if holds_nothing => None,
        Action::Replace => Some(Disruption::Replace),
        Action::Delete => Some(Disruption::Destroy),
        Action::Forget => Some(Disruption::Forget),
        Action::Unknown => Some(Disruption::Unknown),
    }
}

fn decide(
    change: &ResourceChange,
    disruption: Disruption,
    plan: &Plan,
    consent: &Consent,
    all_go: bool,
    restarts: usize,
) -> Decision {
    let of_a_machine = change.is_machine() || change.kind == "hactl_volume";
    let Some(key) = change.node.as_ref().filter(|_| of_a_machine) else { return Decision::No };
    let plain = consent.roles(plan, key).is_some_and(|roles| roles.is_empty());
    let agreed = |keys: &BTreeSet<InstanceKey>, option: &str| match keys.contains(key) {
        true => Decision::Agreed,
        false => Decision::Ask(format!("--{option} {key}")),
    };
    match disruption {
        Disruption::Unknown => Decision::No,
        Disruption::Disk => Decision::Never(keep_disks(change).into()),
        Disruption::Restart if restarts > 1 && !plain => {
            Decision::Never("members restart one at a time: change one machine per run".into())
        }
        Disruption::Restart => agreed(&consent.restart, "allow-restart"),
        Disruption::Replace | Disruption::Destroy if change.protected && keeps_protection(plan, plain) => Decision::Never(
            format!(
                "Proxmox protects the machine: set `protection: false` and run `hactl up {}` without this change first",
                plan.cluster
            )
            .into(),
        ),
        Disruption::Replace | Disruption::Destroy | Disruption::Forget if !plain && change.is_entry() => {
            Decision::Never(
                format!(
                    "{key} is a member of the cluster, its services would keep running, and this version of hactl cannot \
                     remove a member; take the whole cluster down with `hactl down {}`",
                    plan.cluster
                )
                .into(),
            )
        }
        Disruption::Replace | Disruption::Destroy | Disruption::Forget if plain || all_go => {
            agreed(&consent.destroy, "allow-destroy")
        }
        Disruption::Replace | Disruption::Destroy | Disruption::Forget => Decision::Never(
            format!(
                "{key} is a member of the cluster, and this version of hactl cannot remove a member from a running cluster"
            )
            .into(),
        ),
    }
}

/// Whether the protection of a machine is the user's: hactl itself protects machines with a role, and lifts that where the
/// user has agreed to their destruction.
pub(super) fn keeps_protection(plan: &Plan, plain: bool) -> bool {
    plain || plan.platform.proxmox().is_some_and(|proxmox| proxmox.protection == Some(true))
}

/// How to keep the disks that would be removed. The modules support one disk, `scsi0`.
fn keep_disks(change: &ResourceChange) -> String {
    match change.lost_disks.iter().find(|disk| disk.interface != "scsi0") {
        None => format!("set `disk_gb: {}` on that instance to keep the disk", change.lost_disks[0].size_gb),
        Some(other) => format!(
            "hactl supports only the disk scsi0: attach {} as scsi0 in Proxmox, or remove the machine from the cluster file",
            other.interface
        ),
    }
}

fn said(change: &ResourceChange, disruption: Disruption) -> String {
    let verb = match disruption {
        Disruption::Replace => "replace",
        Disruption::Destroy => "destroy",
        Disruption::Forget => "forget",
        Disruption::Restart => "restart",
        Disruption::Disk => "remove or shrink",
        Disruption::Unknown => "apply an action that this version of hactl does not know to",
    };
    let disk = || change.lost_disks.iter().map(|disk| format!("{} ({} GB)", disk.interface, disk.size_gb));
    let what = match (&change.node, change.kind.as_str()) {
        (Some(node), _) if disruption == Disruption::Disk => {
            format!("the disk {} of the machine {node}", disk().collect::<Vec<_>>().join(", "))
        }
        (Some(node), "hactl_volume") => format!("the data of {node}"),
        (Some(node), _) if change.is_entry() => format!("the entry of the machine {node}"),
        (Some(node), _) if change.is_machine() => format!("the machine {node}"),
        (_, "proxmox_virtual_environment_pool") => "the pool of the machines".to_owned(),
        _ => "a part of the cluster".to_owned(),
    };
    format!("the plan would {verb} {what}: {}", change.address)
}

/// Refuses a plan of a module that is not hactl's. hactl does not know which resources are machines or hold their data,
/// so the user must name the address of every resource that is destroyed, replaced or forgotten.
///
/// # Errors
/// Names every such resource, and the option that would allow it.
pub(super) fn guard_module(plan: &Plan, changes: &Changes, consent: &Consent) -> Result<()> {
    let mut causes = Vec::new();
    let mut options = Vec::new();
    for change in &changes.resources {
        let verb = match change.action {
            Action::NoOp | Action::Create | Action::Read | Action::Update | Action::Import => continue,
            Action::Replace => "replace",
            Action::Delete => "destroy",
            Action::Forget => "forget",
            Action::Unknown => {
                causes.push(said(change, Disruption::Unknown));
                continue;
            }
        };
        if !consent.addresses.contains(&change.address) {
            causes.push(format!("the plan would {verb} {}", change.address));
            options.push(format!("--allow-destroy '{}'", change.address));
        }
    }
    for (key, _) in consent.ran.iter().filter(|(key, roles)| !roles.is_empty() && !plan.nodes.contains_key(*key)) {
        causes.push(format!(
            "instance {key} is a member of the cluster, and this version of hactl cannot remove a member from a running cluster"
        ));
    }
    if causes.is_empty() {
        return Ok(());
    }
    let error =
        causes.into_iter().fold(Error::failed("plan-refused", "apply the plan for", &plan.cluster), Error::cause);
    let start = match options.is_empty() {
        true => "Revert".to_owned(),
        false => format!("Run again with `{}` if you intend this; otherwise revert", options.join(" ")),
    };
    Err(error.hint(format!(
        "{start} the change in the module or the cluster file. To take the whole cluster down, run `hactl down {}`",
        plan.cluster
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::{
        fixture::{change, changes, keys, on_proxmox, plan_of},
        updates::Disk,
    };

    #[test]
    fn changes_that_create_or_repair_are_allowed() {
        let plan = plan_of(&["node1"]);
        for action in [Action::NoOp, Action::Create, Action::Read, Action::Update, Action::Import] {
            assert!(
                guard(&plan, &changes(vec![change("hactl_node", "node1", action)]), &Consent::default()).is_ok(),
                "{action:?}"
            );
        }
        let unfinished = ResourceChange { unfinished: true, ..change("hactl_node", "node1", Action::Replace) };
        assert!(guard(&plan, &changes(vec![unfinished]), &Consent::default()).is_ok());
    }

    #[test]
    fn destructive_and_unknown_changes_are_refused_with_the_name() {
        let plan = plan_of(&["node1"]);
        for action in [Action::Replace, Action::Delete, Action::Forget, Action::Unknown] {
            for kind in ["hactl_node", "hactl_volume", "hactl_network"] {
                let error =
                    guard(&plan, &changes(vec![change(kind, "node1", action)]), &Consent::default()).unwrap_err();
                assert_eq!(error.code, "plan-refused");
                assert!(error.causes[0].contains("node1"), "{error}");
                assert!(error.hint.unwrap().contains("hactl down"));
            }
        }
        for action in [Action::Replace, Action::Delete, Action::Forget] {
            assert!(
                guard(&plan, &changes(vec![change("hactl_dns_record_set", "node1", action)]), &Consent::default())
                    .is_ok()
            );
        }
        assert!(
            guard(&plan, &changes(vec![change("hactl_dns_record_set", "node1", Action::Unknown)]), &Consent::default())
                .is_err()
        );
        let data = ResourceChange { unfinished: true, ..change("hactl_volume", "node1", Action::Replace) };
        assert!(guard(&plan, &changes(vec![data]), &Consent::default()).is_err());
    }

    /// A plan of node1 with its roles and web, a plain machine; without `web` it was taken out of the file.
    fn mixed(web: bool) -> (Plan, Consent) {
        let mut plan = plan_of(if web { &["node1", "web"] } else { &["node1"] });
        if let Some(node) = plan.nodes.get_mut(&"web".parse::<InstanceKey>().unwrap()) {
            node.roles.clear();
        }
        let ran = [("node1", BTreeSet::from([Role::Etcd, Role::Patroni])), ("web", BTreeSet::new())];
        let ran = ran.into_iter().map(|(key, roles)| (key.parse().unwrap(), roles)).collect();
        (plan, Consent { ran, ..Consent::default() })
    }

    #[test]
    fn destroy_option_allows_plain_machines_and_never_members() {
        for kind in ["hactl_node", "proxmox_virtual_environment_vm", "proxmox_virtual_environment_container"] {
            for (action, web) in [(Action::Delete, false), (Action::Forget, false), (Action::Replace, true)] {
                let (plan, consent) = mixed(web);
                let destructive = changes(vec![change(kind, "web", action), change("terraform_data", "web", action)]);
                let error = guard(&plan, &destructive, &consent).unwrap_err();
                assert_eq!(error.causes.len(), 1, "{error}");
                assert!(error.hint.unwrap().starts_with("Run again with `--allow-destroy web` if you intend this"));
                let named = Consent { destroy: keys(&["web"]), ..consent.clone() };
                assert!(guard(&plan, &destructive, &named).is_ok());
                let other = Consent { destroy: keys(&["node1"]), ..consent.clone() };
                assert!(guard(&plan, &destructive, &other).is_err());

                let member = changes(vec![change(kind, "node1", action)]);
                let named = Consent { destroy: keys(&["node1"]), ..consent };
                let error = guard(&plan, &member, &named).unwrap_err();
                assert!(error.causes[0].contains("cannot remove a member from a running cluster"), "{error}");
            }
        }
        // An unknown machine may be a member.
        let unknown = changes(vec![change("hactl_node", "old", Action::Delete)]);
        let consent = Consent { destroy: keys(&["old"]), ..Consent::default() };
        assert!(guard(&mixed(true).0, &unknown, &consent).is_err());
    }

    #[test]
    fn removal_of_all_machines_requires_every_name() {
        let plan = plan_of(&[]);
        let all = ["node1", "node2"].map(|key| change("proxmox_virtual_environment_vm", key, Action::Delete));
        let all = changes(all.to_vec());
        let ran = keys(&["node1", "node2"]).into_iter().map(|key| (key, BTreeSet::from([Role::Patroni]))).collect();
        let consent =
            |names: &[&str]| Consent { destroy: keys(names), ran: BTreeMap::clone(&ran), ..Consent::default() };
        let error = guard(&plan, &all, &consent(&["node1"])).unwrap_err();
        assert_eq!((error.causes.len(), error.hint.unwrap().contains("--allow-destroy node2")), (1, true));
        assert!(guard(&plan, &all, &consent(&["node1", "node2"])).is_ok());
        let mut protected = all;
        protected.resources[0].protected = true;
        // hactl lifts its own protection of members, and not that of the cluster file.
        assert!(guard(&plan, &protected, &consent(&["node1", "node2"])).is_ok());
        let kept = on_proxmox("platform: {proxmox: {protection: true}}\ninstances: {}\n");
        let error = guard(&kept, &protected, &consent(&["node1", "node2"])).unwrap_err();
        assert!(error.causes[0].contains("protection: false"), "{error}");
    }

    #[test]
    fn restart_option_allows_named_machines_and_a_single_member_at_a_time() {
        let restart = |key: &str| ResourceChange {
            restarts: true,
            ..change("proxmox_virtual_environment_container", key, Action::Update)
        };
        let plan = plan_of(&["node1", "node2"]);
        let agreed = |names: &[&str]| Consent { restart: keys(names), ..Consent::default() };
        let one = changes(vec![restart("node1")]);
        let error = guard(&plan, &one, &agreed(&[])).unwrap_err();
        assert!(error.causes[0].contains("restart the machine node1"), "{error}");
        assert!(error.hint.unwrap().contains("--allow-restart node1"));
        assert!(guard(&plan, &one, &agreed(&["node1"])).is_ok());
        let both = changes(vec![restart("node1"), restart("node2")]);
        let error = guard(&plan, &both, &agreed(&["node1", "node2"])).unwrap_err();
        assert!(error.causes[1].contains("one at a time"), "{error}");
    }

    #[test]
    fn lost_disk_is_refused_with_every_option_and_a_hint() {
        let lost = |interface: &str| ResourceChange {
            lost_disks: vec![Disk { interface: interface.to_owned(), size_gb: 20 }],
            ..change("proxmox_virtual_environment_vm", "web", Action::Update)
        };
        let (plan, consent) = mixed(true);
        let consent = Consent { destroy: keys(&["web"]), restart: keys(&["web"]), ..consent };
        let error = guard(&plan, &changes(vec![lost("scsi0")]), &consent).unwrap_err();
        assert!(error.causes[0].contains("the disk scsi0 (20 GB) of the machine web"), "{error}");
        assert!(error.causes[0].contains("set `disk_gb: 20` on that instance to keep the disk"), "{error}");
        let error = guard(&plan, &changes(vec![lost("virtio0")]), &consent).unwrap_err();
        assert!(error.causes[0].contains("attach virtio0 as scsi0"), "{error}");
    }

    #[test]
    fn removed_entry_of_an_existing_machine_is_refused_like_the_machine() {
        let entry = |node: &str, action| ResourceChange {
            address: format!("terraform_data.host[\"{node}\"]"),
            ..change("terraform_data", node, action)
        };
        let (plan, consent) = mixed(false);
        let gone = changes(vec![entry("web", Action::Delete)]);
        let error = guard(&plan, &gone, &consent).unwrap_err();
        assert!(error.causes[0].contains("the entry of the machine web"), "{error}");
        assert!(guard(&plan, &gone, &Consent { destroy: keys(&["web"]), ..consent.clone() }).is_ok());
        // Also when the file has no machine left: the cluster would keep running without hactl.
        for (plan, action) in [(plan_of(&["node1"]), Action::Replace), (plan_of(&[]), Action::Delete)] {
            let named = Consent { destroy: keys(&["node1"]), ..consent.clone() };
            let error = guard(&plan, &changes(vec![entry("node1", action)]), &named).unwrap_err();
            assert!(error.causes[0].contains("its services would keep running"), "{error}");
        }
        // The machine exists already; only another address makes it another machine.
        let made = |action| changes(vec![entry("node1", action)]).machines_made().count();
        assert_eq!((made(Action::Create), made(Action::Replace)), (0, 1));
    }

    #[test]
    fn destructive_changes_of_a_user_module_are_refused_with_their_addresses() {
        let plan = plan_of(&["node1"]);
        let resource = |address: &str, action| ResourceChange {
            address: address.to_owned(),
            kind: "aws_instance".to_owned(),
            ..change("aws_instance", "node1", action)
        };
        let harmless = [Action::NoOp, Action::Create, Action::Read, Action::Update, Action::Import];
        let harmless = harmless.map(|action| resource("aws_instance.a", action)).to_vec();
        assert!(guard_module(&plan, &changes(harmless), &Consent::default()).is_ok());

        let gone = changes(vec![
            resource("aws_instance.node[\"a\"]", Action::Replace),
            resource("aws_eip.b", Action::Delete),
            resource("module.x.random_id.c", Action::Forget),
        ]);
        let error = guard_module(&plan, &gone, &Consent::default()).unwrap_err();
        assert_eq!(error.causes.len(), 3, "{error}");
        assert!(error.hint.unwrap().contains("--allow-destroy 'aws_instance.node[\"a\"]'"));
        let addresses = gone.resources.iter().map(|change| change.address.clone()).collect();
        assert!(guard_module(&plan, &gone, &Consent { addresses, ..Consent::default() }).is_ok());

        // What no address allows.
        let unknown = changes(vec![resource("aws_instance.a", Action::Unknown)]);
        let named = Consent { addresses: ["aws_instance.a".to_owned()].into(), ..Consent::default() };
        assert!(guard_module(&plan, &unknown, &named).unwrap_err().causes[0].contains("does not know"));
        let ran = [("node2".parse().unwrap(), BTreeSet::from([Role::Patroni]))].into();
        let error = guard_module(&plan, &changes(Vec::new()), &Consent { ran, ..Consent::default() }).unwrap_err();
        assert!(error.causes[0].contains("instance node2 is a member"), "{error}");
    }
}
