//! Machines on Proxmox in the file -> what they are made from, where, and how hactl reaches them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::Ipv4Net;
use serde_json::Value;

use super::{
    checker::Checker,
    file::{DefaultsFile, InstanceFile, ProxmoxFile, SshFile},
    ssh,
};
use crate::model::{
    Bastion, ClusterName, Distribution, Guest, GuestAddress, Hardware, HostName, Hypervisor, InstanceKey, Proxmox,
    ProxmoxKind, SINGLE_KEY, SSH_PORT, Ssh, SshKeySource, StorageName, Template, can_be_of_a_machine, derived_suffix,
};

const DEFAULT_NODE: &str = "pve1";
const DEFAULT_TEMPLATE: u32 = 9002;
const DEFAULT_TEMPLATE_FILE: &str = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst";
const DEFAULT_DATASTORE: &str = "local-lvm";
const DEFAULT_BRIDGE: &str = "vmbr0";
/// The user of the cloud images of Debian.
const DEFAULT_USER: &str = "debian";
const DEFAULT_AGENT_TIMEOUT_S: u32 = 180;

type Instances = BTreeMap<InstanceKey, Option<InstanceFile>>;

/// The machines of the file: those of `instances`, or the single one of `target_ip`; and whether it is the single one.
pub(super) fn machines(
    checker: &mut Checker<'_, '_>,
    written: Option<Instances>,
    target: Option<String>,
    suffix: Option<String>,
    cluster: Option<&ClusterName>,
    names: Option<(&HostName, &HostName)>,
) -> (Instances, bool) {
    let Some(target) = target else {
        if suffix.is_some() {
            let message = "needs `target_ip`: the host names of `instances` end with their keys";
            checker.say(&["hostname_suffix"], message);
        }
        return (written.unwrap_or_default(), false);
    };
    if let Some(instances) = written.filter(|instances| !instances.is_empty()) {
        let message = "not allowed together with `instances`: set `instances.KEY.address` instead; an instance with \
                       `renamed_from: default` keeps the machine that `target_ip` made";
        checker.say(&["target_ip"], message);
        return (instances, false);
    }
    let mut vm_name = None;
    if let Some((app, env)) = names {
        // All machines by DHCP have the same target: clusters of one app and env differ by their names.
        let own_app = cluster.is_none_or(|cluster| cluster.as_str() == app.as_str());
        let what = match cluster.filter(|_| target == "dhcp" && !own_app) {
            Some(cluster) => format!("{target}/{cluster}"),
            None => target.clone(),
        };
        let suffix = suffix.unwrap_or_else(|| derived_suffix(app.as_str(), env.as_str(), &what));
        match HostName::new(format!("{app}-{env}-{suffix}")) {
            Ok(name) => vm_name = Some(name),
            Err(error) => checker.say(&["target_ip"], format!("{error}; set a shorter `app`")),
        }
    }
    let instance = InstanceFile { vm_name, address: Some(target), ..InstanceFile::default() };
    let instances = InstanceKey::new(SINGLE_KEY).ok().map(|key| (key, Some(instance)));
    (instances.into_iter().collect(), true)
}

