//! What one run leaves in the state for the next one elsewhere, and what a run takes from there.
//!
//! With a `backend`, or a module of the user's own that takes the record, Terraform's state is what all runners have in
//! common. It has the machines (output `vms`), and in the output `record` what hactl alone knows about them: which roles
//! they have, who votes in etcd, which place in the network is whose, and the host keys. That is no secret; it is sealed with
//! a key from the secrets file, so that nobody who can write the state can make hactl trust another machine. [`pull`] turns
//! it into the files that the last run would have left here, and everything after it works as if that run had been here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Cluster;
use crate::{
    context::{Context, RunContext},
    error::{Error, Result},
    event::Summary,
    file,
    fleet::{Fleet, FleetNode},
    model::{Account, Backend, Certificate, ClusterName, DatabaseName, InstanceKey, Passed, Platform, RootModule},
    plan::Node,
    secrets::{HostKeys, Vault},
    stage::{machines, software},
    terraform::{self, Outputs, Pulled},
};

/// The form of [`SharedRecord`] that this hactl writes, and the newest that it reads.
const VERSION: u32 = 1;

/// The state that runs elsewhere have in common with those here.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Backend(Backend),
    /// Where it is the module's own `backend` block says.
    Module(RootModule),
}

impl Place {
    /// What says where it is.
    const fn setting(&self) -> &'static str {
        match self {
            Self::Backend(_) => "`backend` in the file",
            Self::Module(_) => "`backend` in the module, and `workspace` in the file,",
        }
    }

    /// What opens it.
    fn credentials(&self) -> &'static str {
        match self {
            Self::Backend(backend) => backend.kind.credentials(),
            Self::Module(_) => "the module's backend and workspace",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(backend) => backend.fmt(f),
            Self::Module(RootModule { dir, workspace: Some(workspace), .. }) => {
                write!(f, "module {}, workspace {workspace}", dir.display())
            }
            Self::Module(RootModule { dir, .. }) => write!(f, "module {}", dir.display()),
        }
    }
}

impl Cluster {
    /// The state that runs elsewhere read, too; none where it is this machine's alone.
    pub(crate) fn place(&self) -> Option<Place> {
        match (&self.plan.backend, &self.plan.platform) {
            (Some(backend), _) => Some(Place::Backend(backend.clone())),
            (None, Platform::Terraform(module)) if module.pass.contains(&Passed::Record) => {
                Some(Place::Module(module.clone()))
            }
            _ => None,
        }
    }
}

/// What hactl keeps in the state beside the machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SharedRecord {
    version: u32,
    cluster: ClusterName,
    uuid: Uuid,
    /// What made the machines.
    platform: String,
    /// The machines as they were meant when they were made: roles, voters, slots.
    nodes: BTreeMap<InstanceKey, Node>,
    /// Owners of databases whose passwords the secrets file has.
    owners: BTreeSet<DatabaseName>,
    host_keys: HostKeys,
    /// Keys that the platform tells: they are in the state as well, but not sealed.
    told_keys: BTreeMap<InstanceKey, String>,
    /// What the platform calls the machines that have these keys: another one of the same name has another key.
    machine_ids: BTreeMap<InstanceKey, String>,
}

/// A [`SharedRecord`] as its writer wrote it, whatever else a reader's version knows, and its seal.
#[derive(Serialize, Deserialize)]
struct Sealed {
    record: String,
    seal: String,
}

impl SharedRecord {
    fn of(cluster: &Cluster, vault: &Vault, fleet: Option<&Fleet>) -> Self {
        let host_keys = vault.host_keys().known();
        let machines = || fleet.iter().flat_map(|fleet| fleet.nodes.values());
        let met = |node: &&FleetNode| node.ssh.host_key.is_some();
        let told = |node: &FleetNode| Some((node.key().clone(), node.ssh.host_key.clone()?));
        let told_keys = machines().filter_map(told).filter(|(key, _)| !host_keys.machines.contains_key(key)).collect();
        let machine_ids = machines().filter(met).filter_map(id).collect();
        Self {
            version: VERSION,
            cluster: cluster.name().clone(),
            uuid: vault.uuid(),
            platform: platform(&cluster.plan.platform),
            nodes: cluster.plan.nodes.clone(),
            owners: cluster.owners().into_iter().collect(),
            host_keys,
            told_keys,
            machine_ids,
        }
    }

