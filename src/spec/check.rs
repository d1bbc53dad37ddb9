//! The file's parts together -> Spec, with every problem of meaning that the schema cannot see.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ipnet::{IpNet, Ipv4Net};

use super::{
    Instance, PatroniSpec, PostgresSpec, SecretCommand, Spec, backend,
    checker::Checker,
    file::{
        ClusterFile, DefaultsFile, DnsFile, InstanceFile, LocalFile, PROXMOX_FIELDS, PatroniFile, PlatformFile,
        PostgresFile, SecretsFile, TimersFile, VerifyFile,
    },
    hosts,
    problem::Collector,
    proxmox, settings,
    yaml::YamlNode,
};
use crate::{
    assets,
    model::{
        ACCOUNTS, Account, ClusterName, DEFAULT_DRILLS, DEFAULT_DRILLS_BY_SSH, DEFAULT_PORT, DEFAULT_TTL, DatabaseName,
        Distribution, Dns, DnsServer, DomainName, Durability, EtcdSource, EtcdVersion, HostName, InstanceKey, Local,
        Platform, PostgresMajor, Role, Timers, nearest, version::PATRONI_NEWEST,
    },
};

const DEFAULT_IMAGE: &str = "debian:12";
/// Enough for etcd, Patroni and a small PostgreSQL, and three of them fit a laptop.
const DEFAULT_MEMORY_MIB: u32 = 1024;
/// A machine with a kernel of its own.
const DEFAULT_MEMORY_PROXMOX_MIB: u32 = 2048;
const DEFAULT_CORES: u32 = 2;
/// Addresses are given from .10 up to .254 of the local network.
const FIRST_ADDRESS: u32 = 10;
const LAST_ADDRESS: u32 = 254;
/// Groups of the inventory, those of later roles included, and the host that Ansible has by itself.
const RESERVED_KEYS: [&str; 9] =
    ["all", "ungrouped", "localhost", "etcd", "patroni", "haproxy", "pgbouncer", "pgbackrest", "monitoring"];
const MOST_VOTERS: usize = 7;

