//! The cluster file as it is written: the Rust types that the JSON Schema comes from.
//!
//! Nothing here is decided: what the fields mean together is `spec::check`'s work.

mod backend;
mod platform;
mod secrets;

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use self::platform::{platform, template};
pub(super) use self::{
    backend::{BackendFile, ConsulFile, HttpFile, PgFile, S3File},
    platform::{HostsFile, LocalFile, PLATFORMS, PlatformFile, ProxmoxFile, SshFile, TerraformFile},
    secrets::SecretsFile,
};
use crate::model::{
    ClusterName, DEFAULT_DRILLS, DRILL_NAMES, DatabaseName, DomainName, Durability, HostName, Hypervisor, InstanceKey,
    KeyAlgorithm, PoolName, Role, StorageName, Tag,
};

/// A PostgreSQL cluster: its machines, and what runs on them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "hactl cluster file")]
pub(super) struct ClusterFile {
    /// The cluster's name: Patroni's scope and the prefix of what is made for it. The file's name by default.
    #[schemars(example = &"pg-prod")]
    pub(super) name: Option<ClusterName>,
    /// First part of the host names APP-ENV-KEY; the cluster's name by default.
    #[schemars(example = &"pg")]
    pub(super) app: Option<HostName>,
    /// Second part of the host names APP-ENV-KEY.
    #[schemars(extend("default" = "prod"))]
    pub(super) env: Option<HostName>,
    /// Where the machines come from: exactly one platform. `local` by default. The word alone is the platform with its
    /// defaults.
    #[schemars(schema_with = "platform")]
    #[serde(default)]
    pub(super) platform: Option<PlatformFile>,
    /// Whether a cluster runs on the machines that hactl did not make, with `platform: hosts`: it is then looked at and
    /// drilled, and never changed. What this file does not say is read from the machines.
    #[schemars(extend("default" = false))]
    pub(super) adopted: Option<bool>,
    /// The machines; required, unless there is `target_ip`. The keys are their identity everywhere: Terraform address,
    /// inventory, member name. `{}` is no machines.
    pub(super) instances: Option<BTreeMap<InstanceKey, Option<InstanceFile>>>,
    /// On platform proxmox, instead of `instances`: the address of a single machine with its prefix, or dhcp. Its key is
    /// `default`, and its properties are those of `defaults`.
    #[schemars(
        example = &"192.168.1.60/24",
        regex(pattern = r"^(dhcp|[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2})$"),
        extend("patternErrorMessage" = "an IPv4 address with its prefix, such as 192.168.1.60/24, or dhcp")
    )]
    pub(super) target_ip: Option<String>,
    /// The last part of the single machine's host name APP-ENV-SUFFIX. By default it follows from app, env and
    /// `target_ip`.
    #[schemars(
        example = &"3f9a",
        regex(pattern = r"^[0-9a-f]{4}$"),
        extend("patternErrorMessage" = "four hexadecimal digits, such as 3f9a, in quotes where they are all numbers")
    )]
    pub(super) hostname_suffix: Option<String>,
    /// How many instances a file may have at most: a guard against slips.
    #[serde(default = "max_instances")]
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) max_instances: u32,
    /// Properties of instances that do not say otherwise.
    pub(super) defaults: Option<DefaultsFile>,
    /// Where Terraform keeps its state, when the cluster is run from more than one machine: exactly one of Terraform's own
    /// backends. Without it the state is in `.hactl/NAME/terraform`. The word alone is the backend with its defaults.
    #[schemars(schema_with = "backend::backend")]
    #[serde(default)]
    pub(super) backend: Option<BackendFile>,
    /// The zone in which every machine gets a record. Without it none does.
    pub(super) dns: Option<DnsFile>,
    /// The store that holds Patroni's leader key.
    pub(super) etcd: Option<EtcdFile>,
    /// The database.
    pub(super) postgres: Option<PostgresFile>,
    /// What looks after the database.
    pub(super) patroni: Option<PatroniFile>,
    /// The failover drills.
    pub(super) verify: Option<VerifyFile>,
    /// Passwords that are given by a command instead of being made and kept in NAME.secrets.age.
    pub(super) secrets: Option<SecretsFile>,
    /// A directory that `hactl eject` wrote, relative to this file: roles, playbooks, templates and modules
    /// are then taken from there instead of from the binary.
    #[schemars(example = &"my-assets", length(min = 1, max = 4096))]
    pub(super) assets: Option<String>,
    /// Whether destructive drills may run, the data being of no worth. True by default on local nodes, and only there.
    pub(super) disposable: Option<bool>,
}

