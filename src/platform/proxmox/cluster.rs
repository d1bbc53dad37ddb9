//! The cluster's machines on Proxmox: what it must have before Terraform is asked for anything, and what only it knows of
//! machines that run.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use uuid::Uuid;

use super::{
    Api, ApiEndpoint, GuestDisks, GuestRequest, OrphanedGuest, Pool, ProxmoxRequest, SizedDisks, Source, Token, check,
    disks::disks_of, facts::guests, left, trouble::Trouble, variables::protected,
};
use crate::{
    context::Context,
    error::{Error, Result},
    event::Stage,
    fleet::{Fleet, FleetNode},
    model::{InstanceKey, Proxmox, Reboots, Template},
    plan::Plan,
    platform::{Recorded, RecordedMachine, Surveyed},
};

/// How long the questions about disks may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// Tries whether the API can be used, whether it has what the machines are made from, and where those are that exist.
///
/// # Errors
/// With why it cannot be used, or with everything that is missing.
pub(in crate::platform) async fn preflight(
    context: &Context,
    plan: &Plan,
    proxmox: &Proxmox,
    fleet: Option<&Fleet>,
    recorded: impl AsyncFnOnce() -> Result<Recorded>,
) -> Result<Surveyed> {
    let api = api(context, proxmox)?;
    let recorded = recorded().await?;
    let checked = check(&api, &wanted(plan, proxmox, fleet, &recorded)).await?;
    context.events.step(Stage::Plan, None, format!("Proxmox {} has what the machines need", checked.version)).await;
    Ok(checked.surveyed)
}

/// Checks only that the API can be used: a teardown needs no more of it.
///
/// # Errors
/// With why it cannot be used.
pub(in crate::platform) async fn answers(context: &Context, proxmox: &Proxmox) -> Result<()> {
    check(&api(context, proxmox)?, &ProxmoxRequest::default()).await.map(|_| ())
}

pub(super) fn api(context: &Context, proxmox: &Proxmox) -> Result<Api> {
    let endpoint = ApiEndpoint::find(proxmox.endpoint.as_deref(), &context.env)?;
    let ca_cert = proxmox.ca_cert.as_ref().map(|path| context.at_home(path));
    Api::new(endpoint, Token::from_env(&context.env)?, ca_cert.as_deref())
}

fn wanted(plan: &Plan, proxmox: &Proxmox, fleet: Option<&Fleet>, recorded: &Recorded) -> ProxmoxRequest {
    let left = |key: &InstanceKey| fleet.and_then(|fleet| fleet.nodes.get(key));
    let number = |node: &FleetNode| node.machine_id.as_ref()?.parse().ok();
    let used: BTreeSet<Ipv4Addr> =
        fleet.iter().flat_map(|fleet| fleet.nodes.values()).map(|node| node.address).collect();
    // Only the bastion reaches the machines behind it.
    let direct = proxmox.ssh.bastion.is_none();
    let machine = |(key, guest): (&InstanceKey, &crate::model::Guest)| {
        let source = match &guest.template {
            Template::Vm(id) => {
                Source::Template { id: *id, hypervisor: guest.template_hypervisor.as_ref().map(ToString::to_string) }
            }
            Template::File(file) => Source::File(file.clone()),
        };
        let keys = || [Some(key), guest.renamed_from.as_ref()].into_iter().flatten();
        let held = keys().find_map(|key| recorded.machines.get_key_value(key));
        let made = held.map(|(_, machine)| machine);
        let before = keys().find_map(left);
        let address = guest.address.network().map(|network| network.addr());
        let data = guest.data_datastore.as_ref().filter(|_| guest.data_disk_gb.is_some());
        let extra_nic = guest.hardware.extra_nic.as_ref().and_then(|nic| Some((nic, nic.bridge.as_ref()?)));
        let machine = GuestRequest {
            made: made.is_some(),
            vmid: made.and_then(|made| made.vmid).or_else(|| before.and_then(number)),
            held_as: held.map(|(key, _)| key.clone()),
            recorded_on: made.and_then(|made| made.hypervisor.clone()),
            recorded_name: made.and_then(|made| made.name.clone()),
            imported: made.is_some_and(|made| made.imported),
            was_at: before.filter(|_| direct).map(|node| (node.ssh.host.clone(), node.ssh.port)),
            // That of a machine of the cluster may pass to another one of it.
            address: address.filter(|address| direct && !used.contains(address)),
            protects: made.is_some_and(|made| made.protection != protected(proxmox, plan, key)),
            startup: guest.hardware.startup.is_some(),
            tags: guest.tags.iter().map(ToString::to_string).collect(),
            name: plan.nodes.get(key).map(|node| node.hostname.to_string()).unwrap_or_default(),
            hypervisor: guest.hypervisor.to_string(),
            source,
            datastore: guest.datastore.to_string(),
            data_datastore: data.map(ToString::to_string),
            sized: sized(plan, key, guest, made),
            bridge: proxmox.bridge.to_string(),
            vlan: guest.vlan,
            extra_nic: extra_nic.map(|(nic, bridge)| (bridge.to_string(), nic.vlan)),
            pool: guest.pool_id.as_ref().map(ToString::to_string),
        };
        (key.clone(), machine)
    };
    let recorded_ids = recorded.machines.values().filter_map(|machine| machine.vmid);
    let left_ids = fleet.iter().flat_map(|fleet| fleet.nodes.values()).filter_map(number);
    ProxmoxRequest {
        machines: proxmox.machines.iter().map(machine).collect(),
        pool: proxmox.pool.as_ref().map(|pool| Pool { id: pool.to_string(), made: recorded.pool }),
        cluster: recorded.begun,
        name: plan.cluster.to_string(),
        known: recorded_ids.chain(left_ids).collect(),
        ssh_port: proxmox.ssh.port,
    }
}