/// Checks what `file` means. `countable` is false when instances were taken out of it, so that counts
/// of nodes would mislead.
pub(super) fn check(
    file: ClusterFile,
    root: &YamlNode,
    fallback: &str,
    countable: bool,
    problems: &mut Collector<'_>,
) -> Option<Spec> {
    let mut checker = Checker::new(root, problems);
    let name = name(&mut checker, file.name, fallback);
    let app = match file.app {
        Some(app) => Some(app),
        None => name.as_ref().and_then(|name| HostName::new(name.as_str()).ok()),
    };
    let env = file.env.or_else(|| HostName::new("prod").ok());
    let written = file.platform.unwrap_or_default();
    if file.target_ip.is_some() && written.proxmox.is_none() {
        checker.say(&["target_ip"], "only on platform proxmox: elsewhere machines are those of `instances`");
    }
    if countable && file.instances.is_none() && file.target_ip.is_none() {
        checker.say(&[], "`instances` is missing, for example `instances: {node1: {}, node2: {}, node3: {}}`");
    }
    let names = app.as_ref().zip(env.as_ref());
    let (machines, single) =
        proxmox::machines(&mut checker, file.instances, file.target_ip, file.hostname_suffix, names);
    if countable {
        count(&mut checker, machines.len(), file.max_instances);
    }
    let adopted = file.adopted.unwrap_or_default();
    let defaults = file.defaults.unwrap_or_default();
    let platform = platform(&mut checker, written, adopted, &defaults, &machines, single);
    if let Some(platform) = &platform {
        only_there(&mut checker, platform, &machines);
        if platform.is_adopted() {
            found_there(&mut checker, machines.keys());
        }
    }
    let platform = platform?;
    let instances = match (&app, &env) {
        (Some(app), Some(env)) => {
            let memory_mib = match platform {
                Platform::Proxmox(_) => DEFAULT_MEMORY_PROXMOX_MIB,
                _ => DEFAULT_MEMORY_MIB,
            };
            instances(&mut checker, machines, &defaults, memory_mib, &format!("{app}-{env}"))
        }
        _ => BTreeMap::new(),
    };
    let data_nodes = instances.values().filter(|instance| instance.is_data_node()).count();
    // An adopted cluster is as it is: what it has is found out there.
    let countable = countable && !platform.is_adopted();
    if countable {
        voters(&mut checker, &instances, data_nodes);
    }
    if file.dns.is_some() && matches!(platform, Platform::Terraform(_)) {
        let message = "not on platform terraform: records belong into the module that makes the machines; hactl's \
                       resource hactl_dns_record_set is there for it";
        checker.say(&["dns"], message);
    }
    let dns = file.dns.and_then(|written| dns(&mut checker, written, &instances));
    let backend = file.backend.zip(name.as_ref());
    let site = backend::Site { platform: &platform, instances: &instances, dns: dns.as_ref() };
    let backend = backend.and_then(|(written, name)| backend::backend(&mut checker, written, name, &site));
    let patroni = patroni(&mut checker, file.patroni.unwrap_or_default(), countable.then_some(data_nodes));
    let etcd_file = file.etcd.unwrap_or_default();
    let etcd_source = etcd_source(&mut checker, etcd_file.archive, etcd_file.sha256, etcd_file.mirror);
    let etcd = etcd(&mut checker, etcd_file.version);
    let postgres = postgres(&mut checker, file.postgres.unwrap_or_default(), patroni.durability);
    patroni_knows(&mut checker, &patroni.version, postgres.major);
    let secrets = secrets(&mut checker, file.secrets.unwrap_or_default(), &postgres.databases);
    let assets = file.assets.map(|dir| assets(&mut checker, &dir));
    let drills = drills(&mut checker, file.verify.unwrap_or_default(), &platform);
    let disposable = file.disposable.unwrap_or(matches!(platform, Platform::Local(_)));
    Some(Spec {
        name: name?,
        app: app?,
        env: env?,
        platform,
        instances,
        backend,
        dns,
        etcd: etcd?,
        etcd_source,
        postgres,
        patroni,
        secrets,
        assets,
        drills,
        disposable,
    })
}

fn name(checker: &mut Checker<'_, '_>, given: Option<ClusterName>, fallback: &str) -> Option<ClusterName> {
    given.or_else(|| match ClusterName::new(fallback) {
        Ok(name) => Some(name),
        Err(error) => {
            checker.say(&["name"], format!("`name` is missing, and the file's name does not do: {error}"));
            None
        }
    })
}

fn count(checker: &mut Checker<'_, '_>, instances: usize, most: u32) {
    if instances > most as usize {
        let message =
            format!("{instances} instances: more than max_instances, which is {most}; raise it if that is meant");
        checker.say(&["instances"], message);
    }
}

fn platform(
    checker: &mut Checker<'_, '_>,
    written: PlatformFile,
    adopted: bool,
    defaults: &DefaultsFile,
    instances: &BTreeMap<InstanceKey, Option<InstanceFile>>,
    single: bool,
) -> Option<Platform> {
    let given = [
        ("local", written.local.is_some()),
        ("proxmox", written.proxmox.is_some()),
        ("hosts", written.hosts.is_some()),
        ("terraform", written.terraform.is_some()),
    ];
    let given: Vec<&str> = given.into_iter().filter_map(|(name, given)| given.then_some(name)).collect();
    if given.len() > 1 {
        let message = format!("exactly one platform, and there are {}: {}", given.len(), given.join(" and "));
        checker.say(&["platform"], message);
    }
    if adopted && written.hosts.is_none() {
        checker.say(&["adopted"], "needs `platform: hosts`: an adopted cluster runs on machines that exist");
    }
    match written {
        PlatformFile { hosts: Some(written), .. } if adopted => {
            Some(Platform::Adopted(hosts::adopted(checker, written, instances)))
        }
        PlatformFile { hosts: Some(written), .. } => Some(Platform::Hosts(hosts::hosts(checker, written, instances))),
        PlatformFile { terraform: Some(written), .. } => hosts::root_module(checker, written).map(Platform::Terraform),
        PlatformFile { proxmox: Some(written), .. } => {
            proxmox::proxmox(checker, written, defaults, instances, single).map(Platform::Proxmox)
        }
        PlatformFile { local, .. } => {
            Some(Platform::Local(self::local(checker, local.unwrap_or_default(), instances.len())))
        }
    }
}

