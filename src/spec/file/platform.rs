//! The section `platform`, and the commented cluster file that `hactl init` writes for each platform.

use clap::ValueEnum;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use crate::model::{BridgeName, ClusterName, DomainName, Hypervisor, Passed, PoolName, ProxmoxKind, StorageName};

/// Where the machines come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct PlatformFile {
    /// Containers that run systemd on this machine.
    pub(in crate::spec) local: Option<LocalFile>,
    /// Virtual machines or containers on Proxmox VE. The API token comes only from the environment variable
    /// PROXMOX_VE_API_TOKEN.
    pub(in crate::spec) proxmox: Option<ProxmoxFile>,
    /// Existing machines, reached by SSH.
    pub(in crate::spec) hosts: Option<HostsFile>,
    /// Machines of your own Terraform root module, which lists them in its output `vms`.
    pub(in crate::spec) terraform: Option<TerraformFile>,
}

/// The section, or the name of a platform.
pub(super) fn platform(generator: &mut SchemaGenerator) -> Schema {
    let section = generator.subschema_for::<PlatformFile>();
    json_schema!({"anyOf": [section, {"type": "string", "enum": PLATFORMS}, {"type": "null"}]})
}

/// The names of the platforms.
pub(in crate::spec) const PLATFORMS: [&str; 4] = ["local", "proxmox", "hosts", "terraform"];

/// Virtual machines or containers on Proxmox VE.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct ProxmoxFile {
    /// The kind of the machines.
    #[schemars(extend("default" = "vm"))]
    pub(in crate::spec) kind: Option<ProxmoxKind>,
    /// The API's address; by default from the environment variable PROXMOX_VE_ENDPOINT.
    #[schemars(
        example = &"https://pve1:8006/",
        regex(pattern = r"^https://[A-Za-z0-9.:\[\]-]+/?$"),
        extend("patternErrorMessage" = "an https:// address without user and path, such as https://pve1:8006/")
    )]
    pub(in crate::spec) endpoint: Option<String>,
    /// The certificate file of the CA that signed the API's certificate, relative to this file; needed if this machine
    /// does not trust that CA.
    #[schemars(example = &"pve-root-ca.pem", length(min = 1, max = 4096))]
    pub(in crate::spec) ca_cert: Option<String>,
    /// The distribution in the templates.
    #[schemars(extend("default" = "debian:12"), example = &"ubuntu:24.04", length(min = 1, max = 255))]
    pub(in crate::spec) release: Option<String>,
    /// The hypervisor of instances that set none.
    #[schemars(extend("default" = "pve1"))]
    pub(in crate::spec) node: Option<Hypervisor>,
    /// The template of instances that set none: for a virtual machine the ID of a template, by default 9002; for a
    /// container a template file in a storage, by default `local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst`.
    #[serde(default)]
    #[schemars(schema_with = "template", extend("default" = 9002))]
    pub(in crate::spec) template: Option<Value>,
    /// The hypervisor that has the virtual machines' template, if it is not a machine's own hypervisor.
    #[schemars(example = &"pve1")]
    pub(in crate::spec) template_node: Option<Hypervisor>,
    /// The storage for the disks of instances that set none.
    #[schemars(extend("default" = "local-lvm"))]
    pub(in crate::spec) datastore: Option<StorageName>,
    /// The bridge that the machines are connected to.
    #[schemars(extend("default" = "vmbr0"))]
    pub(in crate::spec) bridge: Option<BridgeName>,
    /// The VLAN tag of instances that set none.
    #[schemars(range(min = 1, max = 4094), example = 30)]
    pub(in crate::spec) vlan: Option<u16>,
    /// The pool that hactl makes for the cluster and puts the machines into.
    #[schemars(example = &"example-multi-vm-pool")]
    pub(in crate::spec) pool: Option<PoolName>,
    /// How hactl reaches the machines.
    pub(in crate::spec) ssh: Option<SshFile>,
    /// IP addresses of the machines' name servers.
    #[schemars(example = ["192.168.1.13"])]
    pub(in crate::spec) nameservers: Option<Vec<String>>,
    /// The domain in which the machines look up short names.
    #[schemars(example = &"home.sflab.io")]
    pub(in crate::spec) search_domain: Option<DomainName>,
    /// Whether virtual machines get a watchdog device (i6300esb) that Patroni uses: the device resets a machine whose Patroni
    /// leads and has died or hangs.
    #[schemars(extend("default" = false))]
    pub(in crate::spec) watchdog: Option<bool>,
    /// Whether Proxmox refuses to remove the machines. By default those with a role are protected, and `hactl down` lifts
    /// that itself. With `true` all are, and you turn it off before `hactl down`.
    pub(in crate::spec) protection: Option<bool>,
    /// How long the guest agent of a new virtual machine may take to report its address.
    #[schemars(
        extend("default" = "3m"),
        regex(pattern = r"^[1-9][0-9]{0,4}[sm]$"),
        extend("patternErrorMessage" = "a time such as 90s or 3m")
    )]
    pub(in crate::spec) agent_timeout: Option<String>,
    /// How many machines and records Terraform makes or changes at once. By default one more than the file has
    /// instances, at least 10 and at most 100. Set it lower for a storage that cannot clone as many at a time.
    #[schemars(range(min = 1, max = 100), example = 2)]
    pub(in crate::spec) parallelism: Option<u16>,
}