    /// Gives the machines their host keys: those that are sealed here or in the secrets file, and not what else the state
    /// says. One that is another machine than then has none yet.
    fn tell(&self, vault: &Vault, fleet: &mut Fleet) {
        for node in fleet.nodes.values_mut() {
            node.ssh.host_key = None;
        }
        self.host_keys(vault).tell(fleet);
        for (key, node) in &mut fleet.nodes {
            if node.ssh.host_key.is_none() {
                node.ssh.host_key = self.told_keys.get(key).cloned();
            }
            let was = self.machine_ids.get(key);
            if was.is_some() && was != node.machine_id.as_ref() {
                node.ssh.host_key = None;
            }
        }
    }

    /// The host keys, with those before them that the secrets file here has.
    fn host_keys(&self, vault: &Vault) -> HostKeys {
        let mut known = self.host_keys.clone();
        known.prefer(vault.host_keys());
        known
    }
}

/// What is kept in the state about the machines that `vault` opens, as far as they are known.
pub(crate) fn record(cluster: &Cluster, vault: &Vault, fleet: Option<&Fleet>) -> String {
    let record = text(&SharedRecord::of(cluster, vault, fleet));
    let seal = vault.seal(&record);
    text(&Sealed { record, seal })
}

/// Names and numbers: that always goes.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn platform(platform: &Platform) -> String {
    match platform {
        Platform::Proxmox(proxmox) => format!("proxmox, kind {}", proxmox.kind),
        other => other.as_str().to_owned(),
    }
}

/// The cluster as the last run left it, wherever that was; as it is known here where its state is here.
///
/// # Errors
/// When the state cannot be read, is another cluster's, or lies on the cluster itself.
pub async fn pull(context: &Context, mut cluster: Cluster) -> Result<Cluster> {
    let Some(place) = cluster.place() else { return Ok(cluster) };
    let dir = context.dirs.cluster(cluster.name());
    if let Place::Backend(backend) = &place {
        on_no_machine(context, &cluster, backend, &Outputs::new()).await?;
    }
    let pulled = look_up(context, &cluster, &place).await?;
    if let (Place::Backend(backend), Some(outputs)) = (&place, &pulled.outputs) {
        on_no_machine(context, &cluster, backend, outputs).await?;
    }
    let Some(text) = pulled.record else {
        if pulled.settled && pulled.outputs.as_ref().is_some_and(Outputs::is_empty) {
            cluster.emptied = dir.fleet().exists();
        }
        return Ok(cluster);
    };
    let (record, sealed) = read(&text, &place)?;
    cluster.pulled = Some(text);
    let paths = cluster.secrets(&context.dirs);
    let mut vault = match paths.file.exists() {
        true => Some(Vault::open(context, cluster.name(), &paths).await?),
        false => None,
    };
    belongs(&record, &cluster, vault.as_ref(), &place)?;
    if let Some(vault) = &mut vault {
        is_sealed(&sealed, vault, &place)?;
        // Who needs a password that is not given now is told when it comes to that.
        let _ = cluster.take_given(context, vault).await;
    }
    file::private_dir(dir.path())
        .map_err(|error| Error::failed("record", "make", dir.path().display()).source(&error))?;
    cluster.choose(&record.nodes)?;
    cluster.note(&context.dirs)?;
    let Some(outputs) = pulled.outputs else { return Ok(cluster) };
    let mut fleet = Fleet::known(&cluster.plan, &record.nodes, &outputs);
    if let Some(vault) = vault {
        record.tell(&vault, &mut fleet);
        machines::keep_fleet(&dir.fleet(), &fleet)?;
        if secrets_fit(&record, &vault).is_ok() {
            software::client_files(context, &cluster, &vault, &fleet)?;
        }
        cluster.elsewhere = Some(record);
    } else {
        machines::keep_fleet(&dir.fleet(), &fleet)?;
    }
    Ok(cluster)
}