/// What a file may say of its machines only on other platforms.
fn only_there(
    checker: &mut Checker<'_, '_>,
    platform: &Platform,
    instances: &BTreeMap<InstanceKey, Option<InstanceFile>>,
) {
    let foreign: Vec<(&str, &str)> = match platform {
        Platform::Local(_) => [("address", "only on platforms hosts and proxmox: a local node is given its address")]
            .into_iter()
            .chain(["ssh_host", "ssh_port"].map(|field| (field, "only on platform hosts")))
            .chain(PROXMOX_FIELDS.map(|field| (field, "only on platform proxmox")))
            .collect(),
        Platform::Proxmox(_) => ["ssh_host", "ssh_port"].map(|field| (field, "only on platform hosts")).to_vec(),
        Platform::Hosts(_) => PROXMOX_FIELDS
            .map(|field| (field, "only on platform proxmox"))
            .into_iter()
            .chain([("disk_gb", "not on platform hosts: PGDATA lies on the disk that the machine has")])
            .collect(),
        Platform::Adopted(_) => PROXMOX_FIELDS.map(|field| (field, "only on platform proxmox")).to_vec(),
        Platform::Terraform(_) => ["address", "ssh_host", "ssh_port"]
            .map(|field| (field, "not on platform terraform: the module's output `vms` tells it"))
            .into_iter()
            .chain(PROXMOX_FIELDS.map(|field| (field, "only on platform proxmox")))
            .chain([("disk_gb", "not on platform terraform: the module makes the machine with its disks")])
            .collect(),
    };
    for (field, message) in foreign {
        let owners = instances.keys().map(|key| vec!["instances", key.as_str(), field]);
        for path in owners.chain([vec!["defaults", field]]) {
            if checker.has(&path) {
                checker.say(&path, message);
            }
        }
    }
}

/// What a file may not say of a cluster that is as it is.
fn found_there<'a>(checker: &mut Checker<'_, '_>, instances: impl Iterator<Item = &'a InstanceKey>) {
    let sections = ["app", "env", "defaults", "dns", "etcd", "postgres", "patroni", "assets"].map(|field| vec![field]);
    let accounts: Vec<String> =
        ACCOUNTS.iter().filter(|known| !known.adopted).map(|known| known.account.to_string()).collect();
    let secrets = accounts.iter().map(String::as_str).chain(["owners"]).map(|field| vec!["secrets", field]);
    let machines =
        instances.flat_map(|key| ["vm_name", "memory", "cores", "disk_gb"].map(|f| vec!["instances", key.as_str(), f]));
    for path in sections.into_iter().chain(secrets).chain(machines) {
        if checker.has(&path) {
            checker.say(&path, "not of an adopted cluster: hactl reads it there, and changes nothing");
        }
    }
}

fn local(checker: &mut Checker<'_, '_>, local: LocalFile, instances: usize) -> Local {
    let base_image = local.image.unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
    let release = base_image.parse::<Distribution>().unwrap_or_else(|message| {
        checker.say(&["platform", "local", "image"], message);
        Distribution::Debian12
    });
    let addresses = LAST_ADDRESS - FIRST_ADDRESS + 1;
    if instances > addresses as usize {
        checker.say(&["instances"], format!("{instances} instances: a local network has addresses for {addresses}"));
    }
    let subnet = local.subnet.and_then(|text| subnet(checker, &text, instances));
    Local { base_image, release, subnet }
}

