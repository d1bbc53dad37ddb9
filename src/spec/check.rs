//! The parts of the file -> Spec, with every problem that the schema cannot find.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Instance, Pin, Pinned, Spec, backend, backup,
    checker::Checker,
    connections, endpoint,
    file::{ClusterFile, DefaultsFile, DnsFile, InstanceFile, MachineFile, PROXMOX_FIELDS, PlatformFile},
    hosts, local,
    problem::Collector,
    proxmox, sections,
    yaml::YamlNode,
};
use crate::model::{
    ACCOUNTS, ClusterName, DEFAULT_PORT, DEFAULT_TTL, Dns, DnsServer, DomainName, HostName, InstanceKey, Platform,
    ProxmoxKind, Role,
};

/// Enough for etcd, Patroni and a small PostgreSQL, and three of them fit a laptop.
const DEFAULT_MEMORY_MIB: u32 = 1024;
/// A machine with a kernel of its own.
const DEFAULT_MEMORY_PROXMOX_MIB: u32 = 2048;
const DEFAULT_CORES: u32 = 2;
/// Groups of the inventory, those of later roles included, and the host that Ansible has by itself.
const RESERVED_KEYS: [&str; 9] =
    ["all", "ungrouped", "localhost", "etcd", "patroni", "haproxy", "pgbouncer", "pgbackrest", "monitoring"];
const MOST_VOTERS: usize = 7;

