//! Fleet -> Inventory -> Configured: certificates, what Ansible reads, and the playbook.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::{prepare, refused::parameters_refused};
use crate::{
    access::Access,
    ansible::{
        self, AnsibleEnvironment, Configured, Playbook, Refusal, Settings,
        inventory::{self, Inventory, Material},
    },
    component::{self, Certificates, ClockView, Downloaded, KeyPair, Observations, RoleSecrets, pgbackrest::Origin},
    context::{Context, RunContext},
    deployment::{Cluster, client_files, ssh_keys},
    error::{Error, Result, codes},
    event::Stage,
    file,
    fleet::Fleet,
    health::{self, Health},
    model::InstanceKey,
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
        let signed = complete(cluster, vault, fleet)?;
        if signed.passwords || signed.certificates {
            vault.save()?;
        }
        client_files(context, cluster, vault, fleet)?;
        let material = material(context, cluster, vault, downloads);
        let inventory = inventory::build(&cluster.plan, fleet, &material)?;
        inventory::write(&cluster.dir().inventory(), &inventory)?;
        Ok((inventory, signed.certificates.then(|| "certificates signed".to_owned())))
    })
    .await
}

/// Which secrets were missing or expiring.
pub(crate) struct Completed {
    pub(crate) certificates: bool,
    pub(crate) passwords: bool,
}

/// Adds what is missing to the secrets, without saving them.
pub(crate) fn complete(cluster: &Cluster, vault: &mut Vault, fleet: &Fleet) -> Result<Completed> {
    let nodes: Vec<_> =
        fleet.nodes.values().map(|node| (node.key().clone(), node.hostname().clone(), node.address)).collect();
    let certificates = vault.ensure_certificates(&component::certificates(), &nodes, Timestamp::now())?;
    Ok(Completed { certificates, passwords: vault.ensure_passwords(&cluster.accounts())? })
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
        secrets: RoleSecrets {
            uuid: vault.uuid(),
            passwords: vault.passwords(),
            authorities: vault.authorities(),
            nodes: nodes.collect(),
        },
        downloads: downloads.to_vec(),
        ssh_private_key: ssh_keys::identities(context, cluster).machine,
        ssh_config: files.join(ClientFiles::SSH_CONFIG),
    }
}

/// What the machines show before the playbook runs.
pub(crate) struct Seen {
    /// Whether the playbook has nothing to do.
    pub(crate) current: bool,
    /// The machine that leads.
    pub(crate) leader: Option<InstanceKey>,
    /// What they serve.
    pub(crate) certificates: Certificates,
    /// Machines that have data of the cluster.
    pub(crate) with_data: Vec<InstanceKey>,
    /// Machines that SSH does not reach, each with the reason.
    pub(crate) unreachable: BTreeMap<InstanceKey, String>,
    clocks: Clocks,
}

/// The clocks of the machines of a cluster that has data; none before.
type Clocks = BTreeMap<InstanceKey, ClockView>;

/// Looks whether every node carries the digest of this inventory and serves the certificates on its disk, the cluster is
/// healthy, Patroni's configuration is that of the file and no member waits for a restart.
pub(crate) async fn look(cluster: &Cluster, fleet: &Fleet, access: &Access, inventory: &Inventory) -> Seen {
    let (seen, certificates) = tokio::join!(health::observe(fleet, access), health::certificates(fleet, access));
    let health = health::diagnose(&cluster.plan, &seen);
    let unreachable = seen.iter().filter_map(|(key, view)| Some((key.clone(), view.ssh.as_ref().err()?.to_string())));
    let current = is_current(&seen, &health, inventory.digest()) && health::are_read(&certificates);
    let (with_data, clocks) = (health::with_data(&seen), clocks(&seen));
    Seen { current, certificates, with_data, unreachable: unreachable.collect(), leader: health.leader, clocks }
}

fn clocks(seen: &Observations) -> Clocks {
    if health::with_data(seen).is_empty() {
        return Clocks::new();
    }
    seen.iter().filter_map(|(key, view)| Some((key.clone(), view.clock?))).collect()
}

/// Checks that the certificates of a cluster that has data are valid by the clocks of its machines. A wrong clock of this
/// machine would give all of them certificates that no service accepts.
///
/// # Errors
/// With every machine for which that is not so.
pub(crate) fn check_dates(cluster: &Cluster, vault: &Vault, seen: &Seen) -> Result<()> {
    in_time(cluster, vault, &seen.clocks)
}

