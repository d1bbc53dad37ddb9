//! Fleet -> Inventory -> Configured: certificates, what Ansible reads, and the playbook.

use jiff::Timestamp;

use super::{
    enroll,
    prepare::{self, Downloads, Prepared},
};
use crate::{
    ansible::{
        self, Configured, Playbook, Settings,
        inventory::{self, Inventory, KeyPair, Material},
    },
    context::{Context, RunContext},
    deployment::{
        Cluster,
        lock::{self, Asking},
        look, shared_record,
    },
    error::{Error, Result},
    event::{Stage, Summary},
    fleet::Fleet,
    health::{self, Access},
    model::{Account, Certificate},
    secrets::{ClientFiles, Leaf, Vault, write_client_files},
};

/// Signs what is due, and writes the client's files and the inventory.
pub(crate) async fn render(
    run: &RunContext,
    cluster: &Cluster,
    vault: &mut Vault,
    fleet: &Fleet,
    downloads: &Downloads,
) -> Result<Inventory> {
    run.stage(Stage::Inventory, async {
        let context = &run.context;
        let plan = &cluster.plan;
        let nodes: Vec<_> =
            fleet.nodes.values().map(|node| (node.key().clone(), node.hostname().clone(), node.address)).collect();
        let signed = vault.ensure_certificates(&Certificate::OF_EVERY_CLUSTER, &nodes, Timestamp::now())?;
        if vault.ensure_passwords(&cluster.accounts())? || signed {
            vault.save()?;
        }
        client_files(context, cluster, vault, fleet)?;
        let material = material(context, cluster, vault, downloads);
        let inventory = inventory::build(plan, fleet, &material)?;
        inventory::write(&context.dirs.cluster(cluster.name()).inventory(), &inventory)?;
        Ok((inventory, signed.then(|| "certificates signed".to_owned())))
    })
    .await
}

/// Writes what clients on this machine use: keys, certificates, and how the machines are reached.
pub(crate) fn client_files(context: &Context, cluster: &Cluster, vault: &Vault, fleet: &Fleet) -> Result<()> {
    let dir = context.dirs.cluster(cluster.name());
    let identities = enroll::identities(context, cluster);
    write_client_files(&dir, vault, fleet, &cluster.plan.postgres.databases, &identities)
}

fn material(context: &Context, cluster: &Cluster, vault: &Vault, downloads: &Downloads) -> Material {
    let files = context.dirs.cluster(cluster.name()).client();
    let nodes = vault.node_leaves().iter().map(|(key, leaves)| {
        let pair = |leaf: &Leaf| KeyPair { certificate: leaf.certificate.clone(), key: leaf.key.clone() };
        (key.clone(), leaves.iter().map(|(name, leaf)| (name.clone(), pair(leaf))).collect())
    });
    Material {
        assets: cluster.assets.clone(),
        passwords: vault.passwords(),
        authorities: vault.authorities(),
        nodes: nodes.collect(),
        ssh_private_key: enroll::identities(context, cluster).machine,
        ssh_config: files.join(ClientFiles::SSH_CONFIG),
        etcd_binaries_dir: downloads.etcd.clone(),
        patroni_wheels_dir: downloads.wheels.clone(),
    }
}

/// Whether every node carries the digest of this inventory, and the cluster is healthy besides.
pub(crate) async fn is_current(cluster: &Cluster, fleet: &Fleet, access: &Access, inventory: &Inventory) -> bool {
    let seen = health::observe(fleet, access).await;
    let same = seen
        .values()
        .filter(|view| !view.roles.is_empty())
        .all(|view| view.digest.as_deref() == Some(inventory.digest()));
    same && health::diagnose(&cluster.plan, &seen).is_healthy()
}

/// Runs the site playbook.
pub(crate) async fn run(
    run: &RunContext,
    cluster: &Cluster,
    prepared: &Prepared,
    mitogen: bool,
    check: bool,
) -> Result<Configured> {
    run.stage(Stage::Configure, async {
        let context = &run.context;
        let dir = context.dirs.cluster(cluster.name());
        let playbook = Playbook {
            tree: prepare::tree(context, &cluster.assets)?,
            file: "patroni-cluster.yml".to_owned(),
            inventory: dir.inventory(),
            vars_files: Vec::new(),
        };
        let scratch = prepare::scratch()?;
        let settings = Settings {
            private_key: enroll::identities(context, cluster).machine,
            // The inventory says it for every host.
            ssh_arguments: String::new(),
            mitogen,
            check,
            scratch: scratch.path().to_owned(),
            forks: cluster.plan.nodes.len(),
        };
        let configured = ansible::run(context, &prepared.ansible, &playbook, &settings).await?;
        run.keep("configured", &configured)?;
        let changed = configured.changed();
        Ok((configured, Some(format!("{changed} tasks changed something"))))
    })
    .await
}

/// `hactl configure`: the playbook on the machines that there are.
///
/// # Errors
/// When the cluster was never provisioned, or a task fails.
pub async fn configure(acting: &RunContext, cluster: &Cluster, mitogen: bool, check: bool) -> Result<Summary> {
    let context = &acting.context;
    let fleet = look::fleet(&context.dirs, cluster)?;
    let mut vault = Vault::open(context, cluster.name(), &cluster.secrets(&context.dirs)).await?;
    cluster.take_given(context, &mut vault).await?;
    shared_record::take_over(cluster, &mut vault)?;
    let access = look::access(context, cluster, &vault)?;
    let owners: Vec<_> = cluster.owners().into_iter().map(Account::Owner).collect();
    if cluster.place().is_some() && vault.ensure_passwords(&owners)? {
        let name = cluster.name();
        return Err(Error::failed("secrets-behind", "configure", name)
            .cause(
                "the cluster file has a database whose owner has no password yet, and runs elsewhere must know of it",
            )
            .hint(format!("`hactl up {name}` or `hactl provision {name}` makes it and notes it in the state")));
    }
    let work = async {
        shared_record::is_current(context, cluster).await?;
        let prepared = prepare::prepare(acting, cluster, &vault, mitogen).await?;
        render(acting, cluster, &mut vault, &fleet, &prepared.downloads).await?;
        run(acting, cluster, &prepared, mitogen, check).await
    };
    let asking = Asking { run: acting, cluster, command: "configure", fleet: &fleet, access: &access };
    let worked = lock::held_for(asking, work).await;
    // Certificates are signed here, too.
    shared_record::say_saved(context, cluster, &vault).await;
    let configured = worked?;
    let changed = configured.changed();
    let would = if check { "would change" } else { "changed" };
    Ok(Summary {
        ok: true,
        command: "configure".to_owned(),
        cluster: cluster.name().to_string(),
        message: format!("{}: {changed} tasks {would} something.", cluster.name()),
        next: vec![format!("hactl status {}", cluster.name())],
        stages: acting.times(),
        changed: changed > 0 && !check,
        ..Summary::default()
    })
}

/// `hactl inventory`: what the last run wrote, built again without touching anything.
///
/// # Errors
/// When the cluster was never provisioned from here.
pub async fn inventory(context: &Context, cluster: &Cluster) -> Result<Inventory> {
    let fleet = look::fleet(&context.dirs, cluster)?;
    let mut vault = Vault::open(context, cluster.name(), &cluster.secrets(&context.dirs)).await?;
    cluster.take_given(context, &mut vault).await?;
    let downloads = prepare::downloads(context, cluster).await?;
    let material = material(context, cluster, &vault, &downloads);
    inventory::build(&cluster.plan, &fleet, &material)
        .map_err(|error| Error { hint: Some(format!("`hactl up {}` signs what is missing", cluster.name())), ..error })
}
