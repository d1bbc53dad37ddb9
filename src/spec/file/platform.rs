//! The section `platform`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use crate::model::{BridgeName, DomainName, Hypervisor, Passed, PoolName, ProxmoxKind, StorageName};

/// Where the machines come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct PlatformFile {
    /// Containers that run systemd on this machine.
    pub(in crate::spec) local: Option<LocalFile>,
    /// Virtual machines or containers of Proxmox VE. The API token comes from the environment variable
    /// PROXMOX_VE_API_TOKEN alone.
    pub(in crate::spec) proxmox: Option<ProxmoxFile>,
    /// Machines that exist, reached by SSH.
    pub(in crate::spec) hosts: Option<HostsFile>,
    /// Machines of a Terraform root module of your own, which tells of them by its output `vms`.
    pub(in crate::spec) terraform: Option<TerraformFile>,
}

/// The section, or the word of a platform.
pub(super) fn platform(generator: &mut SchemaGenerator) -> Schema {
    let section = generator.subschema_for::<PlatformFile>();
    json_schema!({"anyOf": [section, {"type": "string", "enum": PLATFORMS}, {"type": "null"}]})
}

/// The platforms that there are, by their words.
pub(in crate::spec) const PLATFORMS: [&str; 4] = ["local", "proxmox", "hosts", "terraform"];

/// Virtual machines or containers of Proxmox VE.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct ProxmoxFile {
    /// What the machines are.
    #[schemars(extend("default" = "vm"))]
    pub(in crate::spec) kind: Option<ProxmoxKind>,
    /// The API's address; by default the environment variable PROXMOX_VE_ENDPOINT has it.
    #[schemars(
        example = &"https://pve1:8006/",
        regex(pattern = r"^https://[A-Za-z0-9.:\[\]-]+/?$"),
        extend("patternErrorMessage" = "an https:// address without user and path, such as https://pve1:8006/")
    )]
    pub(in crate::spec) endpoint: Option<String>,
    /// The file of the certificate authority that signed the API's certificate, relative to this file, where this machine
    /// does not know it.
    #[schemars(example = &"pve-root-ca.pem", length(min = 1, max = 4096))]
    pub(in crate::spec) ca_cert: Option<String>,
    /// The distribution that the templates hold.
    #[schemars(extend("default" = "debian:12"), example = &"ubuntu:24.04", length(min = 1, max = 255))]
    pub(in crate::spec) release: Option<String>,
    /// The hypervisor, where an instance does not say otherwise.
    #[schemars(extend("default" = "pve1"))]
    pub(in crate::spec) node: Option<Hypervisor>,
    /// What machines are made from, where an instance does not say otherwise: for a virtual machine the id of a template,
    /// 9002 by default; for a container a template file in a storage,
    /// `local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst` by default.
    #[serde(default)]
    #[schemars(schema_with = "template", extend("default" = 9002))]
    pub(in crate::spec) template: Option<Value>,
    /// The hypervisor that has the virtual machines' template, where that is not a machine's own.
    #[schemars(example = &"pve1")]
    pub(in crate::spec) template_node: Option<Hypervisor>,
    /// The storage of the machines' disks, where an instance does not say otherwise.
    #[schemars(extend("default" = "local-lvm"))]
    pub(in crate::spec) datastore: Option<StorageName>,
    /// The bridge that the machines are connected to.
    #[schemars(extend("default" = "vmbr0"))]
    pub(in crate::spec) bridge: Option<BridgeName>,
    /// The VLAN tag, where an instance does not say otherwise.
    #[schemars(range(min = 1, max = 4094), example = 30)]
    pub(in crate::spec) vlan: Option<u16>,
    /// A pool that is made for the cluster, and that the machines are put into.
    #[schemars(example = &"example-multi-vm-pool")]
    pub(in crate::spec) pool: Option<PoolName>,
    /// How the machines are reached.
    pub(in crate::spec) ssh: Option<SshFile>,
    /// Addresses that the machines ask for names.
    #[schemars(example = ["192.168.1.13"])]
    pub(in crate::spec) nameservers: Option<Vec<String>>,
    /// The domain that the machines look short names up in.
    #[schemars(example = &"home.sflab.io")]
    pub(in crate::spec) search_domain: Option<DomainName>,
    /// Whether virtual machines get a watchdog device (i6300esb). The roles do not make Patroni use it yet: what stops a
    /// primary that outlives its Patroni is the lease guard, with it and without.
    #[schemars(extend("default" = false))]
    pub(in crate::spec) watchdog: Option<bool>,
    /// Whether Proxmox refuses to remove the machines: `down` then needs it taken back first.
    #[schemars(extend("default" = false))]
    pub(in crate::spec) protection: Option<bool>,
    /// How long the guest agent of a new virtual machine may take to tell its address.
    #[schemars(
        extend("default" = "3m"),
        regex(pattern = r"^[1-9][0-9]{0,4}[sm]$"),
        extend("patternErrorMessage" = "a time such as 90s or 3m")
    )]
    pub(in crate::spec) agent_timeout: Option<String>,
}