/// What the state tells.
async fn look_up(context: &Context, cluster: &Cluster, place: &Place) -> Result<Pulled> {
    let dir = context.dirs.cluster(cluster.name());
    match place {
        Place::Backend(_) => terraform::pull(context, &dir, &cluster.plan).await,
        Place::Module(module) => {
            let (_server, reattach) = machines::serve(context, &cluster.plan.platform).await?;
            terraform::pull_module(context, &dir, &cluster.plan, module, Some(reattach)).await
        }
    }
}

/// What a run that changes the cluster takes over from runs elsewhere, and must not undo: host keys that the secrets file
/// here does not have yet, and passwords.
///
/// # Errors
/// When the secrets file here is older than the cluster, or is not there at all.
pub(crate) fn take_over(cluster: &Cluster, vault: &mut Vault) -> Result<()> {
    take_host_keys(cluster, vault);
    cluster.elsewhere.as_ref().map_or(Ok(()), |record| secrets_fit(record, vault))
}

/// The same for whoever only takes away.
pub(crate) fn take_host_keys(cluster: &Cluster, vault: &mut Vault) {
    if let Some(record) = &cluster.elsewhere {
        vault.set_host_keys(record.host_keys(vault));
    }
}

/// What the platform called the machines when the last run, wherever it was, met them.
pub(crate) fn machine_ids(cluster: &Cluster, before: Option<&Fleet>) -> BTreeMap<InstanceKey, String> {
    match &cluster.elsewhere {
        Some(record) => record.machine_ids.clone(),
        None => before.into_iter().flat_map(|fleet| fleet.nodes.values()).filter_map(id).collect(),
    }
}

fn id(node: &FleetNode) -> Option<(InstanceKey, String)> {
    Some((node.key().clone(), node.machine_id.clone()?))
}

/// Sees that the state is still as it was when this run began, now that nobody else changes the cluster any more.
///
/// # Errors
/// When another run has changed it meanwhile.
pub(crate) async fn is_current(context: &Context, cluster: &Cluster) -> Result<()> {
    let (Some(place), Some(before)) = (cluster.place(), &cluster.pulled) else { return Ok(()) };
    if look_up(context, cluster, &place).await?.record.as_ref() == Some(before) {
        return Ok(());
    }
    let error = Error::failed("changed-meanwhile", "work with what is known of", cluster.name());
    Err(error.cause("another run has changed it since this one began").hint("run the same command again"))
}

/// Opens the secrets for a run that makes or changes machines, or makes them where there are none yet. Passwords of
/// databases' owners are among them from the start, so that a file that is committed then stays right.
///
/// # Errors
/// When they cannot be opened or made, or do not fit the cluster that there is.
pub(crate) async fn open(context: &Context, cluster: &Cluster) -> Result<Vault> {
    is_not_emptied(cluster)?;
    has_secrets(context, cluster)?;
    let paths = cluster.secrets(&context.dirs);
    let (accounts, certificates) = (Account::of_every_cluster(), Certificate::OF_EVERY_CLUSTER);
    let now = Timestamp::now();
    let mut vault = Vault::open_or_create(context, cluster.name(), &paths, &accounts, &certificates, now).await?;
    let unknown = cluster.elsewhere.is_none() && !context.dirs.cluster(cluster.name()).fleet().exists();
    if let Some(place) = cluster.place().filter(|_| unknown && !vault.node_leaves().is_empty()) {
        let message = format!("the secrets file knows machines of this cluster, and the state ({place}) knows none");
        let hint = "that is right after `hactl down`. When the cluster is there, its state is elsewhere: stop, and put back \
                    the `backend` that it was made with";
        context.events.warn("state-empty", message, Some(hint.to_owned())).await;
    }
    cluster.take_given(context, &mut vault).await?;
    take_over(cluster, &mut vault)?;
    if vault.ensure_passwords(&cluster.accounts())? {
        vault.save()?;
    }
    Ok(vault)
}

