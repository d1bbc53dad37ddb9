//! `.hactl/NAME/terraform`: the stack and its modules, written out, with the values for
//! this cluster. In come the plan and what the earlier stages made, out goes a directory in which
//! plain Terraform works too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::{
    backend::BACKEND_FILE,
    binary::{Init, Terraform},
    import::IMPORT_FILE,
    module::NOTE,
    orphans::Owner,
};
use crate::{
    assets::{self, Assets},
    context::{ClusterDir, Context},
    error::{Error, Result},
    file,
    model::{Backend, Guest, Hosts, Hypervisor, InstanceKey, Local, Proxmox, ProxmoxKind},
    plan::{Plan, Platform},
};

const STATE: &str = "terraform.tfstate";

/// The directories of the tree in which every file is hactl's.
const OURS: [&str; 2] = ["modules", "stacks"];

/// What the machines of a plan are made with.
#[derive(Clone, Copy, Debug)]
pub struct Machines<'a> {
    pub plan: &'a Plan,
    pub assets: &'a Assets,
    /// The image of local nodes that are made now; a node that exists keeps the one it was made from.
    pub image: Option<&'a str>,
    pub uuid: Uuid,
    /// Public keys that may log in, in OpenSSH's form.
    pub authorized_keys: &'a [String],
    /// What hactl keeps in the state for its runs elsewhere.
    pub record: &'a str,
}

/// The values of the stack's variables. `kept` are the images of local nodes that exist.
#[must_use]
pub fn variables(machines: &Machines<'_>, kept: &BTreeMap<InstanceKey, String>) -> Json {
    match &machines.plan.platform {
        Platform::Local(local) => local_variables(machines, local, kept),
        Platform::Proxmox(proxmox) => proxmox_variables(machines, proxmox),
        Platform::Hosts(hosts) => hosts_variables(machines, hosts),
        Platform::Adopted(_) | Platform::Terraform(_) => json!({}),
    }
}

/// What a plan before the first `up` has in place of hactl's own key, which that will make.
const NO_KEY_YET: &str = "ssh-ed25519 AAAA the-first-up-makes-it";
fn hosts_variables(machines: &Machines<'_>, hosts: &Hosts) -> Json {
    let plan = machines.plan;
    let known = plan.nodes.values().filter_map(|node| Some((node, hosts.machines.get(&node.key)?)));
    let instances: Map<String, Json> = known
        .map(|(node, machine)| {
            let mut values = json!({"hostname": node.hostname, "address": machine.address});
            let optional = [("ssh_host", json!(machine.ssh_host)), ("ssh_port", json!(machine.ssh_port))];
            for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_null()) {
                values[name] = value;
            }
            (node.key.to_string(), values)
        })
        .collect();
    json!({"cluster_uuid": machines.uuid, "instances": instances, "dns": plan.dns, "record": machines.record})
}

fn local_variables(machines: &Machines<'_>, local: &Local, kept: &BTreeMap<InstanceKey, String>) -> Json {
    let plan = machines.plan;
    let nodes: Map<String, Json> = plan
        .nodes
        .values()
        .map(|node| {
            let mut values = json!({
                "hostname": node.hostname,
                "slot": node.slot,
                "memory": node.memory_mib,
                "cores": node.cores,
            });
            if let Some(gb) = node.disk_gb {
                values["disk_gb"] = json!(gb);
            }
            if let Some(image) = kept.get(&node.key).filter(|image| machines.image != Some(image.as_str())) {
                values["image"] = json!(image);
            }
            (node.key.to_string(), values)
        })
        .collect();
    let no_key = [NO_KEY_YET.to_owned()];
    let keys = if machines.authorized_keys.is_empty() { &no_key } else { machines.authorized_keys };
    json!({
        "cluster": plan.cluster,
        "cluster_uuid": machines.uuid,
        "image": machines.image,
        "subnet": local.subnet,
        "nodes": nodes,
        "authorized_keys": keys,
        "dns": plan.dns,
        "record": machines.record,
    })
}