/// The same for a run that has not looked at the machines.
///
/// # Errors
/// The same, and when the run is interrupted.
pub(crate) async fn look_at_dates(
    context: &Context,
    cluster: &Cluster,
    vault: &Vault,
    fleet: &Fleet,
    access: &Access,
) -> Result<()> {
    let seen = async { Ok(health::observe(fleet, access).await) };
    let seen = context.interruptible("look at the machines of", cluster.name(), seen).await?;
    in_time(cluster, vault, &clocks(&seen))
}

fn in_time(cluster: &Cluster, vault: &Vault, clocks: &Clocks) -> Result<()> {
    let misdated = misdated(vault.node_leaves(), clocks, Timestamp::now());
    if misdated.is_empty() {
        return Ok(());
    }
    let error = Error::failed("clock-wrong", "install the certificates of", cluster.name());
    Err(misdated.into_iter().fold(error, Error::cause).hint(
        "Run `date` here and on these machines, and set the clock that is wrong; then run the same command again. The \
         machines keep the certificates that they have",
    ))
}

/// Certificates that are not valid yet, or no longer, by the clocks of their machines: one sentence for each machine.
fn misdated(leaves: &BTreeMap<InstanceKey, BTreeMap<String, Leaf>>, clocks: &Clocks, now: Timestamp) -> Vec<String> {
    let time = |ahead: f64| SignedDuration::try_from_secs_f64(ahead).ok().and_then(|ahead| now.checked_add(ahead).ok());
    let sentence = |(key, clock): (&InstanceKey, &ClockView)| {
        let [least, most] = [time(clock.least)?, time(clock.most)?];
        let certificates = leaves.get(key)?.iter();
        let mut wrong = certificates.filter_map(|(name, leaf)| Some((name, leaf.validity()?)));
        let (name, [from, until]) = wrong.find(|(_, [from, until])| most < *from || *until <= least)?;
        Some(format!(
            "{key}: its clock says {least:.0}, and the {name} certificate is valid from {from} to {until}, by the clock of this \
             machine, which says {now:.0}"
        ))
    };
    clocks.iter().filter_map(sentence).collect()
}

fn is_current(seen: &Observations, health: &Health, digest: &str) -> bool {
    let mut busy = seen.values().filter(|view| !view.roles.is_empty());
    let same = busy.all(|view| view.digest.as_deref() == Some(digest));
    let mut told = seen.values().filter_map(|view| view.patroni.as_ref()?.as_ref().ok());
    let waits = told.any(|view| view.itself.pending_restart);
    // Only the playbook takes back what `patronictl edit-config` has changed.
    let differs = health.notices.iter().any(|notice| notice.code == codes::CONFIGURATION_DIFFERS);
    same && !waits && !differs && health.is_healthy()
}

/// How the site playbook runs.
#[derive(Clone, Copy)]
pub(crate) struct PlayMode<'a> {
    pub(crate) mitogen: bool,
    pub(crate) check: bool,
    /// Whether the primary may restart.
    pub(crate) may_interrupt: bool,
    /// What a new cluster begins with in place of an empty one.
    pub(crate) origin: Option<&'a Origin>,
}

/// Runs the site playbook, and keeps what it changed.
pub(crate) async fn run_playbook(
    run: &RunContext,
    cluster: &Cluster,
    ansible: &AnsibleEnvironment,
    mode: PlayMode<'_>,
    leader: Option<&InstanceKey>,
) -> Result<Configured> {
    run.stage(Stage::Configure, async {
        let hosts = cluster.plan.nodes.values().filter(|node| !node.roles.is_empty()).count();
        let target = (cluster.dir().inventory(), hosts);
        let configured = play(&run.context, cluster, ansible, target, mode, leader).await?;
        run.keep("configured", &configured)?;
        let changed = configured.changed();
        Ok((configured, Some(format!("{changed} tasks changed something"))))
    })
    .await
}