/// Sees that machines are not made a second time because their state is looked for in the wrong place.
///
/// # Errors
/// When the last run here left machines, and the state knows of none.
fn is_not_emptied(cluster: &Cluster) -> Result<()> {
    let Some(place) = cluster.place().filter(|_| cluster.emptied) else { return Ok(()) };
    let name = cluster.name();
    Err(Error::failed("state-empty", "find the machines of", name)
        .cause(format!("the last run here left some, and the state ({place}) knows of none"))
        .hint(format!(
            "if `hactl down` has run elsewhere, run `hactl down {name}` here, too: it forgets them. Otherwise the state is \
             elsewhere: are {} those that it was made with?",
            place.credentials()
        )))
}

/// Says when the secrets file is another one than before: runs elsewhere have the one that was committed.
pub(crate) async fn say_saved(context: &Context, cluster: &Cluster, vault: &Vault) {
    if cluster.place().is_some() && vault.was_saved() {
        let message = format!("{} has changed: commit it", cluster.secrets_file(&context.dirs).display());
        let hint =
            "a run elsewhere that has the former one signs its certificates anew, and sets them up on every machine";
        context.events.warn("secrets-changed", message, Some(hint.to_owned())).await;
    }
}

/// Sees that no secrets are made anew for machines that there are.
///
/// # Errors
/// When the state knows of machines, and their secrets are not here.
fn has_secrets(context: &Context, cluster: &Cluster) -> Result<()> {
    let file = cluster.secrets_file(&context.dirs);
    let Some(place) = cluster.place().filter(|_| !file.exists()) else { return Ok(()) };
    if !context.dirs.cluster(cluster.name()).fleet().exists() {
        return Ok(());
    }
    Err(Error::missing("secrets-missing", "open the secrets file", file.display())
        .cause(format!("it does not exist, and the state ({place}) knows of machines that were made with it"))
        .hint("commit it where the cluster was made, and get it from there; without it nobody gets into the machines"))
}

fn secrets_fit(record: &SharedRecord, vault: &Vault) -> Result<()> {
    let have = vault.passwords();
    let missing: Vec<&str> = record
        .owners
        .iter()
        .filter(|owner| !have.contains_key(&Account::Owner((*owner).clone())))
        .map(DatabaseName::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::failed("secrets-behind", "use the secrets file of", vault.cluster())
        .cause(format!("it is older than the cluster: the password of {} is not in it", missing.join(", ")))
        .hint("get the file of the run that made the database; it should have been committed. Here another password would be set"))
}

fn read(text: &str, place: &Place) -> Result<(SharedRecord, Sealed)> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let failed = || Error::failed("shared-record", "read what runs elsewhere left in the state", place);
    let sealed: Sealed = serde_json::from_str(text).map_err(|error| failed().source(&error))?;
    let parsed: Version = serde_json::from_str(&sealed.record).map_err(|error| failed().source(&error))?;
    if parsed.version > VERSION {
        return Err(failed().cause("a newer hactl wrote it").hint("install the newer hactl"));
    }
    let record = serde_json::from_str(&sealed.record).map_err(|error| failed().source(&error))?;
    Ok((record, sealed))
}

/// Sees that what is to be trusted was written by somebody who can open the secrets.
fn is_sealed(sealed: &Sealed, vault: &Vault, place: &Place) -> Result<()> {
    if vault.seal(&sealed.record) == sealed.seal {
        return Ok(());
    }
    Err(Error::failed("shared-record", "trust what runs elsewhere left in the state", place)
        .cause("it was not written with the secrets of this cluster: somebody else has changed it")
        .hint(
            "whoever can write the state did that. Put back an older version of the state, then run the command again",
        ))
}