const fn max_instances() -> u32 {
    10
}

/// One machine. Everything has a default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InstanceFile {
    /// The host name, over APP-ENV-KEY.
    #[schemars(example = &"pg-prod-c")]
    pub(super) vm_name: Option<HostName>,
    /// Memory in MiB.
    #[schemars(range(min = 512, max = 16_777_216), example = 4096)]
    pub(super) memory: Option<u32>,
    /// Processor cores.
    #[schemars(range(min = 1, max = 1024), example = 4)]
    pub(super) cores: Option<u32>,
    /// Size in GiB. On local nodes of a disk of the node's own, on which PGDATA lies; without it that lies on this machine's
    /// disk, and it cannot be changed later. On proxmox of the machine's disk, which may grow; without it the template's.
    #[schemars(range(min = 1, max = 65_536), example = 20)]
    pub(super) disk_gb: Option<u32>,
    /// Exactly these roles. Without it: patroni, and etcd where hactl picks a voter, or what runs on an adopted machine.
    /// `[]` is a plain machine.
    pub(super) roles: Option<Vec<Role>>,
    /// On platform hosts the machine's IPv4 address (of an adopted cluster also a name); on proxmox its IPv4 address with
    /// the prefix, or dhcp, which is the default.
    #[schemars(
        example = &"192.168.1.21/24",
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(/[0-9]{1,2})?$"),
        extend("patternErrorMessage" = "an IPv4 address, with its prefix on proxmox, or a host name")
    )]
    pub(super) address: Option<String>,
    /// On platform hosts: where SSH answers, if not at the address.
    #[schemars(
        example = &"nat.example.org",
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$"),
        extend("patternErrorMessage" = "an IPv4 address or a host name")
    )]
    pub(super) ssh_host: Option<String>,
    /// On platform hosts: SSH's port on this machine.
    #[schemars(range(min = 1, max = 65_535), example = 2222)]
    pub(super) ssh_port: Option<u16>,
    /// On platform proxmox: the gateway of a fixed address.
    #[serde(default)]
    #[schemars(schema_with = "ipv4", example = &"192.168.1.1")]
    pub(super) gateway: Option<String>,
    /// On platform proxmox: whether the DHCP server always gives the machine the same address.
    #[schemars(extend("default" = false))]
    pub(super) reserved: Option<bool>,
    /// On platform proxmox: the hypervisor.
    #[schemars(example = &"pve2")]
    pub(super) node: Option<Hypervisor>,
    /// On platform proxmox: what the machine is made from.
    #[serde(default)]
    #[schemars(schema_with = "template")]
    pub(super) template: Option<Value>,
    /// On platform proxmox: the hypervisor that has the virtual machine's template, where that is not the machine's own.
    #[schemars(example = &"pve1")]
    pub(super) template_node: Option<Hypervisor>,
    /// On platform proxmox: the storage of the machine's disk.
    #[schemars(example = &"ceph")]
    pub(super) datastore: Option<StorageName>,
    /// On platform proxmox: the VLAN tag.
    #[schemars(range(min = 1, max = 4094), example = 30)]
    pub(super) vlan: Option<u16>,
    /// On platform proxmox: the machine's own pool, which exists already, over the cluster's.
    #[schemars(example = &"databases")]
    pub(super) pool_id: Option<PoolName>,
    /// On platform proxmox: tags of the machine, beside hactl's own.
    #[schemars(example = ["postgres", "prod"], extend("default" = []))]
    pub(super) tags: Option<Vec<Tag>>,
    /// On platform proxmox: the key that the machine had before. It stays what it is, under its new key.
    #[schemars(example = &"default")]
    pub(super) renamed_from: Option<InstanceKey>,
}