/// Asks for the disks of these virtual machines, by their ids. What the token does not see is left out.
///
/// # Errors
/// When Proxmox does not say.
pub async fn disks(context: &Context, proxmox: &Proxmox, ids: &BTreeSet<u32>) -> Result<BTreeMap<u32, GuestDisks>> {
    let api = api(context, proxmox)?;
    let asked = async {
        // Where they are now: high availability may have moved them.
        let guests = guests(&api).await?;
        disks_of(&api, &guests, ids).await
    };
    let found = tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(Trouble::Silent(PATIENCE)));
    found.map_err(|trouble| trouble.explain(&api.server, "read the disks of virtual machines from"))
}

/// Which disks of a machine Terraform manages from the next apply on. An import takes in all of them.
fn sized(plan: &Plan, key: &InstanceKey, guest: &crate::model::Guest, made: Option<&RecordedMachine>) -> SizedDisks {
    let resized = plan.nodes.get(key).is_some_and(|node| node.disk_gb.is_some());
    let disks = usize::from(resized) + usize::from(guest.data_disk_gb.is_some());
    match made {
        Some(machine) if machine.imported || machine.disks >= disks => SizedDisks::None,
        Some(machine) if machine.disks == 0 && resized => SizedDisks::Kept,
        _ if disks == 0 => SizedDisks::None,
        _ => SizedDisks::New,
    }
}

/// Which machines wait for a restart.
///
/// # Errors
/// When Proxmox does not say.
pub(in crate::platform) async fn reboots(context: &Context, proxmox: &Proxmox, fleet: &Fleet) -> Result<Reboots> {
    let id = |node: &FleetNode| Some((node.key().clone(), node.machine_id.as_ref()?.parse().ok()?));
    let ids: BTreeMap<InstanceKey, u32> = fleet.nodes.values().filter_map(id).collect();
    super::reboots(&api(context, proxmox)?, &ids).await
}

/// Lets Proxmox remove these machines again.
///
/// # Errors
/// When Proxmox refuses.
pub(in crate::platform) async fn unprotect(context: &Context, proxmox: &Proxmox, vmids: &BTreeSet<u32>) -> Result<()> {
    let api = api(context, proxmox)?;
    let lift = async {
        let guests = guests(&api).await?;
        for (vmid, guest) in vmids.iter().filter_map(|vmid| Some((vmid, guests.get(vmid)?))) {
            let kind = if guest.container { "lxc" } else { "qemu" };
            let path = ["nodes", &guest.hypervisor, kind, &vmid.to_string(), "config"];
            api.set(&path, &[("protection", "0")]).await?;
        }
        Ok(())
    };
    lift.await.map_err(|trouble: Trouble| trouble.explain(&api.server, "lift the protection of machines at"))
}

/// Checks that Proxmox has no machine of the cluster any more: Terraform's state lacks one that
/// was being cloned when its run was killed.
///
/// # Errors
/// With every machine that carries the cluster's tag, and when Proxmox does not say.
pub(in crate::platform) async fn is_empty(context: &Context, plan: &Plan, proxmox: &Proxmox, uuid: Uuid) -> Result<()> {
    let names = plan.nodes.values().map(|node| node.hostname.as_str()).collect();
    let found = left(&api(context, proxmox)?, uuid, &names).await?;
    let (ours, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|orphan| orphan.ours);
    for orphan in &others {
        let message =
            format!("{orphan} has the name of a machine of {}, but is not in Terraform's state", plan.cluster);
        let hint = format!("Remove it if a killed run has left it behind: {}", orphan.removal());
        context.events.warn("proxmox-machine-there", message, Some(hint)).await;
    }
    if ours.is_empty() {
        return Ok(());
    }
    let error = Error::failed("left-behind", "remove all objects of", &plan.cluster);
    let error = ours.iter().fold(error, |error, orphan| {
        error.cause(format!("{orphan} has this cluster's tag, but is not in Terraform's state"))
    });
    let removals: Vec<String> = ours.iter().map(OrphanedGuest::removal).collect();
    Err(error.hint(format!("Remove it: {}; then run `hactl down {}` again", removals.join("\n"), plan.cluster)))
}

/// The machines and the pool that Terraform knows of, finished or not.
pub(in crate::platform) fn made(proxmox: &Proxmox, recorded: &Recorded, fleet: Option<&Fleet>) -> Vec<String> {
    let machine = |key: &InstanceKey| {
        let node = fleet.and_then(|fleet| fleet.nodes.get(key));
        let id = node.and_then(|node| node.machine_id.as_ref()).map(|id| format!(" (id {id})")).unwrap_or_default();
        let name = node.map_or_else(|| key.to_string(), |node| node.hostname().to_string());
        format!("{} {name}{id}", proxmox.kind)
    };
    let pool = proxmox.pool.iter().filter(|_| recorded.pool).map(|pool| format!("pool {pool}"));
    recorded.machines.keys().map(machine).chain(pool).collect()
}