fn subnet(checker: &mut Checker<'_, '_>, text: &str, instances: usize) -> Option<Ipv4Net> {
    let path = ["platform", "local", "subnet"];
    let Ok(net) = text.parse::<Ipv4Net>() else {
        checker.say(&path, format!("`{text}` is not an IPv4 network in CIDR notation, such as 10.89.7.0/24"));
        return None;
    };
    if net.addr() != net.network() {
        checker.meant(&path, format!("`{text}` is an address within a network"), Some(net.trunc().to_string()));
        return None;
    }
    let first = net.network();
    if first.is_loopback()
        || first.is_link_local()
        || first.is_multicast()
        || first.octets()[0] == 0
        || first.octets()[0] >= 240
    {
        checker.say(&path, format!("{net} cannot be the network of machines; take one of 10.0.0.0/8"));
        return None;
    }
    // Addresses from .10 up, below the broadcast address.
    let needed = u64::from(FIRST_ADDRESS) + instances as u64;
    let size = 1_u64 << (32 - u32::from(net.prefix_len()));
    if net.prefix_len() < 8 || size < needed + 1 {
        let message =
            format!("{net} does not fit: nodes get addresses from the tenth up, {instances} of them; take a /24");
        checker.say(&path, message);
        return None;
    }
    Some(net)
}

fn instances(
    checker: &mut Checker<'_, '_>,
    written: BTreeMap<InstanceKey, Option<InstanceFile>>,
    defaults: &DefaultsFile,
    default_memory_mib: u32,
    prefix: &str,
) -> BTreeMap<InstanceKey, Instance> {
    let default_roles = defaults.roles.as_ref().map(|roles| self::roles(checker, &["defaults", "roles"], roles));
    let mut owners: BTreeMap<String, InstanceKey> = BTreeMap::new();
    let mut instances = BTreeMap::new();
    for (key, instance) in written {
        let instance = instance.unwrap_or_default();
        let at = ["instances", key.as_str()];
        let hostname = match instance.vm_name {
            Some(name) => name,
            None => match HostName::new(format!("{prefix}-{key}")) {
                Ok(name) => name,
                Err(error) => {
                    checker.say(&at, format!("{error}; give a shorter `app`, or `vm_name` here"));
                    continue;
                }
            },
        };
        if hostname.as_str() == "localhost" {
            checker.say(&["instances", key.as_str(), "vm_name"], "`localhost` is every machine's own name");
        }
        if let Some(other) = owners.insert(hostname.to_string(), key.clone()) {
            let message = format!("host name `{hostname}` is also that of instance {other}");
            checker.say(&["instances", key.as_str(), "vm_name"], message);
        }
        if RESERVED_KEYS.contains(&key.as_str()) {
            let message = format!("`{key}` is a word of the inventory: an instance cannot have it");
            checker.say(&at, message);
        }
        let roles = match instance.roles {
            Some(roles) => Some(self::roles(checker, &["instances", key.as_str(), "roles"], &roles)),
            None => default_roles.clone(),
        };
        let memory_mib = instance.memory.or(defaults.memory).unwrap_or(default_memory_mib);
        let cores = instance.cores.or(defaults.cores).unwrap_or(DEFAULT_CORES);
        let disk_gb = instance.disk_gb.or(defaults.disk_gb);
        instances.insert(key, Instance { hostname, memory_mib, cores, disk_gb, roles });
    }
    instances
}

fn roles(checker: &mut Checker<'_, '_>, path: &[&str], written: &[Role]) -> BTreeSet<Role> {
    let set: BTreeSet<Role> = written.iter().copied().collect();
    if set.len() != written.len() {
        checker.say(path, "a role is given twice");
    }
    set
}