/// `hactl terraform force-unlock`: a lock of the state that a dead run left.
///
/// # Errors
/// When there is no such lock, or the backend does not answer.
pub async fn force_unlock(run: &RunContext, cluster: &Cluster, id: &str) -> Result<Summary> {
    let context = &run.context;
    terraform::force_unlock(context, &context.dirs.cluster(cluster.name()), &cluster.plan, id).await?;
    let name = cluster.name();
    Ok(Summary {
        ok: true,
        command: "terraform".to_owned(),
        cluster: name.to_string(),
        message: format!("{name}: the state is not locked any more."),
        next: vec![format!("hactl up {name}")],
        stages: run.times(),
        changed: true,
        ..Summary::default()
    })
}

/// Sees that the state is that of this cluster.
fn belongs(record: &SharedRecord, cluster: &Cluster, vault: Option<&Vault>, place: &Place) -> Result<()> {
    let name = cluster.name();
    let foreign = |cause: String| {
        Error::failed("state-of-another", "use the state", place).cause(cause).hint(format!(
            "each cluster needs a place of its own: see {} of {name}; what belongs to another cluster is only changed from \
             there",
            place.setting()
        ))
    };
    if record.cluster != *name {
        return Err(foreign(format!("it is that of cluster {}, not of {name}", record.cluster)));
    }
    let meant = platform(&cluster.plan.platform);
    if record.platform != meant {
        return Err(Error::usage("platform-changed", "change the platform of", name)
            .cause(format!("it was made on platform {}, and its file now means {meant}", record.platform))
            .hint(format!(
                "give the file its former platform back; `hactl down {name}` then removes the machines, with their data"
            )));
    }
    let Some(vault) = vault else { return Ok(()) };
    if record.uuid != vault.uuid() {
        let (theirs, ours) = (record.uuid, vault.uuid());
        return Err(foreign(format!("its machines carry the UUID {theirs}, and the secrets file here is of {ours}")));
    }
    Ok(())
}

