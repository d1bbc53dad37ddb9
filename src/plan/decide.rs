//! Spec + earlier choices -> Plan. Pure: the same input gives the same plan.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Choices, Dcs, Durability, Patroni, Plan, PlannedInstance, Postgres, Warning, backup, birth, bounds, disk, kernel,
    memory, versions, voters,
};
use crate::{
    error::{Error, Result},
    model::{
        Distribution, GuestAddress, InstanceKey, PostgresMajor, Proxmox, Role,
        distribution::{Repository, postgres_packages},
    },
    spec::Spec,
};

/// First and last position of an address within the local network.
const ADDRESS_INDEXES: std::ops::RangeInclusive<u8> = 10..=254;

/// Decides what the cluster of `spec` should be, and keeps the earlier `choices`.
///
/// # Errors
/// When there are more machines than addresses, or no instance may vote in etcd.
pub fn decide(spec: &Spec, choices: &Choices) -> Result<Plan> {
    let mut warnings = Vec::new();
    // An adopted cluster has its voters already.
    let voters = match spec.platform.is_adopted() {
        true => spec.instances.keys().filter(|key| has_role(spec, key, Role::Etcd)).cloned().collect(),
        false => voters::pick(spec, choices, &mut warnings)?,
    };
    let indexes = match spec.platform.local() {
        Some(_) => address_indexes(spec, choices)?,
        None => BTreeMap::new(),
    };
    let nodes: BTreeMap<InstanceKey, PlannedInstance> = spec
        .instances
        .iter()
        .map(|(key, instance)| {
            let mut roles = instance.roles.clone().unwrap_or_else(|| BTreeSet::from([Role::Patroni]));
            if voters.contains(key) {
                roles.insert(Role::Etcd);
            }
            let pooler = spec.endpoint.as_ref().filter(|_| Role::holds_data(&roles));
            let node = PlannedInstance {
                key: key.clone(),
                pooler_port: pooler.map(|entry| entry.port),
                hostname: instance.hostname.clone(),
                roles,
                memory_mib: instance.memory_mib,
                cores: instance.cores,
                disk_gb: instance.disk_gb,
                address_index: indexes.get(key).copied().unwrap_or_default(),
            };
            (key.clone(), node)
        })
        .collect();

    let versions = versions::settle(spec, choices, &mut warnings);
    let data_nodes = || nodes.values().filter(|node| node.is_data_node());
    let durability = spec.patroni.durability;
    // Any data node may become primary, and a standby needs at least the primary's settings: the smallest decides.
    let memory_mib = spec.postgres.memory_mib.or_else(|| data_nodes().map(|node| node.memory_mib).min());
    let mut parameters = memory_mib.map_or_else(BTreeMap::new, |memory_mib| {
        let cores = data_nodes().map(|node| node.cores).min().unwrap_or(1);
        memory::parameters(memory_mib, cores)
    });
    let own_size = !spec.postgres.parameters.contains_key("shared_buffers");
    let derived = if own_size { parameters.clone() } else { BTreeMap::new() };
    let begins = versions.birth > 0;
    let kernel = kernel::settings(&spec.platform, spec.tune, begins, &derived);
    let disks = data_nodes().map(|node| data_gb(spec, node));
    // A disk of unknown size may be smaller than the others.
    let disk_gb = disks.collect::<Option<Vec<u32>>>().and_then(|sizes| sizes.into_iter().min());
    let smallest_known = data_nodes().filter_map(|node| data_gb(spec, node)).min();
    parameters.extend(disk::parameters(smallest_known));
    parameters.extend(birth::parameters(versions.birth));
    parameters.extend(birth::archive(versions.archives));
    parameters.extend(birth::failover_slots(versions.postgres, &spec.postgres.parameters));
    parameters.extend(spec.backup.iter().flat_map(|_| backup::parameters()));
    parameters.extend(spec.postgres.parameters.clone());
    let (mut packages, pgdg_suite) = match spec.platform.release() {
        // The image of local nodes has PostgreSQL, whatever their roles: clusters with the same versions share it.
        Some(release) if data_nodes().next().is_some() || spec.platform.local().is_some() => {
            packages(release, versions.postgres, &mut warnings)
        }
        // hactl installs nothing there.
        _ => (Vec::new(), None),
    };
    if spec.backup.is_some() && !packages.is_empty() {
        packages.push(backup::PACKAGE.to_owned());
    }
    if let Some(proxmox) = spec.platform.proxmox() {
        proxmox_warnings(proxmox, &nodes, &mut warnings);
    }
    if !spec.platform.is_adopted() {
        durability_warnings(durability, data_nodes().count(), &mut warnings);
    }
    let leader_key = Some(format!("/service/{}/leader", spec.name));

    Ok(Plan {
        cluster: spec.name.clone(),
        app: spec.app.to_string(),
        env: spec.env.to_string(),
        platform: spec.platform.clone(),
        fencing: match spec.platform.is_adopted() {
            // Read from the machines.
            true => "not known yet".to_owned(),
            false => fencing(data_nodes().count(), spec.watchdog),
        },
        bounds: bounds::bounds(&spec.patroni.timers, durability, data_nodes().count(), voters.len()),
        nodes,
        backend: spec.backend.clone(),
        dns: spec.dns.clone(),
        etcd: versions.etcd,
        etcd_source: spec.etcd_source.clone(),
        postgres: Postgres {
            major: versions.postgres,
            own_network: versions.own_network,
            memory_mib,
            birth: versions.birth,
            locale: versions.locale,
            packages,
            pgdg_suite,
            parameters,
            ..spec.postgres.clone()
        },
        patroni: Patroni {
            version: versions.patroni,
            synchronous_nodes: versions.synchronous_nodes,
            slots_are_bounded: disk::bounds_slots(disk_gb, &spec.postgres.parameters),
            ..spec.patroni.clone()
        },
        backup: spec.backup.clone(),
        endpoint: spec.endpoint.clone(),
        // The roles' namespace is Patroni's default.
        dcs: Dcs::Etcd { leader_key, outside: Vec::new() },
        warnings,
        drills: spec.drills.clone(),
        limits_ms: spec.limits_ms.clone(),
        firewall: spec.firewall,
        kernel,
        watchdog: spec.watchdog,
        disposable: spec.disposable,
    })
}