/// The zone, and whether every machine's name fits into it. What is missing was said by the schema.
fn dns(checker: &mut Checker<'_, '_>, written: DnsFile, instances: &BTreeMap<InstanceKey, Instance>) -> Option<Dns> {
    let longest = instances.values().map(|instance| instance.hostname.as_str()).max_by_key(|name| name.len());
    if let (Some(zone), Some(longest)) = (&written.zone, longest)
        && DomainName::new(format!("{longest}.{zone}")).is_err()
    {
        checker.say(&["dns", "zone"], format!("`{longest}.{zone}` is longer than the 253 characters of a domain name"));
    }
    let server = written.server.and_then(|text| match DnsServer::new(text) {
        Ok(server) => Some(server),
        Err(error) => {
            let split = error.text.rsplit_once(':').map(|(host, port)| (host.trim_matches(['[', ']']), port));
            let meant = split.filter(|(host, port)| DnsServer::new(*host).is_ok() && port.parse::<u16>().is_ok());
            let message = format!("`{}` is not valid: expected {}", error.text, error.rule);
            checker.meant(
                &["dns", "server"],
                message,
                meant.map(|(host, port)| format!("server: {host}, port: {port}")),
            );
            None
        }
    });
    Some(Dns {
        zone: written.zone?,
        server: server?,
        port: written.port.unwrap_or(DEFAULT_PORT),
        ttl: written.ttl.unwrap_or(DEFAULT_TTL),
        key_name: written.key_name?,
        key_algorithm: written.key_algorithm.unwrap_or_default(),
    })
}

/// Rules about voters that hold whatever the plan picks.
fn voters(checker: &mut Checker<'_, '_>, instances: &BTreeMap<InstanceKey, Instance>, data_nodes: usize) {
    let given = instances.values().filter(|i| i.roles.as_ref().is_some_and(Role::votes)).count();
    let free = instances.values().filter(|i| i.roles.is_none()).count();
    if given > MOST_VOTERS {
        let message =
            format!("{given} instances have role etcd: more than {MOST_VOTERS} voters make etcd slower, not safer");
        checker.say(&["instances"], message);
    }
    if data_nodes > 0 && given == 0 && free == 0 {
        let message = "every instance has `roles`, and none has etcd: Patroni needs at least one voter";
        checker.say(&["instances"], message);
    }
}

fn patroni(checker: &mut Checker<'_, '_>, written: PatroniFile, data_nodes: Option<usize>) -> PatroniSpec {
    let timers = timers(checker, &written.timers.unwrap_or_default());
    let default = Durability::default_for(data_nodes.unwrap_or(0));
    if let (Some(durability), Some(nodes @ 1..)) = (written.durability, data_nodes)
        && nodes < durability.least_data_nodes()
    {
        let message =
            format!("`{durability}` needs a commit on two nodes, and there is one data node: every write would wait");
        checker.meant(&["patroni", "durability"], message, Some(Durability::Async.to_string()));
    }
    PatroniSpec {
        version: written.version.unwrap_or_else(|| PATRONI_NEWEST.to_owned()),
        durability: written.durability.unwrap_or(default),
        timers,
    }
}

/// Patroni before 4.0.7 does not know PostgreSQL 18.
fn patroni_knows(checker: &mut Checker<'_, '_>, version: &str, major: PostgresMajor) {
    const OLDEST: [u32; 3] = [4, 0, 7];
    let parts: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    if major.number() >= 18 && parts.as_slice() < OLDEST.as_slice() {
        let message = format!("Patroni {version} does not know PostgreSQL {major}: 4.0.7 is the oldest that does");
        checker.meant(&["patroni", "version"], message, Some(PATRONI_NEWEST.to_owned()));
    }
}

