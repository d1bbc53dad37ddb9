//! What `up` refuses to do: pure decisions over a plan, before it is applied.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    asked::{Missing, missing},
    changes::{Action, Changes, ResourceChange},
};
use crate::{
    error::{Error, Result},
    model::{InstanceKey, ProxmoxKind, Role},
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
    /// Attributes of machines that may change while the machines run: `--allow-change`.
    pub change: BTreeMap<InstanceKey, BTreeSet<String>>,
    /// What ran on each machine after the last run: the plan has no machine that was removed from the cluster file.
    pub ran: BTreeMap<InstanceKey, BTreeSet<Role>>,
    /// What the platform called these machines then.
    pub machine_ids: BTreeMap<InstanceKey, String>,
}

impl Consent {
    /// Whether the last run has used the machine that `change` is about. Another machine of the same key was never in use,
    /// if its creation failed.
    fn has_run(&self, change: &ResourceChange) -> bool {
        let Some(key) = change.node.as_ref().filter(|key| self.ran.contains_key(*key)) else { return false };
        match (self.machine_ids.get(key), &change.machine_id) {
            (Some(then), Some(now)) => then == now,
            _ => false,
        }
    }

    /// Whether a machine is a member of the cluster now, or becomes one by `plan`.
    pub(super) fn is_member(&self, plan: &Plan, key: &InstanceKey) -> bool {
        self.roles(plan, key).is_none_or(|roles| !roles.is_empty())
    }

    /// The roles of a machine, current and planned together; `None` for an unknown machine.
    fn roles(&self, plan: &Plan, key: &InstanceKey) -> Option<BTreeSet<Role>> {
        let (ran, meant) = (self.ran.get(key), plan.nodes.get(key).map(|node| &node.roles));
        match (ran, meant) {
            (None, None) => None,
            (ran, meant) => Some(ran.into_iter().chain(meant).flatten().copied().collect()),
        }
    }
}

/// Refuses a plan that replaces, destroys or forgets a machine or its data, stops a running machine, changes attributes of
/// a running machine that need consent, or has an unknown action, unless the user has agreed by the machine's name and the
/// cluster loses no member.
///
/// The guard allows a plan to create resources (including a node that vanished while its volume remained), to change
/// them in place, to start a stopped node, and to replace a node whose creation failed: it was never in use.
///
/// # Errors
/// Names every machine that would be lost or stopped, and the option that would allow it.
pub fn guard(plan: &Plan, changes: &Changes, consent: &Consent) -> Result<()> {
    // Without machines there is no cluster that could lose its majority.
    let all_go = plan.nodes.is_empty();
    let mut refusal = RefusedPlan::default();
    for change in &changes.resources {
        if let Some(key) = change.node.as_ref().filter(|_| change.is_machine() && !change.is_entry()) {
            refusal.ask_for(missing(change, key, &format!("the machine {key}"), consent));
        }
        let Some(disruption) = disruption(change, consent) else { continue };
        let cause = said(change, disruption);
        match decide(change, disruption, plan, consent, all_go) {
            Decision::Agreed => {}
            Decision::Ask(option) => refusal.ask(cause, option),
            Decision::Never(why) => refusal.never(format!("{cause}; {why}")),
            Decision::No => refusal.never(cause),
        }
    }
    let rebuild = match plan.platform.hosts() {
        Some(_) => {
            format!(
                "To put another machine in its place, run `hactl down {}` first, which keeps the data",
                plan.cluster
            )
        }
        None => format!("To rebuild the cluster without its data, run `hactl down {}` first", plan.cluster),
    };
    refusal.error(plan, "the change in the cluster file", &rebuild)
}

/// Why a plan is refused, and the options that would allow it.
#[derive(Default)]
pub(super) struct RefusedPlan {
    causes: Vec<String>,
    options: BTreeSet<String>,
    /// Whether something is refused that is more than a changed attribute.
    disrupts: bool,
}

impl RefusedPlan {
    /// Refuses what no option allows.
    pub(super) fn never(&mut self, cause: String) {
        self.disrupts = true;
        self.causes.push(cause);
    }

    /// Refuses what `option` allows.
    pub(super) fn ask(&mut self, cause: String, option: String) {
        self.options.insert(option);
        self.never(cause);
    }

    /// Refuses changes of attributes.
    pub(super) fn ask_for(&mut self, missing: Vec<Missing>) {
        for Missing { cause, option } in missing {
            self.options.insert(option);
            self.causes.push(cause);
        }
    }

    /// The error with all causes and options; `change` is what the user could revert, and `rebuild` how to lose it all.
    pub(super) fn error(self, plan: &Plan, change: &str, rebuild: &str) -> Result<()> {
        let Self { causes, options, disrupts } = self;
        if causes.is_empty() {
            return Ok(());
        }
        let code = if disrupts { "plan-refused" } else { "consent-missing" };
        let error = causes.into_iter().fold(Error::failed(code, "apply the plan for", &plan.cluster), Error::cause);
        let options: Vec<String> = options.into_iter().collect();
        let start = match options.is_empty() {
            true => "Revert".to_owned(),
            false => format!("Run again with `{}` if you intend this; otherwise revert", options.join(" ")),
        };
        let end = if disrupts { format!(". {rebuild}") } else { String::new() };
        Err(error.hint(format!("{start} {change}{end}")))
    }
}