/// Checks what `file` means. `countable` is false when instances were removed from it, which makes node counts wrong.
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
        checker.say(&["target_ip"], "only on platform proxmox: on other platforms, list the machines in `instances`");
    }
    if countable && file.instances.is_none() && file.target_ip.is_none() {
        checker.say(&[], "`instances` is missing, for example `instances: {node1: {}, node2: {}, node3: {}}`");
    }
    let names = app.as_ref().zip(env.as_ref());
    let (machines, single) =
        proxmox::machines(&mut checker, file.instances, file.target_ip, file.hostname_suffix, name.as_ref(), names);
    if countable {
        count(&mut checker, machines.len(), file.max_instances);
    }
    let adopted = file.adopted.unwrap_or_default();
    let defaults = file.defaults.unwrap_or_default();
    let platform = platform(&mut checker, written, adopted, &defaults, &machines, single);
    if let Some(platform) = &platform {
        only_there(&mut checker, platform, &machines);
        if platform.is_adopted() {
            refuse_on_adopted(&mut checker, machines.keys());
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
    // hactl reads the settings of an adopted cluster from its machines.
    let countable = countable && !platform.is_adopted();
    if countable {
        let wanted = file.etcd.as_ref().and_then(|etcd| etcd.voters);
        voters(&mut checker, &instances, data_nodes, wanted);
    }
    if file.dns.is_some() && matches!(platform, Platform::Terraform(_)) {
        let message = "not allowed on platform terraform: make the records in the module that makes the machines, with \
                       hactl's resource hactl_dns_record_set";
        checker.say(&["dns"], message);
    }
    let dns = file.dns.and_then(|written| dns(&mut checker, written, &instances));
    let backend = file.backend.zip(name.as_ref());
    let site = backend::Site { platform: &platform, instances: &instances, dns: dns.as_ref() };
    let backend = backend.and_then(|(written, name)| backend::backend(&mut checker, written, name, &site));
    let patroni = sections::patroni(&mut checker, file.patroni.unwrap_or_default(), countable.then_some(data_nodes));
    let etcd_file = file.etcd.unwrap_or_default();
    let etcd_source = sections::etcd_source(&mut checker, etcd_file.archive, etcd_file.sha256, etcd_file.mirror);
    let etcd = sections::etcd(&mut checker, etcd_file.version);
    let postgres_file = file.postgres.unwrap_or_default();
    let pinned = Pinned {
        etcd: etcd.map_or(Pin::Nothing, |(_, pin)| pin),
        patroni: checker.has(&["patroni", "version"]),
        postgres: postgres_file.version.is_some(),
        own_network: postgres_file.own_network.is_some(),
        synchronous_nodes: checker.has(&["patroni", "synchronous_nodes"]),
        voters: etcd_file.voters,
    };
    let postgres = sections::postgres(&mut checker, postgres_file, patroni.durability, &platform);
    sections::slots(&mut checker, &patroni, &postgres);
    if let Some(least) = instances.values().filter(|instance| instance.is_data_node()).map(|one| one.memory_mib).min()
        && postgres.memory_mib.is_some_and(|memory| memory > least)
    {
        let message = format!("more than the smallest data node has, which is {least}");
        checker.say(&["postgres", "memory"], message);
    }
    let endpoint = file
        .endpoint
        .map(|written| endpoint::endpoint(&mut checker, &written, &postgres, countable.then_some(&instances)));
    if countable {
        connections::connections(&mut checker, &postgres, &patroni, endpoint.as_ref(), &instances);
    }
    sections::patroni_knows(&mut checker, &patroni.version, postgres.major);
    let backup = file.backup.map(|written| backup::backup(&mut checker, written, &postgres.parameters));
    let given = file.secrets.unwrap_or_default();
    let secrets = sections::secrets(&mut checker, given, &postgres.databases, backup.as_ref());
    let assets = file.assets.map(|dir| sections::assets(&mut checker, &dir));
    let verify = file.verify.unwrap_or_default();
    let drills = sections::drills(&mut checker, verify.drills, &platform);
    let limits_ms = sections::limits(&mut checker, verify.limits);
    let firewall = file.firewall.unwrap_or(matches!(platform, Platform::Local(_) | Platform::Proxmox(_)));
    let (tune, watchdog) = machine(&mut checker, file.machine.unwrap_or_default(), &platform);
    let disposable = file.disposable.unwrap_or(matches!(platform, Platform::Local(_)));
    Some(Spec {
        name: name?,
        app: app?,
        env: env?,
        platform,
        instances,
        backend,
        dns,
        etcd: etcd?.0,
        pinned,
        etcd_source,
        postgres,
        patroni,
        backup,
        endpoint,
        secrets,
        assets,
        drills,
        limits_ms,
        firewall,
        tune,
        watchdog,
        disposable,
    })
}

/// Whether the kernels of the machines may be changed, and whether Patroni uses their watchdog devices.
fn machine(checker: &mut Checker<'_, '_>, written: MachineFile, platform: &Platform) -> (bool, bool) {
    let proxmox = platform.proxmox();
    let containers = platform.local().is_some() || proxmox.is_some_and(|proxmox| proxmox.kind == ProxmoxKind::Lxc);
    let (tune, watchdog) = (written.tune.unwrap_or_default(), written.watchdog.unwrap_or_default());
    if tune && containers {
        checker
            .say(&["machine", "tune"], "the machines are containers: their kernel is that of the machine they run on");
    }
    if watchdog && containers {
        checker.say(&["machine", "watchdog"], "the machines are containers, which have no watchdog device");
    } else if watchdog && proxmox.is_some() {
        checker
            .say(&["machine", "watchdog"], "set `platform.proxmox.watchdog`, which also gives the machines the device");
    }
    (tune, watchdog || proxmox.is_some_and(|proxmox| proxmox.watchdog))
}

fn name(checker: &mut Checker<'_, '_>, given: Option<ClusterName>, fallback: &str) -> Option<ClusterName> {
    given.or_else(|| match ClusterName::new(fallback) {
        Ok(name) => Some(name),
        Err(error) => {
            checker.say(&["name"], format!("`name` is missing, and the file's name is not a cluster name: {error}"));
            None
        }
    })
}

fn count(checker: &mut Checker<'_, '_>, instances: usize, most: u32) {
    if instances > most as usize {
        let message = format!(
            "{instances} instances are more than max_instances, which is {most}; raise max_instances if you need them"
        );
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
        let message = format!("expected exactly one platform, found {}: {}", given.len(), given.join(" and "));
        checker.say(&["platform"], message);
    }
    if adopted && written.hosts.is_none() {
        checker.say(&["adopted"], "needs `platform: hosts`: an adopted cluster runs on existing machines");
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
            Some(Platform::Local(local::local(checker, local.unwrap_or_default(), instances.len())))
        }
    }
}