/// Checks the platform's section, and each machine's part of it.
pub(super) fn proxmox(
    checker: &mut Checker<'_, '_>,
    written: ProxmoxFile,
    defaults: &DefaultsFile,
    instances: &Instances,
    single: bool,
) -> Option<Proxmox> {
    let kind = written.kind.unwrap_or_default();
    let section = |field: &'static str| ["platform", "proxmox", field];
    if kind == ProxmoxKind::Lxc {
        if written.watchdog == Some(true) {
            checker.say(&section("watchdog"), "only with `kind: vm`: containers have no watchdog device");
        }
        if written.template_node.is_some() {
            checker.say(&section("template_node"), "only with `kind: vm`: a container's template file is in a storage");
        }
        if written.agent_timeout.is_some() {
            checker.say(&section("agent_timeout"), "only with `kind: vm`: containers have no guest agent");
        }
    }
    let release = match &written.release {
        Some(text) => text.parse::<Distribution>().unwrap_or_else(|message| {
            checker.say(&section("release"), message);
            Distribution::Debian12
        }),
        None => Distribution::Debian12,
    };
    let template = written.template.and_then(|value| self::template(checker, &section("template"), kind, value));
    let ssh = self::ssh_settings(checker, written.ssh.unwrap_or_default(), kind);
    let nameservers = nameservers(checker, &written.nameservers.unwrap_or_default());
    let agent_timeout_s = match written.agent_timeout.as_deref().map(|text| text.split_at(text.len() - 1)) {
        Some((number, unit)) => number.parse::<u32>().unwrap_or(0) * if unit == "m" { 60 } else { 1 },
        None => DEFAULT_AGENT_TIMEOUT_S,
    };
    let globals = Globals {
        kind,
        hypervisor: written.node.or_else(|| Hypervisor::new(DEFAULT_NODE).ok())?,
        template: template.unwrap_or_else(|| match kind {
            ProxmoxKind::Vm => Template::Vm(DEFAULT_TEMPLATE),
            ProxmoxKind::Lxc => Template::File(DEFAULT_TEMPLATE_FILE.to_owned()),
        }),
        template_hypervisor: written.template_node,
        datastore: written.datastore.or_else(|| StorageName::new(DEFAULT_DATASTORE).ok())?,
        vlan: written.vlan,
        gateway: defaults.gateway.as_ref().and_then(|text| gateway(checker, &["defaults", "gateway"], text)),
        defaults,
        single,
    };
    hardware(checker, &["defaults"], defaults.hardware.as_ref(), kind);
    let none = InstanceFile::default();
    let machines: BTreeMap<InstanceKey, Guest> = instances
        .iter()
        .map(|(key, instance)| (key.clone(), guest(checker, key, instance.as_ref().unwrap_or(&none), &globals)))
        .collect();
    addresses_differ(checker, &machines, &globals);
    renamings(checker, &machines);
    Some(Proxmox {
        kind,
        endpoint: written.endpoint,
        ca_cert: written.ca_cert.map(|path| checker.beside(&path)),
        release,
        bridge: written.bridge.or_else(|| DEFAULT_BRIDGE.parse().ok())?,
        pool: written.pool,
        ssh,
        nameservers,
        search_domain: written.search_domain,
        watchdog: written.watchdog.unwrap_or_default(),
        protection: written.protection,
        agent_timeout_s,
        parallelism: written.parallelism,
        single,
        machines,
    })
}

/// The default settings of a machine.
struct Globals<'a> {
    kind: ProxmoxKind,
    hypervisor: Hypervisor,
    template: Template,
    template_hypervisor: Option<Hypervisor>,
    datastore: StorageName,
    vlan: Option<u16>,
    gateway: Option<Ipv4Addr>,
    defaults: &'a DefaultsFile,
    single: bool,
}

impl Globals<'_> {
    /// The place of a machine's address in the file.
    fn address_path<'k>(&self, key: &'k InstanceKey) -> Vec<&'k str> {
        if self.single { vec!["target_ip"] } else { vec!["instances", key.as_str(), "address"] }
    }
}

