//! The hypervisor of machines that are neither here nor the user's own: what it must have before Terraform is asked for
//! anything, and what only it knows of machines that run.

use std::{collections::BTreeMap, time::Duration};

use uuid::Uuid;

use crate::{
    context::Context,
    deployment::{Cluster, Deployment},
    error::{Error, Result},
    event::Stage,
    fleet::{Fleet, FleetNode},
    model::{InstanceKey, Proxmox, Reboots, Template},
    plan::Platform,
    platform::proxmox::{self, Api, ApiEndpoint, GuestRequest, Pool, ProxmoxRequest, Source, Token},
    terraform::{self, Recorded},
};

/// How long a machine that is gone may take to be silent.
const SILENT_WITHIN: Duration = Duration::from_secs(2);

/// Tries whether the API can be used, and whether it has what the machines are made from.
///
/// # Errors
/// With why it cannot be used, or with everything that is missing.
pub(crate) async fn check(context: &Context, cluster: &Cluster) -> Result<()> {
    let Platform::Proxmox(proxmox) = &cluster.plan.platform else { return Ok(()) };
    let api = api(context, proxmox)?;
    let dir = cluster.dir();
    let recorded = terraform::recorded(context, &dir, &cluster.plan).await?;
    let wanted =
        ProxmoxRequest { cluster: terraform::begun(&dir, &cluster.plan)?, ..wanted(cluster, proxmox, &recorded) };
    let checked = proxmox::check(&api, &wanted).await?;
    context.events.step(Stage::Plan, None, format!("Proxmox {} has what the machines need", checked.version)).await;
    Ok(())
}

/// Tries whether the API can be used, and no more: for a teardown, which needs nothing of it but to be there.
///
/// # Errors
/// With why it cannot be used.
pub(crate) async fn answers(context: &Context, cluster: &Cluster) -> Result<()> {
    let Platform::Proxmox(proxmox) = &cluster.plan.platform else { return Ok(()) };
    proxmox::check(&api(context, proxmox)?, &ProxmoxRequest::default()).await.map(|_| ())
}

fn api(context: &Context, proxmox: &Proxmox) -> Result<Api> {
    let endpoint = ApiEndpoint::find(proxmox.endpoint.as_deref(), &context.env)?;
    let ca_cert = proxmox.ca_cert.as_ref().map(|path| context.at_home(path));
    Api::new(endpoint, Token::from_env(&context.env)?, ca_cert.as_deref())
}

fn wanted(cluster: &Cluster, proxmox: &Proxmox, recorded: &Recorded) -> ProxmoxRequest {
    let machine = |(key, guest): (&InstanceKey, &crate::model::Guest)| {
        let source = match &guest.template {
            Template::Vm(id) => {
                Source::Template { id: *id, hypervisor: guest.template_hypervisor.as_ref().map(ToString::to_string) }
            }
            Template::File(file) => Source::File(file.clone()),
        };
        let made = |key: &InstanceKey| recorded.machines.contains(key);
        let machine = GuestRequest {
            made: made(key) || guest.renamed_from.as_ref().is_some_and(made),
            name: cluster.plan.nodes.get(key).map(|node| node.hostname.to_string()).unwrap_or_default(),
            hypervisor: guest.hypervisor.to_string(),
            source,
            datastore: guest.datastore.to_string(),
            bridge: proxmox.bridge.to_string(),
            vlan: guest.vlan,
            pool: guest.pool_id.as_ref().map(ToString::to_string),
        };
        (key.clone(), machine)
    };
    ProxmoxRequest {
        machines: proxmox.machines.iter().map(machine).collect(),
        pool: proxmox.pool.as_ref().map(|pool| Pool { id: pool.to_string(), made: recorded.pool }),
        cluster: None,
    }
}