fn timers(checker: &mut Checker<'_, '_>, written: &TimersFile) -> Timers {
    let timers = Timers {
        ttl: written.ttl.unwrap_or(20),
        loop_wait: written.loop_wait.unwrap_or(3),
        retry_timeout: written.retry_timeout.unwrap_or(7),
        primary_start_timeout: written.primary_start_timeout.unwrap_or(30),
        primary_stop_timeout: written.primary_stop_timeout.unwrap_or(15),
    };
    let Timers { ttl, loop_wait, retry_timeout, .. } = timers;
    let needed = loop_wait + 2 * retry_timeout;
    if needed > ttl {
        // Patroni would shorten them by itself, and /config would still show what was written.
        let message = format!(
            "loop_wait {loop_wait} + 2 * retry_timeout {retry_timeout} = {needed} is more than ttl {ttl}: \
             a primary would lose its key while it still tries to renew it"
        );
        checker.meant(&["patroni", "timers"], message, Some(format!("ttl: {needed}")));
    }
    timers
}

/// The commands that give passwords; every owner among them owns a database.
fn secrets(
    checker: &mut Checker<'_, '_>,
    written: SecretsFile,
    databases: &BTreeMap<DatabaseName, DatabaseName>,
) -> Vec<SecretCommand> {
    let mut accounts = written.accounts;
    let mut given: Vec<_> = Account::of_every_cluster()
        .into_iter()
        .map(|account| {
            let secret = accounts.remove(&account).flatten();
            (account, secret)
        })
        .collect();
    for (owner, secret) in written.owners.unwrap_or_default() {
        if !databases.values().any(|known| *known == owner) {
            let known = databases.values().map(DatabaseName::as_str);
            let message = format!("`{owner}` owns no database of this file");
            checker.meant(&["secrets", "owners", owner.as_str()], message, nearest(owner.as_str(), known));
        }
        given.push((Account::Owner(owner), secret));
    }
    let commands = given.into_iter().filter_map(|(account, secret)| {
        let command = secret?.command;
        if command.first().is_some_and(String::is_empty) {
            let path = format!("secrets.{account}.command");
            checker.say(&path.split('.').collect::<Vec<_>>(), "the first word is the program, and it is empty");
        }
        Some(SecretCommand { account, command })
    });
    commands.collect()
}

/// The words that choose drills, each once, in the file's order; the schema has checked that they mean something.
fn drills(checker: &mut Checker<'_, '_>, written: VerifyFile, platform: &Platform) -> Vec<String> {
    let default = match platform {
        Platform::Local(_) => DEFAULT_DRILLS,
        // Nobody can take the others' power, and give it back.
        _ => DEFAULT_DRILLS_BY_SSH,
    };
    let Some(words) = written.drills else { return default.map(str::to_owned).to_vec() };
    if words.is_empty() {
        checker.say(&["verify", "drills"], "an empty list proves nothing; without the field the default ones are run");
    }
    let mut seen = BTreeSet::new();
    for (index, word) in words.iter().enumerate().filter(|(_, word)| !seen.insert(word.as_str())) {
        checker.say(&["verify", "drills", &index.to_string()], format!("`{word}` is given twice"));
    }
    words
}

/// The directory of changed assets, with everything that it lacks said.
fn assets(checker: &mut Checker<'_, '_>, dir: &str) -> PathBuf {
    let dir = checker.dir().join(dir);
    for message in assets::missing(&dir) {
        checker.say(&["assets"], message);
    }
    dir
}

fn etcd_source(
    checker: &mut Checker<'_, '_>,
    archive: Option<String>,
    sha256: Option<String>,
    mirror: Option<String>,
) -> Option<EtcdSource> {
    if archive.is_some() && mirror.is_some() {
        checker.say(&["etcd", "mirror"], "not together with `archive`: etcd comes from one of them");
    }
    match (archive, sha256) {
        (Some(location), Some(sha256)) => Some(EtcdSource::Archive { location, sha256 }),
        (Some(_), None) => {
            checker.say(&["etcd", "archive"], "needs `sha256`: an archive is taken only when its sum is known");
            None
        }
        (None, Some(_)) => {
            checker.say(&["etcd", "sha256"], "needs `archive`: there is nothing whose sum it could be");
            None
        }
        (None, None) => mirror.map(|address| EtcdSource::Mirror(address.trim_end_matches('/').to_owned())),
    }
}