/// The size of the disk with PGDATA: one of its own where the file gives the machine one.
fn data_gb(spec: &Spec, node: &PlannedInstance) -> Option<u32> {
    let guest = spec.platform.proxmox().and_then(|proxmox| proxmox.machines.get(&node.key));
    guest.and_then(|guest| guest.data_disk_gb).or(node.disk_gb)
}

fn has_role(spec: &Spec, key: &InstanceKey, role: Role) -> bool {
    spec.instances[key].roles.as_ref().is_some_and(|roles| roles.contains(&role))
}

/// The packages that install PostgreSQL, and the suite of its project's repository if they come from there.
fn packages(release: Distribution, major: PostgresMajor, warnings: &mut Vec<Warning>) -> (Vec<String>, Option<String>) {
    let packages = postgres_packages(release, major);
    if !packages.ran_here {
        warnings.push(Warning {
            code: "combination-not-run".to_owned(),
            message: format!("hactl's own tests do not run PostgreSQL {major} on {release}"),
            hint: Some("Use PostgreSQL 15 on debian:12 or PostgreSQL 17 on debian:13, which they run".to_owned()),
        });
    }
    let pgdg = packages.repository == Repository::Pgdg;
    (packages.packages, pgdg.then(|| format!("{}-pgdg", release.codename())))
}

/// The position of each node's address. An assigned position never changes; a new node gets the lowest free one.
fn address_indexes(spec: &Spec, choices: &Choices) -> Result<BTreeMap<InstanceKey, u8>> {
    let mut indexes = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for key in spec.instances.keys() {
        if let Some(&index) = choices.address_indexes.get(key)
            && ADDRESS_INDEXES.contains(&index)
            && taken.insert(index)
        {
            indexes.insert(key.clone(), index);
        }
    }
    let mut free = ADDRESS_INDEXES.filter(|index| !taken.contains(index));
    for key in spec.instances.keys() {
        if !indexes.contains_key(key) {
            let index = free.next().ok_or_else(|| {
                let message = format!(
                    "{} instances are too many: a local network has addresses for {}",
                    spec.instances.len(),
                    ADDRESS_INDEXES.len()
                );
                Error::usage("plan-addresses", "give every instance an address in", &spec.name).cause(message)
            })?;
            indexes.insert(key.clone(), index);
        }
    }
    Ok(indexes)
}