/// Everything resolved: what an instance does not say is what the platform's section says. Endpoint and token are
/// not among the values.
fn proxmox_variables(machines: &Machines<'_>, proxmox: &Proxmox) -> Json {
    let plan = machines.plan;
    let mut instances = Map::new();
    for (node, guest) in plan.nodes.values().filter_map(|node| Some((node, proxmox.machines.get(&node.key)?))) {
        let template = match proxmox.kind {
            ProxmoxKind::Vm => "template",
            ProxmoxKind::Lxc => "template_file_id",
        };
        let mut values = json!({
            "vm_name": node.hostname,
            "memory": node.memory_mib,
            "cores": node.cores,
            "node": guest.node,
            template: guest.template,
            "datastore": guest.datastore,
            "address": guest.address,
            "tags": guest.tags,
        });
        let optional = [
            ("template_node", json!(template_node(guest))),
            ("disk_gb", json!(node.disk_gb)),
            ("pool_id", json!(guest.pool_id)),
            ("vlan", json!(guest.vlan)),
            ("gateway", json!(guest.gateway)),
            ("renamed_from", json!(guest.renamed_from)),
        ];
        for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_null()) {
            values[name] = value;
        }
        instances.insert(node.key.to_string(), values);
    }
    let mut values = json!({
        "app": plan.app,
        "env": plan.env,
        "cluster_uuid": machines.uuid,
        "instances": instances,
        "bridge": proxmox.bridge,
        "pool_id": proxmox.pool.as_ref().map_or("", |pool| pool.as_str()),
        "nameservers": proxmox.nameservers,
        "search_domain": proxmox.search_domain.as_ref().map(|domain| domain.as_str().trim_end_matches('.')),
        "authorized_keys": machines.authorized_keys,
        "protection": proxmox.protection,
        "dns": plan.dns,
        "record": machines.record,
    });
    if proxmox.kind == ProxmoxKind::Vm {
        values["ssh_user"] = json!(proxmox.ssh.user);
        values["agent_timeout"] = json!(format!("{}s", proxmox.agent_timeout_s));
        values["watchdog"] = json!(proxmox.watchdog);
    }
    values
}

/// The hypervisor that has a machine's template, where that is not the machine's own.
fn template_node(guest: &Guest) -> Option<&Hypervisor> {
    guest.template_node.as_ref().filter(|node| **node != guest.node)
}

/// Sees that the machines below `root` are those of a module of the user's own, or that there are none.
///
/// # Errors
/// When the cluster was made on another platform.
pub(super) fn is_of_no_stack(root: &Path, plan: &Plan) -> Result<()> {
    match other_stack(root, "") {
        None => Ok(()),
        Some(other) => Err(platform_changed(plan, &format!("stack {other}"), "a module of your own")),
    }
}

/// A stack that has made something here, and is not `stack`.
fn other_stack(root: &Path, stack: &str) -> Option<&'static str> {
    let others = ["local", "proxmox-vm", "proxmox-lxc", "hosts"].into_iter().filter(|other| *other != stack);
    others.into_iter().find(|other| root.join("stacks").join(other).join(STATE).exists())
}

fn platform_changed(plan: &Plan, before: &str, meant: &str) -> Error {
    Error::usage("platform-changed", "change the platform of", &plan.cluster)
        .cause(format!("it was made with {before}, and its file now means {meant}"))
        .hint(format!(
            "give the file its former platform back; `hactl down {}` then removes the machines, with their data",
            plan.cluster
        ))
}

/// The directory in which Terraform runs.
#[derive(Clone, Debug)]
pub(super) struct Workspace {
    root: PathBuf,
    stack: &'static str,
    /// Whether the state is elsewhere.
    remote: bool,
}

/// The moves of machines that got another key. The stacks look for them there.
const RENAMED_FILE: &str = "renamed.tf.json";

impl Workspace {
    pub(super) fn new(dir: &ClusterDir, plan: &Plan) -> Self {
        Self { root: dir.terraform(), stack: plan.platform.stack().unwrap_or("none"), remote: plan.backend.is_some() }
    }