/// A state on the cluster itself would be gone with it, and could not say how to get it back.
async fn on_no_machine(context: &Context, cluster: &Cluster, backend: &Backend, outputs: &Outputs) -> Result<()> {
    let hosts = backend.hosts(&context.env);
    let names = cluster.plan.nodes.values().map(|node| node.hostname.to_string());
    let dns = cluster.plan.dns.iter();
    let full = dns.flat_map(|dns| cluster.plan.nodes.values().map(|node| dns.fqdn(node.hostname.as_str())));
    let names: BTreeSet<String> = names.chain(full.map(|name| name.trim_end_matches('.').to_owned())).collect();
    let addresses: BTreeMap<IpAddr, &InstanceKey> =
        outputs.iter().filter_map(|(key, machine)| Some((IpAddr::V4(machine.ipv4?), key))).collect();
    for host in hosts {
        let named = names.contains(&host.to_ascii_lowercase());
        // One that has no address is no machine of ours.
        let found = tokio::net::lookup_host((host.as_str(), 0)).await;
        let same = found.into_iter().flatten().find(|found| addresses.contains_key(&found.ip()));
        let own = same.map(|found| format!("{host} is {}", addresses[&found.ip()]));
        if let Some(cause) = own.or_else(|| named.then(|| format!("{host} is the name of one of its machines"))) {
            return Err(Error::usage("backend-on-cluster", "keep the state of", cluster.name())
                .cause(format!("{cause}: the state would lie on the cluster itself, and be gone with it"))
                .hint("keep it on a server that is none of the cluster's machines"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{context::Dirs, event::Events};

    const THREE: &str = "instances: {b: {}, c: {}, d: {}}\n";

    /// A directory with the file of cluster `pg`, and its secrets.
    struct Desk {
        dir: tempfile::TempDir,
        context: Context,
    }

    impl Desk {
        fn new(text: &str) -> Self {
            Self::of(&format!("backend: pg\n{text}"))
        }

        fn of(text: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let env = BTreeMap::new();
            let dirs = Dirs::new(dir.path(), &env);
            let context = Context { dirs, env, events: Events::channel().0, stop: Default::default() };
            let desk = Self { dir, context };
            desk.write(text);
            desk
        }

        fn write(&self, text: &str) {
            fs::write(self.dir.path().join("pg.yaml"), text).unwrap();
        }

        fn cluster(&self) -> Cluster {
            Cluster::open("pg", &self.context.dirs).unwrap()
        }

        async fn vault(&self) -> Vault {
            open(&self.context, &self.cluster()).await.unwrap()
        }

        fn place(&self) -> Place {
            self.cluster().place().unwrap()
        }
    }

    fn outputs(keys: &[&str]) -> Outputs {
        let machine = |key: &str| {
            serde_json::from_value(serde_json::json!({"id": key, "name": key, "ipv4": "10.89.0.10"})).unwrap()
        };
        keys.iter().map(|key| (key.parse().unwrap(), machine(key))).collect()
    }

    #[tokio::test]
    async fn a_choice_made_elsewhere_sticks_and_machines_are_known_as_they_were_made() {
        let desk = Desk::new(THREE);
        let text = record(&desk.cluster(), &desk.vault().await, None);
        let (left, sealed) = read(&text, &desk.place()).unwrap();
        is_sealed(&sealed, &desk.vault().await, &desk.place()).unwrap();

        // Four data nodes, and the first by name would be picked.
        desk.write("backend: pg\ninstances: {a: {}, b: {}, c: {}, d: {}}\n");
        let mut cluster = desk.cluster();
        assert!(cluster.plan.nodes["a".parse::<InstanceKey>().as_ref().unwrap()].is_voter());
        cluster.choose(&left.nodes).unwrap();
        let voters: Vec<&str> =
            cluster.plan.nodes.values().filter(|node| node.is_voter()).map(|node| node.key.as_str()).collect();
        assert_eq!(voters, ["b", "c", "d"]);
        let slots: Vec<u8> = cluster.plan.nodes.values().map(|node| node.slot).collect();
        assert_eq!(slots, [13, 10, 11, 12], "the new one gets a new place");

        let fleet = Fleet::known(&cluster.plan, &left.nodes, &outputs(&["b", "c"]));
        assert_eq!(fleet.nodes.keys().map(InstanceKey::as_str).collect::<Vec<_>>(), ["b", "c"]);
        assert!(fleet.nodes.values().all(|node| node.node.is_voter()));
    }

    #[tokio::test]
    async fn a_host_key_is_trusted_as_it_was_sealed_and_of_that_machine_alone() {
        let file = "platform: {terraform: {dir: infra, pass: [record]}}\n";
        let desk = Desk::of(&format!("{file}{THREE}"));
        let (cluster, mut vault) = (desk.cluster(), desk.vault().await);
        let mut outputs = outputs(&["b", "c", "d"]);
        let known = |outputs: &Outputs| Fleet::known(&cluster.plan, &cluster.plan.nodes, outputs);
        let mut fleet = known(&outputs);
        for (key, node) in &mut fleet.nodes {
            node.ssh.host_key = Some(format!("ssh-ed25519 {key}"));
        }
        let pinned = HostKeys {
            machines: BTreeMap::from([("b".parse().unwrap(), "ssh-ed25519 b".to_owned())]),
            ..HostKeys::default()
        };
        vault.set_host_keys(pinned);
        let record = SharedRecord::of(&cluster, &vault, Some(&fleet));

        // Whoever can write the state says other keys, and d was made anew.
        for machine in outputs.values_mut() {
            machine.host_key = Some("ssh-ed25519 other".to_owned());
        }
        outputs.get_mut(&"d".parse().unwrap()).unwrap().id = "another".to_owned();
        let mut fleet = known(&outputs);
        record.tell(&vault, &mut fleet);
        let told: Vec<_> = fleet.nodes.values().map(|node| node.ssh.host_key.as_deref()).collect();
        assert_eq!(told, [Some("ssh-ed25519 b"), Some("ssh-ed25519 c"), None]);
    }

    #[tokio::test]
    async fn the_state_of_another_cluster_is_left_alone() {
        let (desk, other) = (Desk::new(THREE), Desk::new(THREE));
        let (vault, foreign) = (desk.vault().await, other.vault().await);
        let code = |record: &SharedRecord, vault| {
            belongs(record, &desk.cluster(), vault, &desk.place()).err().map(|error| error.code)
        };
        let own = SharedRecord::of(&desk.cluster(), &vault, None);
        assert_eq!(code(&own, Some(&vault)), None);
        assert_eq!(code(&own, None), None);
        assert_eq!(code(&SharedRecord::of(&desk.cluster(), &foreign, None), Some(&vault)), Some("state-of-another"));
        let renamed = SharedRecord { cluster: "pg2".parse().unwrap(), ..own.clone() };
        assert_eq!(code(&renamed, None), Some("state-of-another"));
        let moved = SharedRecord { platform: "proxmox, kind vm".to_owned(), ..own };
        assert_eq!(code(&moved, Some(&vault)), Some("platform-changed"));
    }

    #[tokio::test]
    async fn what_was_not_sealed_with_the_secrets_is_not_trusted() {
        let desk = Desk::new(THREE);
        let vault = desk.vault().await;
        let forged = record(&desk.cluster(), &vault, None).replace("pg-prod-b", "pg-prod-x");
        let (_, sealed) = read(&forged, &desk.place()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(is_sealed(&sealed, &vault, &desk.place()).unwrap_err().code, "shared-record");
        let newer = text(&Sealed { record: r#"{"version":2}"#.to_owned(), seal: String::new() });
        assert!(read(&newer, &desk.place()).is_err_and(|error| error.to_string().contains("newer hactl")));
    }

    #[tokio::test]
    async fn a_password_that_is_in_use_is_not_made_anew() {
        let desk = Desk::new(THREE);
        let mut vault = desk.vault().await;
        let mut cluster = desk.cluster();
        cluster.elsewhere = Some(SharedRecord::of(&cluster, &vault, None));
        take_over(&cluster, &mut vault).unwrap();
        // A run elsewhere has made one more database.
        let left = cluster.elsewhere.as_mut().unwrap();
        left.owners.insert("shop".parse().unwrap());
        let error = take_over(&cluster, &mut vault).unwrap_err();
        assert_eq!((error.code, error.to_string().contains("the password of shop")), ("secrets-behind", true));
    }

    #[tokio::test]
    async fn secrets_of_machines_that_there_are_are_not_made_anew() {
        let desk = Desk::new(THREE);
        assert!(has_secrets(&desk.context, &desk.cluster()).is_ok(), "there are no machines");
        let path = desk.context.dirs.cluster(desk.cluster().name()).fleet();
        fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        fs::write(&path, "{}").unwrap();
        assert_eq!(has_secrets(&desk.context, &desk.cluster()).unwrap_err().code, "secrets-missing");
        assert!(!desk.cluster().secrets_file(&desk.context.dirs).exists());
    }

    #[tokio::test]
    async fn a_backend_that_a_name_leads_back_to_the_cluster_is_refused() {
        let desk = Desk::new("instances: {b: {}}\n");
        let on = async |host: &str, address: &str| {
            let settings = serde_json::json!({"conn_str": format!("postgres://tf@{host}/x"), "schema_name": "s"});
            let backend =
                Backend { settings: settings.as_object().unwrap().clone(), ..desk.cluster().plan.backend.unwrap() };
            let mut outputs = outputs(&["b"]);
            outputs.values_mut().for_each(|machine| machine.ipv4 = Some(address.parse().unwrap()));
            on_no_machine(&desk.context, &desk.cluster(), &backend, &outputs).await.err().map(|error| error.code)
        };
        assert_eq!(on("192.0.2.1", "192.0.2.2").await, None);
        assert_eq!(on("192.0.2.1", "192.0.2.1").await, Some("backend-on-cluster"));
        assert_eq!(on("PG-prod-b", "192.0.2.1").await, Some("backend-on-cluster"));
        assert_eq!(on("localhost", "127.0.0.1").await, Some("backend-on-cluster"));
    }
}