pub(super) fn template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["integer", "string", "null"],
        "minimum": 100,
        "maximum": 999_999_999,
        "examples": [9002, "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"]
    })
}

/// Machines that exist, reached by SSH.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct HostsFile {
    /// How they are reached.
    pub(in crate::spec) ssh: Option<SshFile>,
    /// The distribution that all of them run; not of an adopted cluster.
    #[schemars(extend("default" = "debian:12"), example = &"ubuntu:24.04", length(min = 1, max = 255))]
    pub(in crate::spec) release: Option<String>,
    /// With `adopted: true`: the superuser by whom PostgreSQL is asked; by default the one of Patroni's own configuration on the machines.
    #[schemars(example = &"postgres", length(min = 1, max = 63))]
    pub(in crate::spec) superuser: Option<String>,
    /// With `adopted: true`: Patroni's systemd unit; needed only where more than one Patroni runs on a machine.
    #[schemars(
        example = &"patroni@main",
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9@._:-]*$"),
        extend("patternErrorMessage" = "a unit's name: letters, digits and @ . _ : -")
    )]
    pub(in crate::spec) unit: Option<String>,
}

/// Machines of a Terraform root module of your own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct TerraformFile {
    /// The module's directory, relative to this file; required. Terraform runs in it, with the backend and the state that it
    /// has there.
    #[schemars(required, example = &"infra", length(min = 1, max = 4096))]
    pub(in crate::spec) dir: Option<String>,
    /// Files of values for its variables, relative to this file, beside those that Terraform finds by itself.
    #[schemars(example = ["prod.tfvars"])]
    pub(in crate::spec) var_files: Option<Vec<String>>,
    /// The workspace; by default the one that is selected in the directory.
    #[schemars(
        example = &"prod",
        regex(pattern = r"^[A-Za-z0-9_.~-]{1,90}$"),
        extend("patternErrorMessage" = "a workspace's name: letters, digits and - . _ ~")
    )]
    pub(in crate::spec) workspace: Option<String>,
    /// Variables that the module declares, and that hactl gives their values: `authorized_keys` (list of strings: the public
    /// SSH keys that machines must let in), `cluster` (string: its name), `cluster_uuid` (string), `instances` (map of
    /// objects with hostname, memory, cores and roles).
    #[schemars(extend("default" = []), example = ["authorized_keys", "instances"])]
    pub(in crate::spec) pass: Option<Vec<Passed>>,
    /// Whether `down` destroys what the module made. Without it the machines stay, and the cluster's services on them are
    /// stopped and disabled.
    #[schemars(extend("default" = true))]
    pub(in crate::spec) destroy: Option<bool>,
    /// The distribution that the machines run.
    #[schemars(extend("default" = "debian:12"), example = &"ubuntu:24.04", length(min = 1, max = 255))]
    pub(in crate::spec) release: Option<String>,
    /// How the machines are reached.
    pub(in crate::spec) ssh: Option<SshFile>,
}

/// How machines are reached by SSH.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct SshFile {
    /// The user. Another than root needs sudo without a password. Virtual machines of platform proxmox are made with
    /// the user `debian` by default.
    #[schemars(
        extend("default" = "root"),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"),
        extend("patternErrorMessage" = "a user's name")
    )]
    pub(in crate::spec) user: Option<String>,
    /// The port, where an instance does not say otherwise.
    #[schemars(range(min = 1, max = 65_535), extend("default" = 22))]
    pub(in crate::spec) port: Option<u16>,
    /// The file of a private key without a passphrase, relative to this file or from `~/`; or `agent`, for the keys of the
    /// SSH agent. Without it, on platforms hosts and terraform the keys of the SSH agent, and where none runs
    /// `~/.ssh/id_ed25519`, `id_ecdsa` or `id_rsa`; hactl's own key on platform proxmox, whose machines are made with it, and
    /// on platform terraform where `pass` has `authorized_keys`.
    #[schemars(example = &"~/.ssh/id_ed25519", length(min = 1, max = 4096))]
    pub(in crate::spec) key: Option<String>,
    /// The machine through which the others are reached; not of an adopted cluster.
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
    /// The base image of the nodes: a Debian or Ubuntu.
    #[schemars(extend("default" = "debian:12"), example = &"ubuntu:24.04", length(min = 1, max = 255))]
    pub(in crate::spec) image: Option<String>,
    /// The IPv4 network of the nodes in CIDR notation; without it one is chosen that collides with nothing.
    #[schemars(example = &"10.89.7.0/24")]
    pub(in crate::spec) subnet: Option<String>,
}