pub(super) fn template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["integer", "string", "null"],
        "minimum": 100,
        "maximum": 999_999_999,
        "examples": [9002, "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"]
    })
}

/// Existing machines, reached by SSH.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct HostsFile {
    /// How hactl reaches the machines.
    pub(in crate::spec) ssh: Option<SshFile>,
    /// The distribution that all machines run; not allowed for an adopted cluster.
    #[schemars(extend("default" = "debian:12"), example = &"ubuntu:24.04", length(min = 1, max = 255))]
    pub(in crate::spec) release: Option<String>,
    /// With `adopted: true`: the superuser for hactl's queries of PostgreSQL; by default the one in Patroni's
    /// configuration on the machines.
    #[schemars(example = &"postgres", length(min = 1, max = 63))]
    pub(in crate::spec) superuser: Option<String>,
    /// With `adopted: true`: Patroni's systemd unit; needed only where more than one Patroni runs on a machine.
    #[schemars(
        example = &"patroni@main",
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9@._:-]*$"),
        extend("patternErrorMessage" = "a unit's name: letters, digits and @ . _ : -")
    )]
    pub(in crate::spec) unit: Option<String>,
    /// Commands that power the machines off and on, for drills such as `node-loss`. hactl runs them on this machine.
    pub(in crate::spec) power: Option<PowerFile>,
}

/// Commands that power the machines off and on, for example with ipmitool or a client of Redfish. Each is a program and its
/// arguments, started without a shell. In every word, hactl replaces `{{ instance }}` with the instance's key, and
/// `{{ host }}` with the host that SSH connects to. A program with a slash in its name is relative to this file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct PowerFile {
    /// Cuts the power of a machine off at once, without a clean shutdown.
    #[schemars(example = ["ipmitool", "-E", "-H", "bmc-{{ instance }}", "chassis", "power", "off"], length(min = 1))]
    pub(in crate::spec) off: Vec<String>,
    /// Gives a machine its power.
    #[schemars(example = ["ipmitool", "-E", "-H", "bmc-{{ instance }}", "chassis", "power", "on"], length(min = 1))]
    pub(in crate::spec) on: Vec<String>,
    /// Prints whether a machine has power: `on` or `running`, or `off`, `exited`, `stopped` or `shut off`, among other words.
    #[schemars(example = ["ipmitool", "-E", "-H", "bmc-{{ instance }}", "chassis", "power", "status"], length(min = 1))]
    pub(in crate::spec) state: Vec<String>,
}

/// Machines of your own Terraform root module.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct TerraformFile {
    /// The module's directory, relative to this file; required. Terraform runs there, with the module's backend and
    /// state.
    #[schemars(required, example = &"infra", length(min = 1, max = 4096))]
    pub(in crate::spec) dir: Option<String>,
    /// Files with values for the module's variables, relative to this file, in addition to those that Terraform finds
    /// by itself.
    #[schemars(example = ["prod.tfvars"])]
    pub(in crate::spec) var_files: Option<Vec<String>>,
    /// The workspace; by default the one selected in the directory.
    #[schemars(
        example = &"prod",
        regex(pattern = r"^[A-Za-z0-9_.~-]{1,90}$"),
        extend("patternErrorMessage" = "a workspace's name: letters, digits and - . _ ~")
    )]
    pub(in crate::spec) workspace: Option<String>,
    /// Variables of the module that hactl sets: `authorized_keys` (list of strings: the public SSH keys that the
    /// machines must accept), `cluster` (string: the cluster's name), `cluster_uuid` (string), `instances` (map of
    /// objects with hostname, memory, cores and roles).
    #[schemars(extend("default" = []), example = ["authorized_keys", "instances"])]
    pub(in crate::spec) pass: Option<Vec<Passed>>,
    /// Whether `hactl down` destroys what the module made. If false, the machines stay, and `hactl down` stops and
    /// disables the cluster's services there.
    #[schemars(extend("default" = true))]
    pub(in crate::spec) destroy: Option<bool>,
    /// The distribution that the machines run.
    #[schemars(extend("default" = "debian:12"), example = &"ubuntu:24.04", length(min = 1, max = 255))]
    pub(in crate::spec) release: Option<String>,
    /// How hactl reaches the machines.
    pub(in crate::spec) ssh: Option<SshFile>,
}