fn guest(checker: &mut Checker<'_, '_>, key: &InstanceKey, written: &InstanceFile, globals: &Globals<'_>) -> Guest {
    let at = |field: &'static str| ["instances", key.as_str(), field];
    let path = globals.address_path(key);
    // None if the file has no valid address: what depends on the address is not checked then.
    let address = match &written.address {
        Some(text) => address(checker, &path, text),
        None => (!checker.has(&path)).then_some(GuestAddress::Dhcp),
    };
    let own_gateway = written.gateway.as_ref().and_then(|text| gateway(checker, &at("gateway"), text));
    if written.gateway.is_some() && address == Some(GuestAddress::Dhcp) {
        checker.say(&at("gateway"), "not allowed with `address: dhcp`: the DHCP server assigns the gateway");
    }
    let gateway = match address {
        None | Some(GuestAddress::Dhcp) => None,
        Some(GuestAddress::Fixed(net)) => {
            let gateway = own_gateway.or(globals.gateway);
            let path = match own_gateway {
                Some(_) => at("gateway").to_vec(),
                None => globals.address_path(key),
            };
            if let Some(gateway) = gateway {
                if gateway == net.addr() {
                    checker.say(&path, format!("{gateway} is both the gateway and the machine's own address"));
                } else if !net.contains(&gateway) {
                    checker.say(&path, format!("gateway {gateway} is not in {}", net.trunc()));
                }
            }
            gateway
        }
    };
    let reserved = written.reserved.or(globals.defaults.reserved).unwrap_or_default();
    if written.reserved == Some(true) && matches!(address, Some(GuestAddress::Fixed(_))) {
        checker.say(&at("reserved"), "only with `address: dhcp`: a fixed address never changes");
    }
    let template = written.template.clone().and_then(|value| template(checker, &at("template"), globals.kind, value));
    let mut tags = written.tags.clone().or_else(|| globals.defaults.tags.clone()).unwrap_or_default();
    tags.sort();
    tags.dedup();
    let data_disk_gb = written.data_disk_gb.or(globals.defaults.data_disk_gb);
    if written.data_datastore.is_some() && data_disk_gb.is_none() {
        checker.say(&at("data_datastore"), "needs `data_disk_gb`, the size of the disk for PostgreSQL's data");
    }
    hardware(checker, &["instances", key.as_str()], written.hardware.as_ref(), globals.kind);
    let own_hardware = written.hardware.clone().unwrap_or_default();
    Guest {
        hypervisor: written.node.clone().unwrap_or_else(|| globals.hypervisor.clone()),
        template: template.unwrap_or_else(|| globals.template.clone()),
        template_hypervisor: written.template_node.clone().or_else(|| globals.template_hypervisor.clone()),
        datastore: written.datastore.clone().unwrap_or_else(|| globals.datastore.clone()),
        vlan: written.vlan.or(globals.vlan),
        address: address.unwrap_or(GuestAddress::Dhcp),
        gateway,
        reserved,
        pool_id: written.pool_id.clone(),
        tags,
        renamed_from: written.renamed_from.clone(),
        data_disk_gb,
        data_datastore: data_disk_gb
            .and(written.data_datastore.clone().or_else(|| globals.defaults.data_datastore.clone())),
        hardware: own_hardware.or(globals.defaults.hardware.clone().unwrap_or_default()),
    }
}

/// What is wrong with the further properties at a place of the file.
fn hardware(checker: &mut Checker<'_, '_>, place: &[&str], written: Option<&Hardware>, kind: ProxmoxKind) {
    let Some(written) = written else { return };
    let mut wrong = |field: &str, message: String| checker.say(&[place, &["hardware", field]].concat(), message);
    if kind == ProxmoxKind::Lxc {
        if written.cpu_type.is_some() {
            wrong("cpu_type", "only with `kind: vm`: containers have the hypervisor's CPU".to_owned());
        }
        if written.disk.is_some() {
            wrong("disk", "only with `kind: vm`: the disks of containers have no such flags".to_owned());
        }
    }
    let Some(nic) = &written.extra_nic else { return };
    if nic.bridge.is_none() {
        wrong("extra_nic", "`bridge` is missing, for example `extra_nic: {bridge: vmbr1}`".to_owned());
    }
    if let Some(text) = nic.address.as_deref().filter(|text| text.parse::<Ipv4Net>().is_err() && *text != "dhcp") {
        wrong("extra_nic", format!("`{text}` is not an IPv4 address with its prefix"));
    }
}

fn template(checker: &mut Checker<'_, '_>, path: &[&str], kind: ProxmoxKind, value: Value) -> Option<Template> {
    match (kind, value) {
        (ProxmoxKind::Vm, Value::Number(number)) => number.as_u64().and_then(|id| id.try_into().ok()).map(Template::Vm),
        (ProxmoxKind::Lxc, Value::String(file)) if is_template_file(&file) => Some(Template::File(file)),
        (ProxmoxKind::Vm, value) => {
            let text = value.as_str().unwrap_or_default();
            let meant = text.parse::<u32>().is_ok().then(|| format!("{text} without quotes"));
            checker.meant(path, "a virtual machine is cloned from a template, given by its ID, such as 9002", meant);
            None
        }
        (ProxmoxKind::Lxc, _) => {
            let message =
                format!("a container is made from a template file in a storage, such as {DEFAULT_TEMPLATE_FILE}");
            checker.say(path, message);
            None
        }
    }
}