    pub(super) fn stack(&self) -> PathBuf {
        self.root.join("stacks").join(self.stack)
    }

    /// Sees that no other platform's machines are left behind.
    ///
    /// # Errors
    /// When the cluster was made on another platform.
    pub(super) fn is_of_this_platform(&self, plan: &Plan) -> Result<()> {
        let meant = format!("stack {}", self.stack);
        if self.root.join(NOTE).exists() {
            return Err(platform_changed(plan, "a module of your own", &meant));
        }
        match other_stack(&self.root, self.stack) {
            None => Ok(()),
            Some(other) => Err(platform_changed(plan, &format!("stack {other}"), &meant)),
        }
    }

    /// Writes the moves of machines that got another key, so that they are kept.
    ///
    /// # Errors
    /// When the file cannot be written or removed.
    pub(super) fn write_moves(&self, plan: &Plan) -> Result<()> {
        let path = self.stack().join(RENAMED_FILE);
        match moves(plan) {
            Some(moves) => file::replace(&path, format!("{moves:#}\n").as_bytes()),
            None => remove(&path),
        }
        .map_err(|error| failed(&path, &error))
    }

    /// The import blocks that are to be applied.
    ///
    /// # Errors
    /// When there are some and they cannot be read.
    pub(super) fn import_blocks(&self) -> Result<String> {
        let path = self.stack().join(IMPORT_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Error::failed("terraform-workspace", "read", path.display()).source(&error)),
        }
    }

    /// Removes import blocks that were applied: kept, they would fail once their machine is gone.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(super) fn end_import(&self) -> Result<()> {
        let path = self.stack().join(IMPORT_FILE);
        remove(&path).map_err(|error| failed(&path, &error))
    }

    /// The plan that was read and is then applied.
    pub(super) fn plan_file(&self) -> PathBuf {
        self.root.join("plan.tfplan")
    }

    /// Notes that what an earlier run made is all gone, and that the apply which follows is a new start.
    /// The note stays until that has succeeded, in this run or in a later one.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub(super) fn note_new_start(&self) -> Result<()> {
        let path = self.new_start();
        file::replace(&path, b"").map_err(|error| failed(&path, &error))
    }

    /// Whether a new start was begun and not finished: what earlier runs made is gone.
    pub(super) fn is_new_start(&self) -> bool {
        self.new_start().exists()
    }

    /// Ends a new start: from here on what there is may hold data.
    ///
    /// # Errors
    /// When the note cannot be removed.
    pub(super) fn end_new_start(&self) -> Result<()> {
        let path = self.new_start();
        remove(&path).map_err(|error| failed(&path, &error))
    }

    fn new_start(&self) -> PathBuf {
        self.root.join("new-start")
    }

    /// Whether there may be a state: one that is elsewhere is known only when it is asked.
    pub(super) fn has_state(&self) -> bool {
        self.remote || self.state_file().exists()
    }

    /// The state of a cluster without a backend.
    pub(super) fn state_file(&self) -> PathBuf {
        self.stack().join(STATE)
    }

    /// The place of the state for which the stack was last initialised.
    pub(super) fn place(&self) -> PathBuf {
        self.root.join(BACKEND_FILE)
    }

    /// Notes for which place of the state the stack is initialised.
    ///
    /// # Errors
    /// When the note cannot be written or removed.
    pub(super) fn note_place(&self, backend: Option<&Backend>) -> Result<()> {
        write_place(&self.place(), backend)
    }

    /// Tells Terraform where the state is.
    ///
    /// # Errors
    /// When the file cannot be written or removed.
    pub(super) fn write_backend(&self, backend: Option<&Backend>) -> Result<()> {
        write_place(&self.stack().join(BACKEND_FILE), backend)
    }

    /// Whose machines these are; none when nothing was ever planned here.
    ///
    /// # Errors
    /// When the values of the last run cannot be read.
    pub(super) fn owner(&self) -> Result<Option<Owner>> {
        let path = self.values();
        let failed = |error: &dyn std::error::Error| {
            Error::failed("terraform-workspace", "read", path.display()).cause(error.to_string())
        };
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Whether values were ever written here.
    pub(super) fn has_values(&self) -> bool {
        self.values().exists()
    }

    fn values(&self) -> PathBuf {
        self.stack().join("terraform.tfvars.json")
    }

    /// Writes the values of the stack's variables.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write_variables(&self, variables: &Json) -> Result<()> {
        let path = self.values();
        let text = format!("{variables:#}\n");
        file::replace(&path, text.as_bytes()).map_err(|error| failed(&path, &error))
    }

    /// Writes the stacks and modules as they are in `assets`: files of others go.
    ///
    /// # Errors
    /// When a file cannot be written or removed.
    pub(super) fn write_trees(&self, assets: &Assets) -> Result<()> {
        assets.write("terraform", &self.root).map_err(|error| failed(&self.root, &error))?;
        let wanted: BTreeSet<PathBuf> = assets.below("terraform").map(|(path, _)| self.root.join(path)).collect();
        for dir in OURS.map(|name| self.root.join(name)) {
            for path in assets::files_in(&dir).map_err(|error| failed(&dir, &error))? {
                let stays =
                    [IMPORT_FILE, RENAMED_FILE, BACKEND_FILE].map(|name| self.stack().join(name)).contains(&path);
                if !wanted.contains(&path) && !stays {
                    fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
                }
            }
        }
        Ok(())
    }

    /// Runs init and validate, unless they passed for exactly these files and this Terraform.
    ///
    /// # Errors
    /// Those of Terraform.
    pub(super) async fn init(&self, context: &Context, terraform: &Terraform, assets: &Assets) -> Result<()> {
        let marker = terraform.data_dir().join("hactl-init");
        let place = fs::read_to_string(self.place()).unwrap_or_default();
        let wanted = terraform.fingerprint() + &assets::digest(assets.below("terraform")) + &place;
        if fs::read_to_string(&marker).ok().as_deref() == Some(&wanted) {
            return Ok(());
        }
        terraform.run_init(context, Init::AsItIs).await?;
        terraform.validate(context).await?;
        file::replace(&marker, wanted.as_bytes()).map_err(|error| failed(&marker, &error))
    }
}