/// Which machines wait for a restart; none on a platform that would know nothing of it.
pub(crate) async fn reboots(context: &Context, platform: &Platform, fleet: &Fleet) -> Option<Result<Reboots>> {
    let Platform::Proxmox(proxmox) = platform else { return None };
    let id = |node: &FleetNode| Some((node.key().clone(), node.machine_id.as_ref()?.parse().ok()?));
    let ids: BTreeMap<InstanceKey, u32> = fleet.nodes.values().filter_map(id).collect();
    let ask = async { proxmox::reboots(&api(context, proxmox)?, &ids).await };
    Some(ask.await)
}

/// Sees that nothing answers by SSH any more where the machines of `fleet` were.
///
/// # Errors
/// With every machine that still does.
pub(crate) async fn is_silent(cluster: &Cluster, fleet: &Fleet) -> Result<()> {
    // What is behind a bastion is seen from there alone.
    let direct = fleet.nodes.values().filter(|node| node.ssh.bastion.is_none());
    let knocks = direct.map(async |node| {
        let door = (node.ssh.host.as_str(), node.ssh.port);
        let connected = tokio::time::timeout(SILENT_WITHIN, tokio::net::TcpStream::connect(door)).await;
        matches!(connected, Ok(Ok(_))).then(|| format!("{} at {}:{}", node.hostname(), door.0, door.1))
    });
    let left: Vec<String> = futures_util::future::join_all(knocks).await.into_iter().flatten().collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::failed("left-behind", "take away all of", cluster.name())
        .cause(format!("something still answers where its machines were: {}", left.join(", ")))
        .hint("the machines were removed: has another one got the address, or was there a second one with it?"))
}

/// Sees that Proxmox has no machine of the cluster any more: one that was being cloned when its run was killed is not in
/// Terraform's state.
///
/// # Errors
/// With every machine that carries the cluster's tag, and when Proxmox does not say.
pub(crate) async fn is_empty(context: &Context, cluster: &Cluster, proxmox: &Proxmox, uuid: Uuid) -> Result<()> {
    let names = cluster.plan.nodes.values().map(|node| node.hostname.as_str()).collect();
    let left = proxmox::left(&api(context, proxmox)?, uuid, &names).await?;
    let (ours, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|stray| stray.ours);
    for stray in &others {
        let message =
            format!("{stray} has the name of a machine of {}, and Terraform's state did not know it", cluster.name());
        let hint = format!("if a run that was killed has left it there, remove it: {}", stray.removal());
        context.events.warn("proxmox-machine-there", message, Some(hint)).await;
    }
    if ours.is_empty() {
        return Ok(());
    }
    let error = Error::failed("left-behind", "take away all of", cluster.name());
    let error = ours.iter().fold(error, |error, stray| {
        error.cause(format!("{stray} carries this cluster's tag, and Terraform's state did not know it"))
    });
    let removals: Vec<String> = ours.iter().map(proxmox::Stray::removal).collect();
    Err(error.hint(format!("remove it: {}; then `hactl down {}` again", removals.join("\n"), cluster.name())))
}

/// The machines and the pool that Terraform knows of, finished or not.
///
/// # Errors
/// Those of Terraform.
pub(crate) async fn made(context: &Context, deployment: &Deployment, proxmox: &Proxmox) -> Result<Vec<String>> {
    let cluster = &deployment.cluster;
    let recorded = terraform::recorded(context, &cluster.dir(), &cluster.plan).await?;
    let fleet = deployment.known.fleet_if_any()?;
    let machine = |key: &InstanceKey| {
        let node = fleet.and_then(|fleet| fleet.nodes.get(key));
        let id = node.and_then(|node| node.machine_id.as_ref()).map(|id| format!(" (id {id})")).unwrap_or_default();
        let name = node.map_or_else(|| key.to_string(), |node| node.hostname().to_string());
        format!("{} {name}{id}", proxmox.kind)
    };
    let pool = proxmox.pool.iter().filter(|_| recorded.pool).map(|pool| format!("pool {pool}"));
    Ok(recorded.machines.iter().map(machine).chain(pool).collect())
}