/// What stops a primary whose Patroni has failed: the lease guard where another member could take over, and the watchdog
/// device where the machines have one.
pub(super) fn fencing(data_nodes: usize, watchdog: bool) -> String {
    let device = if watchdog {
        "a watchdog device resets its machine 5 s before the lease runs out"
    } else {
        "no watchdog device"
    };
    match (data_nodes, watchdog) {
        (0 | 1, false) => "nothing: no other member could take over".to_owned(),
        (0 | 1, true) => format!("{device}, when Patroni is dead or hangs"),
        _ => format!(
            "lease guard: a unit beside Patroni stops PostgreSQL 2 s before its lease runs out, when Patroni is dead or \
             hangs; {device}"
        ),
    }
}

fn durability_warnings(durability: Durability, data_nodes: usize, warnings: &mut Vec<Warning>) {
    let mut warn = |code: &str, message: &str, hint: &str| {
        warnings.push(Warning { code: code.into(), message: message.into(), hint: Some(hint.into()) });
    };
    match (durability, data_nodes) {
        (Durability::QuorumStrict, 2) => warn(
            "strict-two-nodes",
            "quorum-strict with two data nodes: while either node is down, every write waits",
            "Add a third data node, or set `patroni.durability: quorum`",
        ),
        (Durability::Async, 2..) => warn(
            "async",
            "durability async: a failover may lose acknowledged commits",
            "Set `patroni.durability: quorum-strict`, unless you accept the loss",
        ),
        (_, 1) => warn(
            "single-data-node",
            "one data node: no replica can take over when it fails",
            "Use three instances for a cluster that survives one failure",
        ),
        _ => {}
    }
}

/// Settings that may be intended but make a cluster on Proxmox weaker than it looks.
fn proxmox_warnings(proxmox: &Proxmox, nodes: &BTreeMap<InstanceKey, PlannedInstance>, warnings: &mut Vec<Warning>) {
    let mut warn = |code: &str, message: String, hint: &str| {
        warnings.push(Warning { code: code.into(), message, hint: Some(hint.into()) });
    };
    let list = |keys: &[&InstanceKey]| keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ");
    let voters = || proxmox.machines.iter().filter(|(key, _)| nodes.get(*key).is_some_and(|node| node.is_voter()));
    let mut together: BTreeMap<_, Vec<&InstanceKey>> = BTreeMap::new();
    for (key, guest) in voters() {
        together.entry(&guest.hypervisor).or_default().push(key);
    }
    for (hypervisor, keys) in together.iter().filter(|(_, keys)| keys.len() > 1) {
        let message = format!(
            "{} of {} etcd voters are on the hypervisor {hypervisor} ({}) and fail together with it",
            keys.len(),
            voters().count(),
            list(keys)
        );
        warn("voters-together", message, "Give each voter a different `node`");
    }
    let moving: Vec<&InstanceKey> = voters()
        .filter(|(_, guest)| guest.address == GuestAddress::Dhcp && !guest.reserved)
        .map(|(key, _)| key)
        .collect();
    if !moving.is_empty() {
        let message = format!(
            "etcd voters with addresses from DHCP: {}; a voter that comes back with another address is lost to the \
             cluster",
            list(&moving)
        );
        let hint = "Set fixed addresses (`address: 192.168.1.21/24`), or `reserved: true` if the DHCP server always \
                    gives the machine the same address";
        warn("dhcp-voter", message, hint);
    }
    let alone =
        proxmox.machines.iter().filter(|(_, guest)| guest.address != GuestAddress::Dhcp && guest.gateway.is_none());
    let alone: Vec<&InstanceKey> = alone.map(|(key, _)| key).collect();
    if !alone.is_empty() {
        let message = format!(
            "{}: fixed address without a gateway, so packages from other networks are out of reach",
            list(&alone)
        );
        warn("no-gateway", message, "Set the gateway, for example `defaults: {gateway: 192.168.1.1}`");
    }
}