fn etcd(checker: &mut Checker<'_, '_>, written: Option<serde_json::Value>) -> Option<EtcdVersion> {
    let path = ["etcd", "version"];
    let Some(value) = written else { return Some(EtcdVersion::DEFAULT) };
    let text = match value {
        serde_json::Value::String(text) => text,
        number => {
            // YAML reads 3.10 as 3.1. What the user wrote is still known, what other tools make of it is not.
            let written = checker.written(&path).unwrap_or_default().to_owned();
            let read = number.to_string();
            if written != read {
                let message = format!("{written} is a number to YAML, and the same as {read}");
                checker.meant(&path, message, Some(format!("\"{written}\" in quotes")));
                return None;
            }
            written
        }
    };
    match EtcdVersion::resolve(&text) {
        Ok(version) => Some(version),
        Err(message) => {
            let known = EtcdVersion::NEWEST.map(|version| version.to_string());
            checker.meant(&path, message, nearest(&text, known.iter().map(String::as_str)));
            None
        }
    }
}

fn postgres(checker: &mut Checker<'_, '_>, written: PostgresFile, durability: Durability) -> PostgresSpec {
    let synchronous = durability != Durability::Async;
    let parameters = written.parameters.unwrap_or_default();
    for (name, value) in &parameters {
        if let Some(reason) = settings::refuse(name, value, synchronous) {
            checker.say(&["postgres", "parameters", name], reason);
        }
        if value.as_str().is_some_and(|text| text.contains(['\n', '\0'])) {
            checker.say(&["postgres", "parameters", name], "a parameter's value is one line");
        }
    }
    PostgresSpec {
        // The schema has checked the range.
        major: written.version.and_then(|version| version.try_into().ok()).unwrap_or(PostgresMajor::DEFAULT),
        parameters,
        databases: databases(checker, written.databases.unwrap_or_default()),
        access: access(checker, written.access.unwrap_or_default()),
    }
}

fn databases(
    checker: &mut Checker<'_, '_>,
    written: BTreeMap<DatabaseName, Option<super::file::DatabaseFile>>,
) -> BTreeMap<DatabaseName, DatabaseName> {
    let mut databases = BTreeMap::new();
    for (name, database) in written {
        if settings::RESERVED_DATABASES.contains(&name.as_str()) {
            checker.say(&["postgres", "databases", name.as_str()], format!("database `{name}` is there already"));
        }
        let owner = database.and_then(|database| database.owner).unwrap_or_else(|| name.clone());
        if settings::RESERVED_ROLES.contains(&owner.as_str()) {
            let message = format!("`{owner}` is a role of PostgreSQL or hactl: an application gets one of its own");
            checker.say(&["postgres", "databases", name.as_str(), "owner"], message);
        }
        databases.insert(name, owner);
    }
    if databases.is_empty()
        && let Ok(app) = DatabaseName::new("app")
    {
        databases.insert(app.clone(), app);
    }
    databases
}

fn access(checker: &mut Checker<'_, '_>, written: Vec<String>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let index = index.to_string();
        let path = ["postgres", "access", index.as_str()];
        match text.parse::<IpNet>() {
            Ok(net) if net.addr() == net.network() => networks.push(net),
            Ok(net) => {
                let message = format!("`{text}` is an address within a network");
                checker.meant(&path, message, Some(net.trunc().to_string()));
            }
            Err(_) => {
                let single = text.parse::<std::net::IpAddr>().ok().map(|address| IpNet::from(address).to_string());
                let message = format!("`{text}` is not a network in CIDR notation, such as 192.168.1.0/24");
                checker.meant(&path, message, single);
            }
        }
    }
    networks.sort();
    networks.dedup();
    networks
}
