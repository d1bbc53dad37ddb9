//! What `up` refuses to do: pure decisions over a plan, before it is applied.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeSet};

use super::{
    asked::{Missing, missing},
    changes::{Action, Changes, ResourceChange},
    consent::Consent,
};
use crate::{
    error::{Error, Result, codes},
    model::InstanceKey,
    plan::Plan,
};

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
    let mut refusal = RefusedPlan::default();
    for change in &changes.resources {
        if let Some(key) = change.node.as_ref().filter(|_| change.is_machine() && !change.is_entry()) {
            refusal.ask_for(missing(change, key, &format!("the machine {key}"), consent));
        }
        let Some(disruption) = disruption(change, consent) else { continue };
        let cause = said(change, disruption);
        match decide(change, disruption, plan, changes, consent) {
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
        let code = if disrupts { codes::PLAN_REFUSED } else { "consent-missing" };
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

fn decide(
    change: &ResourceChange,
    disruption: Disruption,
    plan: &Plan,
    changes: &Changes,
    consent: &Consent,
) -> Decision {
    // Without machines there is no cluster that could lose its majority.
    let all_go = plan.nodes.is_empty();
    if change.is_deposed() {
        let address = change.by_address();
        return match consent.addresses.contains(&address) {
            true => Decision::Agreed,
            false => Decision::Ask(format!("--allow-destroy '{address}'")),
        };
    }
    if change.kind == POOL {
        return pool(change, disruption, changes, consent);
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

/// The resource type of a pool of Proxmox.
const POOL: &str = "proxmox_virtual_environment_pool";

/// A pool holds no data, but the machines in it may have their privileges by it. Proxmox removes a pool only when it is
/// empty, and Terraform removes it before it takes machines out.
fn pool(change: &ResourceChange, disruption: Disruption, changes: &Changes, consent: &Consent) -> Decision {
    let stays = |machine: &&ResourceChange| machine.is_machine() && machine.action != Action::Delete;
    let inside = changes.resources.iter().filter(stays).filter(|machine| machine.pool == change.pool);
    let ids: Vec<&str> = inside.filter_map(|machine| machine.machine_id.as_deref()).collect();
    match disruption {
        Disruption::Replace => Decision::Never(
            "Proxmox cannot rename a pool, and does not remove one with machines in it: restore `pool`, or create the \
             other pool in Proxmox, move the machines there, and set `pool_id` instead of `pool`"
                .into(),
        ),
        Disruption::Destroy if !ids.is_empty() => Decision::Never(
            format!(
                "Proxmox does not remove a pool with machines in it: restore `pool`, or take virtual machines out first with \
                 `pveum pool modify {} --vms {} --delete 1` on a hypervisor",
                change.pool.as_deref().unwrap_or_default(),
                ids.join(",")
            )
            .into(),
        ),
        Disruption::Destroy if consent.addresses.contains(&change.address) => Decision::Agreed,
        Disruption::Destroy => Decision::Ask(format!("--allow-destroy '{}'", change.address)),
        _ => Decision::No,
    }
}

/// How to keep the disks that would be removed. The modules support two disks, `scsi0` and `scsi1`.
fn keep_disks(change: &ResourceChange) -> String {
    let field = |interface: &str| match interface {
        "scsi0" => Some("disk_gb"),
        "scsi1" => Some("data_disk_gb"),
        _ => None,
    };
    match change.lost_disks.iter().find(|disk| field(&disk.interface).is_none()) {
        None => {
            let sizes = change.lost_disks.iter().filter_map(|disk| Some((field(&disk.interface)?, disk.size_gb)));
            let sizes: Vec<String> = sizes.map(|(field, size)| format!("`{field}: {size}`")).collect();
            format!("set {} on that instance to keep the disk", sizes.join(" and "))
        }
        Some(other) => format!(
            "hactl supports only the disks scsi0 and scsi1: attach {} as scsi0 in Proxmox, or remove the machine from the \
             cluster file",
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