/// How hactl reaches machines by SSH.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct SshFile {
    /// The user. Any user other than root needs sudo without a password. On platform proxmox, the default for virtual
    /// machines is `debian`.
    #[schemars(
        extend("default" = "root"),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"),
        extend("patternErrorMessage" = "a user's name")
    )]
    pub(in crate::spec) user: Option<String>,
    /// The port of instances that set none.
    #[schemars(range(min = 1, max = 65_535), extend("default" = 22))]
    pub(in crate::spec) port: Option<u16>,
    /// The file of a private key without a passphrase, relative to this file or to `~/`; or `agent`, for the keys of
    /// the SSH agent. The default on platform proxmox, and on platform terraform if `pass` has `authorized_keys`, is
    /// hactl's own key. Otherwise the default is the keys of the SSH agent or, if no agent runs, `~/.ssh/id_ed25519`,
    /// `id_ecdsa` or `id_rsa`.
    #[schemars(example = &"~/.ssh/id_ed25519", length(min = 1, max = 4096))]
    pub(in crate::spec) key: Option<String>,
    /// The machine through which hactl reaches the others; not supported for an adopted cluster.
    #[schemars(
        example = &"me@bastion.example.org:2222",
        regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9_][A-Za-z0-9.-]*(:[0-9]{1,5})?$"),
        extend("patternErrorMessage" = "USER@HOST or USER@HOST:PORT")
    )]
    pub(in crate::spec) bastion: Option<String>,
}

/// Containers that run systemd on this machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct LocalFile {
    /// The base image of the nodes: a Debian or Ubuntu release.
    #[schemars(extend("default" = "debian:12"), example = &"ubuntu:24.04", length(min = 1, max = 255))]
    pub(in crate::spec) image: Option<String>,
    /// The IPv4 network of the nodes in CIDR notation; by default one that collides with no other network.
    #[schemars(example = &"10.89.7.0/24")]
    pub(in crate::spec) subnet: Option<String>,
}

/// What a new cluster file is for; the platforms are the values of `hactl init --platform`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Containers on this machine
    #[default]
    Local,
    /// Virtual machines or containers on Proxmox VE
    Proxmox,
    /// Existing machines, reached by SSH
    Hosts,
    /// Machines of your own Terraform root module
    Terraform,
    /// An existing Patroni cluster
    #[value(skip)]
    Adopted,
}

impl Template {
    /// What to do next with the new file.
    #[must_use]
    pub fn next(self, name: &ClusterName) -> String {
        let up = format!("hactl plan {name}\n  hactl up {name}");
        match self {
            Self::Local => up,
            Self::Proxmox => format!(
                "enter your hypervisors, addresses and template in the file, export PROXMOX_VE_API_TOKEN, then\n  {up}"
            ),
            Self::Hosts => format!("enter your machines' addresses in the file, then\n  {up}"),
            Self::Terraform => format!("enter your module's directory and its machines in the file, then\n  {up}"),
            Self::Adopted => {
                format!(
                    "enter your machines' addresses in the file, then\n  hactl status {name}\n  hactl verify {name}"
                )
            }
        }
    }
}

/// A commented cluster file with all common fields, for a cluster called `name`.
#[must_use]
pub fn init_text(name: &ClusterName, template: Template) -> String {
    let text = match template {
        Template::Local => include_str!("../init.yaml"),
        Template::Proxmox => include_str!("../init-proxmox.yaml"),
        Template::Hosts => include_str!("../init-hosts.yaml"),
        Template::Terraform => include_str!("../init-terraform.yaml"),
        Template::Adopted => include_str!("../init-adopted.yaml"),
    };
    text.replace("@NAME@", name.as_str())
}