/// Runs the site playbook on the machines of an inventory that was written, and on how many of them.
pub(crate) async fn play(
    context: &Context,
    cluster: &Cluster,
    ansible: &AnsibleEnvironment,
    (inventory, hosts): (PathBuf, usize),
    mode: PlayMode<'_>,
    leader: Option<&InstanceKey>,
) -> Result<Configured> {
    let scratch = prepare::scratch()?;
    // Not a variable of the inventory: the digest of the configuration does not depend on it.
    let consent = scratch.path().join("consent.json");
    let mut vars = serde_json::json!({"patroni_may_interrupt": mode.may_interrupt});
    if let (Some(origin), Some(vars)) = (mode.origin, vars.as_object_mut()) {
        vars.extend(origin.vars());
    }
    file::private(&consent)
        .and_then(|mut file| file.write_all(vars.to_string().as_bytes()))
        .map_err(|error| Error::failed("scratch", "write", consent.display()).source(&error))?;
    let playbook = Playbook {
        tree: prepare::tree(context, &cluster.assets)?,
        file: "patroni-cluster.yml".to_owned(),
        inventory,
        hosts,
        vars_files: vec![consent],
    };
    let settings = Settings {
        private_key: ssh_keys::identities(context, cluster).machine,
        // The inventory has them for every host.
        ssh_arguments: String::new(),
        mitogen: mode.mitogen,
        check: mode.check,
        scratch: scratch.path().to_owned(),
        forks: cluster.plan.nodes.len(),
    };
    let refused = |refused: &[Refusal]| parameters_refused(cluster, refused);
    let mut configured = ansible::run(context, ansible, &playbook, &settings, refused).await?;
    let leader = leader.map(InstanceKey::as_str);
    configured.changes.iter_mut().for_each(|change| change.mark(leader));
    Ok(configured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        component::{NodeView, Problem},
        model::{Role, Secret},
    };

    #[test]
    fn certificates_are_not_installed_on_machines_by_whose_clocks_they_are_not_valid() {
        let leaf = |from: (i32, u8, u8), until: (i32, u8, u8)| {
            let mut params = rcgen::CertificateParams::default();
            params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
            params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap().pem();
            BTreeMap::from([("patroni".to_owned(), Leaf { certificate, key: Secret::new(key.serialize_pem()) })])
        };
        let key: InstanceKey = "node1".parse().unwrap();
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let fresh = ((2026, 11, 29), (2028, 11, 27));
        let table = [
            (fresh, 0.0, None),
            // The clocks of fresh machines are often behind.
            (fresh, -86_400.0, None),
            // This machine is a year ahead of the other one, and then behind it.
            (fresh, -365.0 * 86_400.0, Some("2025-11-30T12:00:00Z")),
            (fresh, 800.0 * 86_400.0, Some("2029-02-07T12:00:00Z")),
        ];
        for ((from, until), ahead, expected) in table {
            let leaves = BTreeMap::from([(key.clone(), leaf(from, until))]);
            // An answer that takes its time says less.
            for slow in [0.0, 3.0] {
                let clocks = Clocks::from([(key.clone(), ClockView { least: ahead - slow, most: ahead })]);
                let found = misdated(&leaves, &clocks, now);
                assert_eq!(found.len(), usize::from(expected.is_some()), "{ahead}: {found:?}");
                assert!(slow > 0.0 || expected.is_none_or(|time| found[0].contains(time)), "{found:?}");
            }
            assert_eq!(misdated(&leaves, &Clocks::new(), now), [""; 0]);
        }
    }

    #[test]
    fn clocks_of_a_cluster_without_data_are_not_looked_at() {
        let clock = Some(ClockView { least: 0.0, most: 0.0 });
        let mut view = NodeView { clock, ..NodeView::new([Role::Patroni].into(), Ok(())) };
        let seen = |view: &NodeView| Observations::from([("node1".parse().unwrap(), view.clone())]);
        assert!(clocks(&seen(&view)).is_empty());
        view.checkpoint = Some((1, 1));
        assert_eq!(clocks(&seen(&view)).len(), 1);
    }

    #[test]
    fn playbook_is_skipped_unless_a_digest_or_patronis_configuration_differs() {
        let key: InstanceKey = "node1".parse().unwrap();
        let view = NodeView { digest: Some("ab12".to_owned()), ..NodeView::new([Role::Etcd].into(), Ok(())) };
        let seen = Observations::from([(key.clone(), view)]);
        let health = |notice: &str| {
            let (code, message) = (notice.to_owned(), "seen".to_owned());
            let notices = vec![Problem { code, node: None, message, hint: None }];
            Health { leader: Some(key.clone()), notices, ..Health::default() }
        };
        assert!(is_current(&seen, &health("copy-kept"), "ab12"));
        assert!(!is_current(&seen, &health("copy-kept"), "cd34"));
        assert!(!is_current(&seen, &health("configuration-differs"), "ab12"));
    }
}