/// What a change does to a resource that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disruption {
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

fn disruption(change: &ResourceChange, consent: &Consent) -> Option<Disruption> {
    // A DNS record holds no data: it follows its machine and the cluster file. `terraform_data` exists only in the
    // state.
    let holds_nothing =
        matches!(change.kind.as_str(), "hactl_dns_record_set" | "terraform_data") && !change.is_machine();
    match change.action {
        Action::Update if !change.lost_disks.is_empty() => Some(Disruption::Disk),
        Action::Update if change.restarts => Some(Disruption::Restart),
        Action::NoOp | Action::Create | Action::Read | Action::Update | Action::Import => None,
        Action::Replace if change.unfinished && change.is_machine() && !consent.has_run(change) => None,
        Action::Replace | Action::Delete | Action::Forget if holds_nothing => None,
        Action::Replace => Some(Disruption::Replace),
        Action::Delete => Some(Disruption::Destroy),
        Action::Forget => Some(Disruption::Forget),
        Action::Unknown => Some(Disruption::Unknown),
    }
}

fn decide(change: &ResourceChange, disruption: Disruption, plan: &Plan, consent: &Consent, all_go: bool) -> Decision {
    if change.is_deposed() {
        let address = change.by_address();
        return match consent.addresses.contains(&address) {
            true => Decision::Agreed,
            false => Decision::Ask(format!("--allow-destroy '{address}'")),
        };
    }
    if change.kind == POOL {
        return pool(change, disruption, plan, consent);
    }
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
        Disruption::Restart => agreed(&consent.restart, "allow-restart"),
        Disruption::Replace if change.unfinished && !plain => Decision::Never(
            format!(
                "Terraform's state marks the machine as tainted, although the last run used it: run `terraform untaint \
                 '{}'` in the directory of the stack below .hactl/{}/terraform/stacks",
                change.address, plan.cluster
            )
            .into(),
        ),
        Disruption::Replace | Disruption::Destroy if change.protected => Decision::Never(
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

/// The resource type of a pool of Proxmox.
const POOL: &str = "proxmox_virtual_environment_pool";

/// A pool holds no data, but the machines in it may have their privileges by it. Proxmox removes a pool only when it is
/// empty: the modules take virtual machines out of it, and leave containers in it.
fn pool(change: &ResourceChange, disruption: Disruption, plan: &Plan, consent: &Consent) -> Decision {
    let containers = plan.platform.proxmox().is_some_and(|proxmox| proxmox.kind == ProxmoxKind::Lxc);
    match disruption {
        Disruption::Replace => Decision::Never(
            "Proxmox cannot rename a pool, and does not remove one with machines in it: restore `pool`, or create the \
             other pool in Proxmox, move the machines there, and set `pool_id` instead of `pool`"
                .into(),
        ),
        Disruption::Destroy if containers && !plan.nodes.is_empty() => Decision::Never(
            "Proxmox does not remove a pool with containers in it, and Terraform does not take them out: restore `pool`"
                .into(),
        ),
        Disruption::Destroy if consent.addresses.contains(&change.address) => Decision::Agreed,
        Disruption::Destroy => Decision::Ask(format!("--allow-destroy '{}'", change.address)),
        _ => Decision::No,
    }
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

pub(super) fn said(change: &ResourceChange, disruption: Disruption) -> String {
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
        _ if change.is_deposed() => "an old object that an earlier replacement left".to_owned(),
        (Some(node), _) if disruption == Disruption::Disk => {
            format!("the disk {} of the machine {node}", disk().collect::<Vec<_>>().join(", "))
        }
        (Some(node), "hactl_volume") => format!("the data of {node}"),
        (Some(node), _) if change.is_entry() => format!("the entry of the machine {node}"),
        (Some(node), _) if change.is_machine() => format!("the machine {node}"),
        (_, POOL) => "the pool of the machines".to_owned(),
        _ => "a part of the cluster".to_owned(),
    };
    format!("the plan would {verb} {what}: {}", change.by_address())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::{
        diff::{AttributeChange, Cost},
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
        let error = guard(&plan, &protected, &consent(&["node1", "node2"])).unwrap_err();
        assert!(error.causes[0].contains("protection: false"), "{error}");
    }

    #[test]
    fn restart_option_allows_named_machines_only() {
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
        let error = guard(&plan, &both, &agreed(&["node1"])).unwrap_err();
        assert!(error.causes.len() == 1 && error.causes[0].contains("node2"), "{error}");
        assert!(guard(&plan, &both, &agreed(&["node1", "node2"])).is_ok());
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
    fn tainted_machine_that_the_last_run_used_is_refused_and_another_of_its_key_is_replaced() {
        let tainted = |key: &str, id: &str| ResourceChange {
            unfinished: true,
            machine_id: Some(id.to_owned()),
            ..change("proxmox_virtual_environment_vm", key, Action::Replace)
        };
        let (plan, consent) = mixed(true);
        let ids = [("node1", "101"), ("web", "102")];
        let machine_ids = ids.into_iter().map(|(key, id)| (key.parse().unwrap(), id.to_owned())).collect();
        let consent = Consent { machine_ids, destroy: keys(&["node1"]), ..consent };
        let error = guard(&plan, &changes(vec![tainted("node1", "101")]), &consent).unwrap_err();
        assert!(
            error.causes[0].contains("marks the machine as tainted") && error.causes[0].contains("untaint"),
            "{error}"
        );
        let error = guard(&plan, &changes(vec![tainted("web", "102")]), &consent).unwrap_err();
        assert!(error.hint.unwrap().contains("--allow-destroy web"), "a plain machine goes by name");
        // The machine that ran is gone, and making it again failed.
        assert!(guard(&plan, &changes(vec![tainted("node1", "103")]), &consent).is_ok());
        assert!(guard(&plan, &changes(vec![tainted("new", "101")]), &consent).is_ok());
    }

    #[test]
    fn deposed_object_is_destroyed_only_by_its_address_and_key() {
        let kind = "proxmox_virtual_environment_vm";
        let old = ResourceChange { deposed: Some("1a2b3c4d".to_owned()), ..change(kind, "node1", Action::Delete) };
        let (plan, consent) = mixed(true);
        let name = format!("{}#1a2b3c4d", old.address);
        let error = guard(&plan, &changes(vec![old.clone()]), &consent).unwrap_err();
        assert!(error.causes[0].contains("destroy an old object that an earlier replacement left"), "{error}");
        assert!(error.hint.unwrap().contains(&format!("--allow-destroy '{name}'")));
        let by = |address: &str| Consent { addresses: [address.to_owned()].into(), ..consent.clone() };
        assert!(guard(&plan, &changes(vec![old.clone()]), &by(&name)).is_ok());
        // Neither the address alone nor the key of the machine in use.
        assert!(guard(&plan, &changes(vec![old.clone()]), &by(&old.address)).is_err());
        let named = Consent { destroy: keys(&["node1"]), ..consent.clone() };
        assert!(guard(&plan, &changes(vec![old]), &named).is_err());
    }

    #[test]
    fn pool_is_never_renamed_and_removed_by_address_where_no_container_is_in_it() {
        let pool = |action| ResourceChange { node: None, ..change(POOL, "p", action) };
        let of = |kind: &str| {
            on_proxmox(&format!("platform: {{proxmox: {{kind: {kind}}}}}\ninstances: {{web: {{roles: []}}}}"))
        };
        let refused = |plan: &Plan, action, consent: &Consent| guard(plan, &changes(vec![pool(action)]), consent).err();
        let named = Consent { addresses: [pool(Action::Delete).address].into(), ..Consent::default() };
        for kind in ["vm", "lxc"] {
            let error = refused(&of(kind), Action::Replace, &named).unwrap();
            assert!(error.causes[0].contains("cannot rename a pool"), "{error}");
        }
        let error = refused(&of("vm"), Action::Delete, &Consent::default()).unwrap();
        assert!(error.hint.unwrap().contains("--allow-destroy 'module."), "the way out is named");
        assert!(refused(&of("vm"), Action::Delete, &named).is_none());
        let error = refused(&of("lxc"), Action::Delete, &named).unwrap();
        assert!(error.causes[0].contains("with containers in it"), "{error}");
    }

    #[test]
    fn attribute_of_a_running_machine_needs_consent_by_its_name() {
        let bios = AttributeChange {
            path: "bios".to_owned(),
            before: "ovmf".into(),
            after: "seabios".into(),
            cost: Cost::NextRestart,
        };
        let changed = |key: &str| ResourceChange {
            attributes: vec![bios.clone()],
            ..change("proxmox_virtual_environment_vm", key, Action::Update)
        };
        let (plan, consent) = mixed(true);
        let both = changes(vec![changed("node1"), changed("web")]);
        let error = guard(&plan, &both, &consent).unwrap_err();
        assert_eq!((error.code, error.causes.len()), ("consent-missing", 2));
        assert!(
            error.causes[0].contains("change bios of the machine node1") && error.causes[0].contains("ovmf"),
            "{error}"
        );
        assert!(error.hint.unwrap().contains("`--allow-change node1:bios --allow-change web:bios`"));
        let change = ["node1", "web"].map(|key| (key.parse().unwrap(), BTreeSet::from(["bios".to_owned()]))).into();
        assert!(guard(&plan, &both, &Consent { change, ..consent.clone() }).is_ok());
        // With something worse beside it, the code is that of the worse.
        let worse =
            changes(vec![changed("node1"), crate::terraform::fixture::change("hactl_node", "node1", Action::Delete)]);
        let error = guard(&plan, &worse, &consent).unwrap_err();
        assert_eq!((error.code, error.causes.len()), ("plan-refused", 2));
    }
}