/// Moves from the former key to the new one, of everything that a stack makes one of per instance.
fn moves(plan: &Plan) -> Option<Json> {
    let proxmox = plan.platform.proxmox()?;
    let kind = match proxmox.kind {
        ProxmoxKind::Vm => "proxmox_virtual_environment_vm",
        ProxmoxKind::Lxc => "proxmox_virtual_environment_container",
    };
    let mut resources =
        vec![format!("module.machines.{kind}.this"), "module.machines.terraform_data.origin".to_owned()];
    if plan.dns.is_some() {
        resources.push("module.dns[0].hactl_dns_record_set.this".to_owned());
    }
    let renamed = proxmox.machines.iter().filter_map(|(key, guest)| Some((key, guest.renamed_from.as_ref()?)));
    let moves: Vec<Json> = renamed
        .flat_map(|(key, old)| {
            let address = |resource: &String, key: &InstanceKey| format!("{resource}[\"{key}\"]");
            resources.iter().map(move |resource| json!({"from": address(resource, old), "to": address(resource, key)}))
        })
        .collect();
    (!moves.is_empty()).then(|| json!({"moved": moves}))
}

fn write_place(path: &Path, backend: Option<&Backend>) -> Result<()> {
    match backend {
        Some(backend) => file::replace(path, backend.text().as_bytes()),
        None => remove(path),
    }
    .map_err(|error| failed(path, &error))
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::failed("terraform-workspace", "write", path.display())
        .source(error)
        .hint("make room or give write access there, then run the same command again")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A plan of local nodes that are all voters.
    pub(in crate::terraform) fn plan_of(keys: &[&str]) -> Plan {
        let nodes: Map<String, Json> = keys
            .iter()
            .enumerate()
            .map(|(index, key)| {
                let node = json!({"key": key, "hostname": format!("pg-prod-{key}"), "roles": ["etcd", "patroni"],
                    "memory_mib": 1024, "cores": 1, "slot": 10 + index});
                ((*key).to_owned(), node)
            })
            .collect();
        serde_json::from_value(json!({
            "cluster": "pg", "app": "pg", "env": "prod",
            "platform": {"local": {"base_image": "debian:12", "release": "debian:12", "subnet": null}},
            "nodes": nodes, "etcd": "3.6.5",
            "postgres": {"major": 15, "packages": [], "pgdg_suite": null, "parameters": {}, "databases": {}, "access": []},
            "patroni": {"version": "4.1.4", "durability": "async", "timers":
                {"ttl": 20, "loop_wait": 3, "retry_timeout": 7, "primary_start_timeout": 30, "primary_stop_timeout": 30},
                "failsafe": true},
            "dcs": {"etcd": {"leader_key": null, "outside": []}},
            "bounds": [], "fencing": "", "warnings": [], "disposable": true
        }))
        .unwrap()
    }

    fn machines<'a>(plan: &'a Plan, assets: &'a Assets, keys: &'a [String]) -> Machines<'a> {
        let uuid = Uuid::from_u128(1);
        Machines { plan, assets, image: Some("hactl-node:2"), uuid, authorized_keys: keys, record: "{}" }
    }

    #[test]
    fn values_are_what_the_plan_says_and_nothing_else() {
        let (mut plan, keys) = (plan_of(&["node1", "node2"]), ["ssh-ed25519 AAAA".to_owned()]);
        plan.nodes.values_mut().next().unwrap().disk_gb = Some(20);
        let kept = BTreeMap::from([("node2".parse().unwrap(), "hactl-node:1".to_owned())]);
        let expected = json!({
            "cluster": "pg",
            "cluster_uuid": "00000000-0000-0000-0000-000000000001",
            "image": "hactl-node:2",
            "subnet": null,
            "nodes": {
                "node1": {"hostname": "pg-prod-node1", "slot": 10, "memory": 1024, "cores": 1, "disk_gb": 20},
                "node2": {"hostname": "pg-prod-node2", "slot": 11, "memory": 1024, "cores": 1, "image": "hactl-node:1"},
            },
            "authorized_keys": ["ssh-ed25519 AAAA"],
            "dns": null,
            "record": "{}",
        });
        assert_eq!(variables(&machines(&plan, &Assets::embedded(), &keys), &kept), expected);
        // Before the first `up` there is no key; the modules want one all the same.
        let planned = variables(&machines(&plan, &Assets::embedded(), &[]), &kept);
        assert_eq!(planned["authorized_keys"], json!([NO_KEY_YET]));
    }

    /// A plan on Proxmox of the file's part `text`.
    fn on_proxmox(text: &str) -> Plan {
        let text = format!("name: pg\n{text}");
        let spec = crate::spec::load("pg.yaml", text.as_bytes(), "pg").unwrap();
        crate::plan::decide(&spec, &crate::model::Choices::default()).unwrap()
    }

    #[test]
    fn values_for_proxmox_are_resolved_and_hold_neither_endpoint_nor_token() {
        let plan = on_proxmox(
            "platform: {proxmox: {endpoint: 'https://pve1:8006/', pool: p, node: pve9, vlan: 30, watchdog: true,\n  \
             search_domain: home.sflab.io, nameservers: [192.168.1.13]}}\ndefaults: {gateway: 10.0.0.1}\n\
             instances:\n  a: {address: 10.0.0.4/24, disk_gb: 20, tags: [x], pool_id: own, template_node: pve1}\n  \
             b: {vm_name: bee, roles: [], renamed_from: default, memory: 512}\n",
        );
        let keys = ["ssh-ed25519 AAAA".to_owned()];
        let values =
            variables(&Machines { image: None, ..machines(&plan, &Assets::embedded(), &keys) }, &BTreeMap::new());
        let expected = json!({
            "app": "pg",
            "env": "prod",
            "cluster_uuid": "00000000-0000-0000-0000-000000000001",
            "instances": {
                "a": {"vm_name": "pg-prod-a", "memory": 2048, "cores": 2, "disk_gb": 20, "node": "pve9", "template": 9002,
                    "template_node": "pve1", "datastore": "local-lvm", "vlan": 30, "address": "10.0.0.4/24",
                    "gateway": "10.0.0.1", "pool_id": "own", "tags": ["x"]},
                "b": {"vm_name": "bee", "memory": 512, "cores": 2, "node": "pve9", "template": 9002,
                    "datastore": "local-lvm", "vlan": 30, "address": "dhcp", "tags": [], "renamed_from": "default"},
            },
            "bridge": "vmbr0",
            "pool_id": "p",
            "nameservers": ["192.168.1.13"],
            "search_domain": "home.sflab.io",
            "ssh_user": "debian",
            "authorized_keys": ["ssh-ed25519 AAAA"],
            "protection": false,
            "dns": null,
            "record": "{}",
            "agent_timeout": "180s",
            "watchdog": true,
        });
        assert_eq!(values, expected);
        let owner: Owner = serde_json::from_value(values).unwrap();
        assert!(owner.cluster.is_none(), "nothing of it is on this machine");
    }

    #[test]
    fn values_of_hosts_are_what_the_file_says_of_each() {
        let plan = on_proxmox(
            "platform: {hosts: {ssh: {user: admin}}}\ndns: {zone: a.b, server: 10.0.0.9, key_name: k}\n\
             instances: {a: {address: 10.0.0.4}, b: {address: 10.0.0.5, ssh_host: nat, ssh_port: 2202, vm_name: bee}}\n",
        );
        let values = variables(&machines(&plan, &Assets::embedded(), &[]), &BTreeMap::new());
        let expected = json!({
            "a": {"hostname": "pg-prod-a", "address": "10.0.0.4"},
            "b": {"hostname": "bee", "address": "10.0.0.5", "ssh_host": "nat", "ssh_port": 2202},
        });
        assert_eq!((&values["instances"], &values["dns"]["zone"]), (&expected, &json!("a.b.")));
        let owner: Owner = serde_json::from_value(values).unwrap();
        assert!(owner.cluster.is_none(), "nothing of it is on this machine");
    }

    #[test]
    fn every_value_is_a_variable_of_its_stack() {
        let assets = Assets::embedded();
        let plans = [
            on_proxmox("platform: proxmox\ntarget_ip: dhcp\n"),
            on_proxmox("platform: {proxmox: {kind: lxc}}\ninstances: {a: {}}\n"),
            plan_of(&["node1"]),
            on_proxmox("platform: hosts\ninstances: {a: {address: 10.0.0.4}}\n"),
        ];
        for plan in &plans {
            let values = variables(&machines(plan, &assets, &[]), &BTreeMap::new());
            let file = format!("terraform/stacks/{}/variables.tf", plan.platform.stack().unwrap_or("none"));
            let text = assets.text(&file).unwrap();
            for name in values.as_object().unwrap().keys() {
                assert!(text.contains(&format!("\nvariable \"{name}\" {{")), "{name} is not in {file}");
            }
        }
    }

    #[test]
    fn a_renamed_machine_is_moved_with_all_that_is_its_own() {
        let plan = on_proxmox(
            "platform: proxmox\ndns: {zone: a.b, server: 10.0.0.1, key_name: k}\n\
             instances: {node1: {renamed_from: default}, node2: {}}\n",
        );
        let moves = moves(&plan).unwrap();
        let moves: Vec<_> =
            moves["moved"].as_array().unwrap().iter().map(|each| each["to"].as_str().unwrap()).collect();
        assert_eq!(
            moves,
            [
                "module.machines.proxmox_virtual_environment_vm.this[\"node1\"]",
                "module.machines.terraform_data.origin[\"node1\"]",
                "module.dns[0].hactl_dns_record_set.this[\"node1\"]",
            ]
        );
        assert_eq!(super::moves(&on_proxmox("platform: proxmox\ninstances: {node1: {}}\n")), None);

        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: dir.path().to_owned(), stack: "proxmox-vm", remote: false };
        workspace.write_trees(&Assets::embedded()).unwrap();
        workspace.write_moves(&plan).unwrap();
        workspace.write_trees(&Assets::embedded()).unwrap();
        let path = workspace.stack().join(RENAMED_FILE);
        // What the stacks look for in it.
        assert!(fs::read_to_string(&path).unwrap().contains(r#"[\"default\"]"#));
        workspace.write_moves(&plan_of(&["node1"])).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_cluster_stays_on_its_platform() {
        let dir = tempfile::tempdir().unwrap();
        let local = Workspace { root: dir.path().to_owned(), stack: "local", remote: false };
        let plan = plan_of(&["node1"]);
        fs::create_dir_all(local.stack()).unwrap();
        fs::write(local.stack().join(STATE), "{}").unwrap();
        assert!(local.is_of_this_platform(&plan).is_ok());
        let error = Workspace { stack: "proxmox-vm", ..local.clone() }.is_of_this_platform(&plan).unwrap_err();
        assert_eq!(error.code, "platform-changed");
        assert_eq!(is_of_no_stack(dir.path(), &plan).unwrap_err().code, "platform-changed");
        fs::remove_file(local.stack().join(STATE)).unwrap();
        assert!(is_of_no_stack(dir.path(), &plan).is_ok());
        fs::write(dir.path().join(NOTE), "infra").unwrap();
        assert!(local.is_of_this_platform(&plan).unwrap_err().causes[0].contains("a module of your own"));
    }

    #[test]
    fn files_of_another_version_go_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: dir.path().to_owned(), stack: "local", remote: false };
        workspace.write_trees(&Assets::embedded()).unwrap();
        let (stale, state) = (workspace.stack().join("old.tf"), workspace.stack().join("terraform.tfstate"));
        fs::write(&stale, "resource").unwrap();
        fs::write(workspace.stack().join(".terraform.lock.hcl"), "").unwrap();
        fs::write(&state, "{}").unwrap();
        let import = workspace.stack().join(IMPORT_FILE);
        fs::write(&import, "import {}").unwrap();
        let backend = workspace.stack().join(BACKEND_FILE);
        fs::write(&backend, "{}").unwrap();
        workspace.write_trees(&Assets::embedded()).unwrap();
        workspace.write_variables(&json!({"cluster": "pg"})).unwrap();
        assert!(!stale.exists() && state.exists() && workspace.stack().join(".terraform.lock.hcl").exists());
        assert!(dir.path().join("modules/local-node/main.tf").exists());
        assert!(import.exists());
        assert!(backend.exists());
        workspace.end_import().unwrap();
        workspace.end_import().unwrap();
        assert!(!import.exists());
        let values = fs::read_to_string(workspace.stack().join("terraform.tfvars.json")).unwrap();
        assert_eq!(values, "{\n  \"cluster\": \"pg\"\n}\n");
    }

    #[test]
    fn the_modules_pages_name_every_input_and_output() {
        let assets = Assets::embedded();
        for module in ["local-node", "proxmox-vm", "proxmox-lxc", "proxmox-pool", "dns-records"] {
            let text = |name: &str| assets.text(&format!("terraform/modules/{module}/{name}")).unwrap();
            let page = text("README.md");
            for (file, block) in [("variables.tf", "variable \""), ("outputs.tf", "output \"")] {
                let names: Vec<_> = text(file)
                    .lines()
                    .filter_map(|line| line.strip_prefix(block)?.split_once('"').map(|(name, _)| name))
                    .collect();
                assert!(!names.is_empty());
                for name in names {
                    assert!(page.contains(&format!("\n| {name} | ")), "{name} of {module}/{file} is not in README.md");
                }
            }
        }
    }
}
