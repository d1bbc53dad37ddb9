//! Fleet -> Inventory -> Configured: certificates, what Ansible reads, and the playbook.

use jiff::Timestamp;

use super::{
    prepare::{self, Prepared},
    refused::parameters_refused,
};
use crate::{
    access::Access,
    ansible::{
        self, Configured, Playbook, Settings,
        inventory::{self, Inventory, Material},
    },
    component::{self, Downloaded, KeyPair, RoleSecrets},
    context::{Context, RunContext},
    deployment::{Cluster, client_files, ssh_keys},
    error::Result,
    event::Stage,
    fleet::Fleet,
    health,
    secrets::{ClientFiles, Leaf, Vault},
};

/// Signs missing and expiring certificates, and writes the client files and the inventory.
pub(crate) async fn render(
    run: &RunContext,
    cluster: &Cluster,
    vault: &mut Vault,
    fleet: &Fleet,
    downloads: &[Downloaded],
) -> Result<Inventory> {
    run.stage(Stage::Inventory, async {
        let context = &run.context;
        let plan = &cluster.plan;
        let nodes: Vec<_> =
            fleet.nodes.values().map(|node| (node.key().clone(), node.hostname().clone(), node.address)).collect();
        let signed = vault.ensure_certificates(&component::certificates(), &nodes, Timestamp::now())?;
        if vault.ensure_passwords(&cluster.accounts())? || signed {
            vault.save()?;
        }
        client_files(context, cluster, vault, fleet)?;
        let material = material(context, cluster, vault, downloads);
        let inventory = inventory::build(plan, fleet, &material)?;
        inventory::write(&cluster.dir().inventory(), &inventory)?;
        Ok((inventory, signed.then(|| "certificates signed".to_owned())))
    })
    .await
}

/// What the inventory needs of the secrets and the downloads.
pub(crate) fn material(context: &Context, cluster: &Cluster, vault: &Vault, downloads: &[Downloaded]) -> Material {
    let files = cluster.dir().client();
    let nodes = vault.node_leaves().iter().map(|(key, leaves)| {
        let pair = |leaf: &Leaf| KeyPair { certificate: leaf.certificate.clone(), key: leaf.key.clone() };
        (key.clone(), leaves.iter().map(|(name, leaf)| (name.clone(), pair(leaf))).collect())
    });
    Material {
        assets: cluster.assets.clone(),
        secrets: RoleSecrets { passwords: vault.passwords(), authorities: vault.authorities(), nodes: nodes.collect() },
        downloads: downloads.to_vec(),
        ssh_private_key: ssh_keys::identities(context, cluster).machine,
        ssh_config: files.join(ClientFiles::SSH_CONFIG),
    }
}

/// Whether every node carries the digest of this inventory and serves the certificates on its disk, and the cluster is healthy.
pub(crate) async fn is_current(cluster: &Cluster, fleet: &Fleet, access: &Access, inventory: &Inventory) -> bool {
    let (seen, certificates) = tokio::join!(health::observe(fleet, access), health::certificates(fleet, access));
    let same = seen
        .values()
        .filter(|view| !view.roles.is_empty())
        .all(|view| view.digest.as_deref() == Some(inventory.digest()));
    same && health::are_read(&certificates) && health::diagnose(&cluster.plan, &seen).is_healthy()
}

/// Runs the site playbook.
pub(crate) async fn run_playbook(
    run: &RunContext,
    cluster: &Cluster,
    prepared: &Prepared,
    mitogen: bool,
    check: bool,
) -> Result<Configured> {
    run.stage(Stage::Configure, async {
        let context = &run.context;
        let dir = cluster.dir();
        let playbook = Playbook {
            tree: prepare::tree(context, &cluster.assets)?,
            file: "patroni-cluster.yml".to_owned(),
            inventory: dir.inventory(),
            hosts: cluster.plan.nodes.values().filter(|node| !node.roles.is_empty()).count(),
            vars_files: Vec::new(),
        };
        let scratch = prepare::scratch()?;
        let settings = Settings {
            private_key: ssh_keys::identities(context, cluster).machine,
            // The inventory has them for every host.
            ssh_arguments: String::new(),
            mitogen,
            check,
            scratch: scratch.path().to_owned(),
            forks: cluster.plan.nodes.len(),
        };
        let configured = ansible::run(context, &prepared.ansible, &playbook, &settings, |refused| {
            parameters_refused(cluster, refused)
        });
        let configured = configured.await?;
        run.keep("configured", &configured)?;
        let changed = configured.changed();
        Ok((configured, Some(format!("{changed} tasks changed something"))))
    })
    .await
}