/// Fields of an instance that only platform proxmox has.
pub(super) const PROXMOX_FIELDS: [&str; 10] = [
    "gateway",
    "reserved",
    "node",
    "template",
    "template_node",
    "datastore",
    "vlan",
    "pool_id",
    "tags",
    "renamed_from",
];

fn ipv4(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "null"],
        "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$",
        "patternErrorMessage": "an IPv4 address"
    })
}

/// Properties of instances that do not say otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultsFile {
    /// Memory in MiB; 2048 by default on platform proxmox.
    #[schemars(range(min = 512, max = 16_777_216), extend("default" = 1024), example = 2048)]
    pub(super) memory: Option<u32>,
    /// Processor cores.
    #[schemars(range(min = 1, max = 1024), extend("default" = 2), example = 4)]
    pub(super) cores: Option<u32>,
    /// Size in GiB of the disk, as that of an instance.
    #[schemars(range(min = 1, max = 65_536), example = 20)]
    pub(super) disk_gb: Option<u32>,
    /// Exactly these roles. `[]` is a plain machine.
    pub(super) roles: Option<Vec<Role>>,
    /// On platform proxmox: the gateway of fixed addresses.
    #[serde(default)]
    #[schemars(schema_with = "ipv4", example = &"192.168.1.1")]
    pub(super) gateway: Option<String>,
    /// On platform proxmox: whether the DHCP server always gives a machine the same address.
    #[schemars(extend("default" = false))]
    pub(super) reserved: Option<bool>,
    /// On platform proxmox: tags of the machines, beside hactl's own.
    #[schemars(example = ["postgres", "prod"], extend("default" = []))]
    pub(super) tags: Option<Vec<Tag>>,
}

/// The zone in which every machine gets a record, by updates that a TSIG key signs (RFC 2136). The key's
/// secret comes from the environment variable TF_VAR_dns_key_secret alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DnsFile {
    /// The zone; required.
    // Optional to serde alone: a wrong one is reported and taken out, and the rest is still checked.
    #[schemars(required, example = &"home.sflab.io.")]
    pub(super) zone: Option<DomainName>,
    /// The zone's own server, an IP address or a host name; required.
    #[schemars(required, example = &"192.168.1.13", length(min = 1, max = 255))]
    pub(super) server: Option<String>,
    /// The port on which the server answers, by UDP and TCP.
    #[schemars(range(min = 1, max = 65_535), extend("default" = 53))]
    pub(super) port: Option<u16>,
    /// For how many seconds resolvers may keep a record.
    #[schemars(range(min = 1, max = 2_147_483_647), extend("default" = 300), example = 60)]
    pub(super) ttl: Option<u32>,
    /// The name of the TSIG key, as the server has it; required.
    #[schemars(required, example = &"ddnskey.")]
    pub(super) key_name: Option<DomainName>,
    /// The algorithm of the TSIG key.
    #[schemars(extend("default" = "hmac-sha256"))]
    pub(super) key_algorithm: Option<KeyAlgorithm>,
}

/// The store that holds Patroni's leader key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EtcdFile {
    /// `"X.Y"`, the newest patch that this hactl knows, or `"X.Y.Z"`.
    #[serde(default)]
    #[schemars(schema_with = "etcd_version", extend("default" = "3.6"))]
    pub(super) version: Option<Value>,
    /// A release archive to take etcd from, instead of the project's release or a build: a path relative
    /// to the working directory, or an http(s) address. Needs `sha256`.
    #[serde(default)]
    pub(super) archive: Option<String>,
    /// The archive's SHA-256, in hexadecimal.
    #[serde(default)]
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    pub(super) sha256: Option<String>,
    /// An http(s) address that has the etcd project's releases, instead of GitHub: below it are
    /// `vX.Y.Z/SHA256SUMS` and `vX.Y.Z/etcd-vX.Y.Z-linux-ARCH.tar.gz`.
    #[serde(default)]
    #[schemars(
        regex(pattern = "^https?://[^/?#@]+(/[^?#]*)?$"),
        extend("patternErrorMessage" = "an http:// or https:// address without user, password and query"),
        example = &"https://mirror.example.org/etcd"
    )]
    pub(super) mirror: Option<String>,
}