/// `STORAGE:vztmpl/FILE`.
fn is_template_file(text: &str) -> bool {
    let Some((storage, file)) = text.split_once(":vztmpl/") else { return false };
    StorageName::new(storage).is_ok() && !file.is_empty() && !file.contains(['/', ' ', ':'])
}

fn address(checker: &mut Checker<'_, '_>, path: &[&str], text: &str) -> Option<GuestAddress> {
    if text == "dhcp" {
        return Some(GuestAddress::Dhcp);
    }
    let mut wrong = |message: String, meant: Option<String>| checker.meant(path, message, meant);
    let net = match text.parse::<Ipv4Net>() {
        Ok(net) => net,
        Err(_) => {
            let meant = text.parse::<Ipv4Addr>().ok().map(|address| format!("{address}/24"));
            wrong(
                format!("`{text}` is neither dhcp nor an IPv4 address with its prefix, such as 192.168.1.21/24"),
                meant,
            );
            return None;
        }
    };
    let (address, is_network) = (net.addr(), net.prefix_len() < 31);
    if !can_be_of_a_machine(address) {
        wrong(format!("{address} cannot be the address of a machine"), None);
    } else if is_network && (address == net.network() || address == net.broadcast()) {
        let what = if address == net.network() { "the network itself" } else { "the network's broadcast address" };
        wrong(format!("{net} is {what}, not a machine in it"), None);
    }
    Some(GuestAddress::Fixed(net))
}

fn gateway(checker: &mut Checker<'_, '_>, path: &[&str], text: &str) -> Option<Ipv4Addr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        checker.say(path, format!("`{text}` is not an IPv4 address"));
    }
    parsed
}

fn nameservers(checker: &mut Checker<'_, '_>, written: &[String]) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match text.parse() {
            Ok(server) => servers.push(server),
            Err(_) => {
                let path = ["platform", "proxmox", "nameservers", &index.to_string()];
                checker.say(
                    &path,
                    format!("`{text}` is not an IP address: machines need the IP address of a name server"),
                );
            }
        }
    }
    servers
}

fn ssh_settings(checker: &mut Checker<'_, '_>, written: SshFile, kind: ProxmoxKind) -> Ssh {
    let user = match (kind, written.user) {
        (ProxmoxKind::Vm, user) => user.unwrap_or_else(|| DEFAULT_USER.to_owned()),
        (ProxmoxKind::Lxc, user) => {
            if user.is_some_and(|user| user != "root") {
                let message = "containers support only the user root";
                checker.say(&["platform", "proxmox", "ssh", "user"], message);
            }
            "root".to_owned()
        }
    };
    let bastion = written.bastion.and_then(|text| match text.parse::<Bastion>() {
        Ok(bastion) => Some(bastion),
        Err(message) => {
            checker.say(&["platform", "proxmox", "ssh", "bastion"], message);
            None
        }
    });
    let key = ssh::key(checker, written.key, SshKeySource::Vault);
    Ssh { user, port: written.port.unwrap_or(SSH_PORT), key, bastion }
}

fn addresses_differ(checker: &mut Checker<'_, '_>, machines: &BTreeMap<InstanceKey, Guest>, globals: &Globals<'_>) {
    let mut owners: BTreeMap<Ipv4Addr, &InstanceKey> = BTreeMap::new();
    for (key, guest) in machines {
        let Some(net) = guest.address.network() else { continue };
        if let Some(other) = owners.insert(net.addr(), key) {
            checker.say(&globals.address_path(key), format!("{} is also the address of {other}", net.addr()));
        }
    }
}

fn renamings(checker: &mut Checker<'_, '_>, machines: &BTreeMap<InstanceKey, Guest>) {
    let mut before: BTreeMap<&InstanceKey, &InstanceKey> = BTreeMap::new();
    for (key, old) in machines.iter().filter_map(|(key, guest)| Some((key, guest.renamed_from.as_ref()?))) {
        let path = ["instances", key.as_str(), "renamed_from"];
        if machines.contains_key(old) {
            checker.say(&path, format!("`{old}` is also an instance of this file: a machine has only one key"));
        } else if let Some(other) = before.insert(old, key) {
            checker.say(&path, format!("{other} is also renamed from `{old}`"));
        }
    }
}