/// Fields of machines that only other platforms have.
fn only_there(
    checker: &mut Checker<'_, '_>,
    platform: &Platform,
    instances: &BTreeMap<InstanceKey, Option<InstanceFile>>,
) {
    let foreign: Vec<(&str, &str)> = match platform {
        Platform::Local(_) => {
            [("address", "only on platforms hosts and proxmox: hactl assigns the address of a local node")]
                .into_iter()
                .chain(["ssh_host", "ssh_port"].map(|field| (field, "only on platform hosts")))
                .chain(PROXMOX_FIELDS.map(|field| (field, "only on platform proxmox")))
                .collect()
        }
        Platform::Proxmox(_) => ["ssh_host", "ssh_port"].map(|field| (field, "only on platform hosts")).to_vec(),
        Platform::Hosts(_) => PROXMOX_FIELDS
            .map(|field| (field, "only on platform proxmox"))
            .into_iter()
            .chain([("disk_gb", "not allowed on platform hosts: PGDATA is on the machine's existing disk")])
            .collect(),
        Platform::Adopted(_) => PROXMOX_FIELDS.map(|field| (field, "only on platform proxmox")).to_vec(),
        Platform::Terraform(_) => ["address", "ssh_host", "ssh_port"]
            .map(|field| (field, "not allowed on platform terraform: the module's output `vms` has it"))
            .into_iter()
            .chain(PROXMOX_FIELDS.map(|field| (field, "only on platform proxmox")))
            .chain([("disk_gb", "not allowed on platform terraform: the module makes the machine's disks")])
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

/// Fields that the file of an adopted cluster must not have.
fn refuse_on_adopted<'a>(checker: &mut Checker<'_, '_>, instances: impl Iterator<Item = &'a InstanceKey>) {
    let sections = [
        "app", "env", "defaults", "dns", "etcd", "postgres", "patroni", "backup", "machine", "assets", "firewall",
        "endpoint",
    ]
    .map(|field| vec![field]);
    let accounts: Vec<String> =
        ACCOUNTS.iter().filter(|known| !known.adopted).map(|known| known.account.to_string()).collect();
    let secrets = accounts.iter().map(String::as_str).chain(["owners", "backup"]).map(|field| vec!["secrets", field]);
    let machines =
        instances.flat_map(|key| ["vm_name", "memory", "cores", "disk_gb"].map(|f| vec!["instances", key.as_str(), f]));
    for path in sections.into_iter().chain(secrets).chain(machines) {
        if checker.has(&path) {
            checker
                .say(&path, "not allowed for an adopted cluster: hactl reads it from the machines and changes nothing");
        }
    }
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
                    checker.say(&at, format!("{error}; set a shorter `app`, or `vm_name` here"));
                    continue;
                }
            },
        };
        if hostname.as_str() == "localhost" {
            checker.say(
                &["instances", key.as_str(), "vm_name"],
                "`localhost` is the name that every machine uses for itself",
            );
        }
        if let Some(other) = owners.insert(hostname.to_string(), key.clone()) {
            let message = format!("host name `{hostname}` is also the host name of instance {other}");
            checker.say(&["instances", key.as_str(), "vm_name"], message);
        }
        if RESERVED_KEYS.contains(&key.as_str()) {
            let message = format!("`{key}` is a reserved name of the Ansible inventory: choose another key");
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

/// The zone, and whether every machine's name fits into it. The schema has reported missing fields.
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

/// Rules about voters that do not depend on the plan's choice.
fn voters(
    checker: &mut Checker<'_, '_>,
    instances: &BTreeMap<InstanceKey, Instance>,
    data_nodes: usize,
    wanted: Option<u8>,
) {
    let given = instances.values().filter(|i| i.roles.as_ref().is_some_and(Role::votes)).count();
    let free = instances.values().filter(|i| i.roles.is_none()).count();
    if given > MOST_VOTERS {
        let message =
            format!("{given} instances have role etcd: more than {MOST_VOTERS} voters make etcd slower, not safer");
        checker.say(&["instances"], message);
    }
    if let Some(wanted) = wanted
        && usize::from(wanted) > given + free
    {
        let message = format!("`{wanted}` voters are more than the {} instances that may vote", given + free);
        checker.say(&["etcd", "voters"], message);
    }
    if data_nodes > 0 && given == 0 && free == 0 {
        let message = "every instance sets `roles`, and none of them has the role etcd: Patroni needs at least one \
                       voter";
        checker.say(&["instances"], message);
    }
}