fn etcd_version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "number", "null"], "examples": ["3.6", "3.5.11"]})
}

/// The database.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PostgresFile {
    /// The major version.
    #[schemars(range(min = 14, max = 18), extend("default" = 15), example = 17)]
    pub(super) version: Option<u8>,
    /// Parameters of postgresql.conf, over those that follow the machines' size.
    #[serde(default)]
    #[schemars(schema_with = "parameters", extend("default" = {}))]
    pub(super) parameters: Option<BTreeMap<String, Value>>,
    /// Databases to create, each with its owner. Database and role `app` by default.
    #[schemars(example = serde_json::json!({"app": {"owner": "app"}}))]
    pub(super) databases: Option<BTreeMap<DatabaseName, Option<DatabaseFile>>>,
    /// Networks in CIDR notation that may connect, beside the cluster's own.
    #[schemars(example = ["192.168.1.0/24"])]
    pub(super) access: Option<Vec<String>>,
}

fn parameters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "examples": [{"random_page_cost": 1.1, "log_min_duration_statement": "1s"}],
        "propertyNames": {
            "pattern": "^[a-z_][a-z0-9_]*(\\.[a-z_][a-z0-9_]*)?$",
            "patternErrorMessage": "lower-case letters, digits and underscores, with one dot in an extension's parameter"
        },
        "additionalProperties": {"type": ["string", "number", "boolean"]}
    })
}

/// One database.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DatabaseFile {
    /// The role that owns the database and may log in; the database's name by default.
    pub(super) owner: Option<DatabaseName>,
}

/// What looks after the database.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PatroniFile {
    /// `4.Y.Z`; the newest that this hactl knows by default. Of another one the sums are kept in `NAME.lock.json`.
    #[schemars(
        regex(pattern = r"^4\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$"),
        extend("patternErrorMessage" = "a full version of Patroni 4, for example 4.1.4; older ones have no quorum commit")
    )]
    pub(super) version: Option<String>,
    /// What an acknowledged commit means. quorum-strict from three data nodes, quorum for two, async for one.
    pub(super) durability: Option<Durability>,
    /// Timers, in seconds.
    pub(super) timers: Option<TimersFile>,
}

/// Timers, in seconds; loop_wait + 2 * retry_timeout must not be above ttl.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimersFile {
    /// How long the leader key lives without renewal: the main part of a failover's time.
    #[schemars(range(min = 20, max = 86_400), extend("default" = 20))]
    pub(super) ttl: Option<u32>,
    /// Between two looks of Patroni at its node.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 3))]
    pub(super) loop_wait: Option<u32>,
    /// How long etcd and PostgreSQL may fail to answer before Patroni acts.
    #[schemars(range(min = 3, max = 86_400), extend("default" = 7))]
    pub(super) retry_timeout: Option<u32>,
    /// How long a crashed primary may take to recover before a replica takes over; 0: none at all.
    #[schemars(range(min = 0, max = 86_400), extend("default" = 30))]
    pub(super) primary_start_timeout: Option<u32>,
    /// How long a primary that is to step down may take before it is killed.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 15))]
    pub(super) primary_stop_timeout: Option<u32>,
}

/// The failover drills.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyFile {
    /// What `hactl verify NAME` runs by default: drills by `name` or `name/variant`, a name for all of its
    /// variants, or `all`. `hactl verify --list` shows them.
    #[serde(default)]
    #[schemars(schema_with = "drills", extend("default" = DEFAULT_DRILLS))]
    pub(super) drills: Option<Vec<String>>,
}

fn drills(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["array", "null"],
        "items": {"type": "string", "enum": DRILL_NAMES},
        "examples": [["switchover", "patroni-crash/dead"], ["all"]]
    })
}

/// The JSON Schema of the cluster file.
pub(super) fn schema() -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<ClusterFile>();
    schema.insert("$id".into(), "https://github.com/hactl/hactl/cluster-file.schema.json".into());
    schema.to_value()
}
