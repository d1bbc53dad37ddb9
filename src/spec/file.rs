//! The cluster file as it is written: the Rust types that the JSON Schema comes from.
//!
//! Nothing here is decided: `spec::check` interprets the fields together.

mod backend;
mod backup;
mod database;
mod endpoint;
mod platform;
mod secrets;
mod verify;

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

pub use self::platform::{Template, init_text};
use self::platform::{platform, template};
pub(super) use self::{
    backend::{BackendFile, ConsulFile, HttpFile, PgFile, S3File},
    backup::{BackupFile, S3RepositoryFile, ScheduleFile},
    database::DatabaseFile,
    endpoint::EndpointFile,
    platform::{HostsFile, LocalFile, PLATFORMS, PlatformFile, PowerFile, ProxmoxFile, SshFile, TerraformFile},
    secrets::SecretsFile,
    verify::VerifyFile,
};
use crate::model::{
    ClusterName, DatabaseName, DomainName, Durability, Hardware, HostName, Hypervisor, IgnoredSlot, InstanceKey,
    KeyAlgorithm, PoolName, Role, Slot, StorageName, Tag,
};

/// A PostgreSQL cluster: its machines, and what runs on them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "hactl cluster file")]
pub(super) struct ClusterFile {
    /// The cluster's name: Patroni's scope, and the prefix of what hactl makes for the cluster. By default the file's
    /// name.
    #[schemars(example = &"pg-prod")]
    pub(super) name: Option<ClusterName>,
    /// First part of the host names APP-ENV-KEY; by default the cluster's name.
    #[schemars(example = &"pg")]
    pub(super) app: Option<HostName>,
    /// Second part of the host names APP-ENV-KEY.
    #[schemars(extend("default" = "prod"))]
    pub(super) env: Option<HostName>,
    /// Where the machines come from: exactly one platform, by default `local`. The platform's name alone selects it
    /// with its defaults.
    #[schemars(schema_with = "platform")]
    #[serde(default)]
    pub(super) platform: Option<PlatformFile>,
    /// Whether the machines run a cluster that hactl did not make; needs `platform: hosts`. hactl observes and drills
    /// such a cluster but never changes it, and reads from the machines what this file does not say.
    #[schemars(extend("default" = false))]
    pub(super) adopted: Option<bool>,
    /// The machines; required unless `target_ip` is set. A key identifies its machine everywhere: Terraform address,
    /// inventory, member name. `{}` means no machines.
    pub(super) instances: Option<BTreeMap<InstanceKey, Option<InstanceFile>>>,
    /// On platform proxmox, instead of `instances`: the address of a single machine with its prefix, or dhcp. The
    /// machine's key is `default`, and `defaults` has its properties.
    #[schemars(
        example = &"192.168.1.60/24",
        regex(pattern = r"^(dhcp|[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2})$"),
        extend("patternErrorMessage" = "an IPv4 address with its prefix, such as 192.168.1.60/24, or dhcp")
    )]
    pub(super) target_ip: Option<String>,
    /// The last part of the single machine's host name APP-ENV-SUFFIX. By default derived from app, env and
    /// `target_ip`.
    #[schemars(
        example = &"3f9a",
        regex(pattern = r"^[0-9a-f]{4}$"),
        extend("patternErrorMessage" = "four hexadecimal digits, such as 3f9a, in quotes if all of them are decimal \
                                        digits")
    )]
    pub(super) hostname_suffix: Option<String>,
    /// The maximum number of instances in the file: a guard against mistakes.
    #[serde(default = "max_instances")]
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) max_instances: u32,
    /// Properties of instances that do not set them.
    pub(super) defaults: Option<DefaultsFile>,
    /// Where Terraform keeps its state, when you run hactl for the cluster from more than one machine: exactly one of
    /// Terraform's own backends. By default the state is in `.hactl/NAME/terraform`. The backend's name alone selects
    /// it with its defaults.
    #[schemars(schema_with = "backend::backend")]
    #[serde(default)]
    pub(super) backend: Option<BackendFile>,
    /// The DNS zone in which every machine gets a record. Without it no machine gets one.
    pub(super) dns: Option<DnsFile>,
    /// etcd, the store that holds Patroni's leader key.
    pub(super) etcd: Option<EtcdFile>,
    /// PostgreSQL: version, parameters, databases and access.
    pub(super) postgres: Option<PostgresFile>,
    /// Patroni: version, durability and timers.
    pub(super) patroni: Option<PatroniFile>,
    /// Backups with pgBackRest: continuous archiving of the WAL, and base backups. Without this section hactl makes none.
    pub(super) backup: Option<BackupFile>,
    /// The entry point for applications: a pooler and a proxy on every data node. Without this section the cluster has none.
    pub(super) endpoint: Option<EndpointFile>,
    /// The machines' operating system.
    pub(super) machine: Option<MachineFile>,
    /// The failover drills.
    pub(super) verify: Option<VerifyFile>,
    /// Commands that print passwords. hactl generates every other password and keeps it in NAME.secrets.age.
    pub(super) secrets: Option<SecretsFile>,
    /// A directory that `hactl eject` wrote, relative to this file: hactl then takes roles, playbooks, templates and
    /// modules from there instead of from the binary.
    #[schemars(example = &"my-assets", length(min = 1, max = 4096))]
    pub(super) assets: Option<String>,
    /// Whether the machines refuse new connections to the cluster's ports, except from the cluster's machines and from the
    /// networks in `postgres.access`, `postgres.monitoring` and `postgres.load_balancers`. The default is `true` on
    /// platforms `local` and `proxmox`, and `false` on `hosts` and `terraform`; not allowed for an adopted cluster.
    #[schemars(example = true)]
    pub(super) firewall: Option<bool>,
    /// Whether drills that may destroy the data are allowed. By default true on platform local and false on the others.
    pub(super) disposable: Option<bool>,
}

const fn max_instances() -> u32 {
    10
}

/// One machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InstanceFile {
    /// The host name, instead of APP-ENV-KEY.
    #[schemars(example = &"pg-prod-c")]
    pub(super) vm_name: Option<HostName>,
    /// Memory in MiB.
    #[schemars(range(min = 512, max = 16_777_216), example = 4096)]
    pub(super) memory: Option<u32>,
    /// Processor cores.
    #[schemars(range(min = 1, max = 1024), example = 4)]
    pub(super) cores: Option<u32>,
    /// Disk size in GiB. On platform local: the size of a separate disk for PGDATA, which cannot change later; without
    /// it PGDATA is on this machine's disk. On platform proxmox: the size of the machine's disk, which can only grow;
    /// by default the template's size.
    #[schemars(range(min = 1, max = 65_536), example = 20)]
    pub(super) disk_gb: Option<u32>,
    /// The roles of the machine. By default patroni, and etcd on the voters that hactl picks; on an adopted machine,
    /// the roles that it has. `[]` means a plain machine.
    pub(super) roles: Option<Vec<Role>>,
    /// On platform hosts: the machine's IPv4 address, or a host name if the cluster is adopted. On platform proxmox:
    /// its IPv4 address with the prefix, or dhcp, which is the default.
    #[schemars(
        example = &"192.168.1.21/24",
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(/[0-9]{1,2})?$"),
        extend("patternErrorMessage" = "an IPv4 address, with its prefix on proxmox, or a host name")
    )]
    pub(super) address: Option<String>,
    /// On platform hosts: the host for SSH, if it differs from the address.
    #[schemars(
        example = &"nat.example.org",
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$"),
        extend("patternErrorMessage" = "an IPv4 address or a host name")
    )]
    pub(super) ssh_host: Option<String>,
    /// On platform hosts: the machine's SSH port.
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
    /// On platform proxmox: the template to make the machine from.
    #[serde(default)]
    #[schemars(schema_with = "template")]
    pub(super) template: Option<Value>,
    /// On platform proxmox: the hypervisor that has the virtual machine's template, if it is not the machine's own
    /// hypervisor.
    #[schemars(example = &"pve1")]
    pub(super) template_node: Option<Hypervisor>,
    /// On platform proxmox: the storage of the machine's disk.
    #[schemars(example = &"ceph")]
    pub(super) datastore: Option<StorageName>,
    /// On platform proxmox: the VLAN tag.
    #[schemars(range(min = 1, max = 4094), example = 30)]
    pub(super) vlan: Option<u16>,
    /// On platform proxmox: an existing pool for the machine, instead of the cluster's pool.
    #[schemars(example = &"databases")]
    pub(super) pool_id: Option<PoolName>,
    /// On platform proxmox: tags of the machine, in addition to hactl's own.
    #[schemars(example = ["postgres", "prod"], extend("default" = []))]
    pub(super) tags: Option<Vec<Tag>>,
    /// On platform proxmox: the machine's previous key. hactl keeps the machine under its new key.
    #[schemars(example = &"default")]
    pub(super) renamed_from: Option<InstanceKey>,
    /// On platform proxmox: the size in GiB of a disk of its own for PostgreSQL's data, `scsi1` of a virtual machine or
    /// a mount point of a container.
    #[schemars(range(min = 1, max = 65_536), example = 100)]
    pub(super) data_disk_gb: Option<u32>,
    /// On platform proxmox: the storage of that disk, if it is not `datastore`.
    #[schemars(example = &"nvme")]
    pub(super) data_datastore: Option<StorageName>,
    /// On platform proxmox: CPU type, disk flags, start order, notes and further network settings.
    pub(super) hardware: Option<Hardware>,
}

/// Fields of an instance that only platform proxmox has.
pub(super) const PROXMOX_FIELDS: [&str; 13] = [
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
    "data_disk_gb",
    "data_datastore",
    "hardware",
];

fn ipv4(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "null"],
        "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$",
        "patternErrorMessage": "an IPv4 address"
    })
}

/// Properties of instances that do not set them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultsFile {
    /// Memory in MiB; 2048 by default on platform proxmox.
    #[schemars(range(min = 512, max = 16_777_216), extend("default" = 1024), example = 2048)]
    pub(super) memory: Option<u32>,
    /// Processor cores.
    #[schemars(range(min = 1, max = 1024), extend("default" = 2), example = 4)]
    pub(super) cores: Option<u32>,
    /// Disk size in GiB, as for an instance.
    #[schemars(range(min = 1, max = 65_536), example = 20)]
    pub(super) disk_gb: Option<u32>,
    /// The roles of the machines. `[]` means a plain machine.
    pub(super) roles: Option<Vec<Role>>,
    /// On platform proxmox: the gateway of fixed addresses.
    #[serde(default)]
    #[schemars(schema_with = "ipv4", example = &"192.168.1.1")]
    pub(super) gateway: Option<String>,
    /// On platform proxmox: whether the DHCP server always gives a machine the same address.
    #[schemars(extend("default" = false))]
    pub(super) reserved: Option<bool>,
    /// On platform proxmox: tags of the machines, in addition to hactl's own.
    #[schemars(example = ["postgres", "prod"], extend("default" = []))]
    pub(super) tags: Option<Vec<Tag>>,
    /// On platform proxmox: the size in GiB of a disk for PostgreSQL's data, as for an instance.
    #[schemars(range(min = 1, max = 65_536), example = 100)]
    pub(super) data_disk_gb: Option<u32>,
    /// On platform proxmox: the storage of those disks, if it is not that of the machine.
    #[schemars(example = &"nvme")]
    pub(super) data_datastore: Option<StorageName>,
    /// On platform proxmox: properties as for an instance. An instance overrides each of them on its own.
    pub(super) hardware: Option<Hardware>,
}

/// The DNS zone in which every machine gets a record, by updates that a TSIG key signs (RFC 2136). The key's secret
/// comes only from the environment variable TF_VAR_dns_key_secret.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DnsFile {
    /// The zone; required.
    // Optional to serde only: a wrong value is reported and removed, and the rest is still checked.
    #[schemars(required, example = &"home.sflab.io.")]
    pub(super) zone: Option<DomainName>,
    /// The zone's own server, an IP address or a host name; required.
    #[schemars(required, example = &"192.168.1.13", length(min = 1, max = 255))]
    pub(super) server: Option<String>,
    /// The port on which the server answers, by UDP and TCP.
    #[schemars(range(min = 1, max = 65_535), extend("default" = 53))]
    pub(super) port: Option<u16>,
    /// The number of seconds for which resolvers may cache a record.
    #[schemars(range(min = 1, max = 2_147_483_647), extend("default" = 300), example = 60)]
    pub(super) ttl: Option<u32>,
    /// The name of the TSIG key on the server; required.
    #[schemars(required, example = &"ddnskey.")]
    pub(super) key_name: Option<DomainName>,
    /// The algorithm of the TSIG key.
    #[schemars(extend("default" = "hmac-sha256"))]
    pub(super) key_algorithm: Option<KeyAlgorithm>,
}

/// etcd, the store that holds Patroni's leader key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EtcdFile {
    /// The version: `"X.Y"` for the newest patch that this hactl knows, or `"X.Y.Z"`. What the field does not say stays
    /// what runs. etcd moves one minor version at a time and not back.
    #[serde(default)]
    #[schemars(schema_with = "etcd_version", extend("default" = "3.6"))]
    pub(super) version: Option<Value>,
    /// How many instances vote in etcd: hactl picks as many among those without `roles`, on Proxmox on as many hypervisors as
    /// it can. By default 1 for one or two data nodes, 3 for three or four and 5 for more. A cluster that runs keeps its
    /// voters until the file sets a higher number, and hactl takes the vote from no instance.
    #[schemars(range(min = 1, max = 7), example = 5)]
    pub(super) voters: Option<u8>,
    /// A release archive of etcd, used instead of the project's release or a build: a path relative to the working
    /// directory, or an http(s) address. Needs `sha256`.
    #[serde(default)]
    pub(super) archive: Option<String>,
    /// The archive's SHA-256, in hexadecimal.
    #[serde(default)]
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    pub(super) sha256: Option<String>,
    /// An http(s) address with the etcd project's releases, used instead of GitHub. It must have `vX.Y.Z/SHA256SUMS`
    /// and `vX.Y.Z/etcd-vX.Y.Z-linux-ARCH.tar.gz` below it.
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

/// PostgreSQL: version, parameters, databases and access.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PostgresFile {
    /// The major version. It cannot change in a cluster that has data.
    #[schemars(range(min = 14, max = 18), extend("default" = 15), example = 17)]
    pub(super) version: Option<u8>,
    /// The locale by which text is sorted: `C`, `C.UTF-8`, which sorts by code points on every machine, or a locale of the
    /// machines' C library, which hactl generates there, such as `de_DE.UTF-8`. It cannot change in a cluster that has data:
    /// [locales](locale.md).
    #[schemars(
        regex(pattern = r"^(C|C\.UTF-8|[a-z]{2,3}_[A-Z]{2}\.UTF-8)$"),
        extend("default" = "C.UTF-8", "patternErrorMessage" = "`C`, `C.UTF-8` or a locale with UTF-8, such as de_DE.UTF-8"),
        example = &"de_DE.UTF-8"
    )]
    pub(super) locale: Option<String>,
    /// Parameters of postgresql.conf. They override those that hactl derives from the machines' size. hactl tries a
    /// changed parameter on the machines before the cluster gets it:
    /// [how a parameter is tried](patroni-ha-cluster.md#how-a-parameter-is-tried).
    #[serde(default)]
    #[schemars(schema_with = "parameters", extend("default" = {}))]
    pub(super) parameters: Option<BTreeMap<String, Value>>,
    /// The memory in MiB that the servers are sized for. By default that of the smallest data node. A cluster that runs is not
    /// sized for less until the file says so.
    #[schemars(range(min = 512, max = 16_777_216), example = 4096)]
    pub(super) memory: Option<u32>,
    /// Databases to create, each with its owner. By default the database `app` with the role `app`.
    #[schemars(example = serde_json::json!({"app": {"owner": "app"}}))]
    pub(super) databases: Option<BTreeMap<DatabaseName, Option<DatabaseFile>>>,
    /// Networks in CIDR notation that may connect, in addition to the machines themselves and their networks, see
    /// `own_network`. The superuser and the roles of replication log in from the machines only.
    #[schemars(example = ["192.168.1.0/24"])]
    pub(super) access: Option<Vec<String>>,
    /// Networks in CIDR notation that may query Patroni's REST API where `firewall` is on: monitoring.
    #[schemars(example = ["192.168.2.10/32"])]
    pub(super) monitoring: Option<Vec<String>>,
    /// Networks in CIDR notation of load balancers: as those in `access`, and they may query Patroni's REST API where
    /// `firewall` is on.
    #[schemars(example = ["192.168.1.5/32"])]
    pub(super) load_balancers: Option<Vec<String>>,
    /// Whether every address in the network of a machine may connect. The default is `true` on platforms `local` and
    /// `proxmox`, and `false` on `hosts` and `terraform`, where hactl assumes a network of 256 addresses. A running cluster
    /// keeps `true` until its file says `false`.
    #[schemars(example = false)]
    pub(super) own_network: Option<bool>,
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

/// Patroni: version, durability and timers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PatroniFile {
    /// The version, `4.Y.Z`; by default the one that runs, and in a new cluster the newest that this hactl knows. For
    /// another version, hactl keeps the checksums in `NAME.lock.json`.
    #[schemars(
        regex(pattern = r"^4\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$"),
        extend("patternErrorMessage" = "a full version of Patroni 4, for example 4.1.4; older ones have no quorum commit")
    )]
    pub(super) version: Option<String>,
    /// What an acknowledged commit means. By default quorum-strict for three or more data nodes, quorum for two, async
    /// for one.
    pub(super) durability: Option<Durability>,
    /// How many replicas hold a commit before it is acknowledged. By default half of the replicas, and at least one, so that
    /// two of four in a cluster of five: the loss of the primary and of one of them leaves a replica that can take over. A
    /// cluster that runs keeps its number until the file sets another.
    #[schemars(range(min = 1, max = 99), example = 2)]
    pub(super) synchronous_nodes: Option<u32>,
    /// Replication slots that every member has, so that their clients continue after a failover. A logical slot needs
    /// `postgres.parameters.wal_level: logical`. A slot that no client reads holds WAL, up to `max_slot_wal_keep_size`. Without
    /// this field, the slots that someone has set in Patroni's configuration stay.
    #[serde(default)]
    #[schemars(schema_with = "slots")]
    pub(super) slots: Option<BTreeMap<String, Slot>>,
    /// Replication slots that Patroni leaves alone, such as those that a client makes itself: by default Patroni drops a slot that
    /// it does not know. A slot is left alone if all properties of an entry fit.
    #[schemars(example = serde_json::json!([{"database": "app", "plugin": "pgoutput"}]))]
    pub(super) ignore_slots: Option<Vec<IgnoredSlot>>,
    /// Timers, in seconds.
    pub(super) timers: Option<TimersFile>,
}

fn slots(generator: &mut SchemaGenerator) -> Schema {
    let slot = generator.subschema_for::<Slot>();
    json_schema!({
        "type": ["object", "null"],
        "propertyNames": {
            "pattern": "^[a-z0-9_]{1,63}$",
            "patternErrorMessage": "lower-case letters, digits and underscores"
        },
        "additionalProperties": slot,
        "examples": [{"events": {"type": "logical", "database": "app", "plugin": "pgoutput"}}]
    })
}

/// Timers, in seconds; loop_wait + 2 * retry_timeout must not exceed ttl.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimersFile {
    /// How long the leader key stays valid without renewal: the main part of a failover's time.
    #[schemars(range(min = 20, max = 86_400), extend("default" = 20))]
    pub(super) ttl: Option<u32>,
    /// The pause between two runs of Patroni's main loop.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 3))]
    pub(super) loop_wait: Option<u32>,
    /// How long etcd and PostgreSQL may fail to answer before Patroni acts.
    #[schemars(range(min = 3, max = 86_400), extend("default" = 7))]
    pub(super) retry_timeout: Option<u32>,
    /// How long a crashed primary may take to recover before a replica takes over; 0 means that a replica takes over at
    /// once.
    #[schemars(range(min = 0, max = 86_400), extend("default" = 30))]
    pub(super) primary_start_timeout: Option<u32>,
    /// How long a primary that must step down may take to stop before Patroni kills it.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 15))]
    pub(super) primary_stop_timeout: Option<u32>,
}

/// The machines' operating system.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MachineFile {
    /// Whether hactl sets kernel parameters for PostgreSQL. It does so by itself on virtual machines that it made for a new
    /// cluster. Not allowed for containers.
    #[schemars(extend("default" = false))]
    pub(super) tune: Option<bool>,
    /// Whether Patroni uses the machines' watchdog devices: a device resets a machine whose Patroni leads and has died or
    /// hangs. On Proxmox, set `platform.proxmox.watchdog`. Not allowed for containers.
    #[schemars(extend("default" = false))]
    pub(super) watchdog: Option<bool>,
}

/// The JSON Schema of the cluster file.
pub(super) fn schema() -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<ClusterFile>();
    schema.insert("$id".into(), "https://github.com/hactl/hactl/cluster-file.schema.json".into());
    schema.to_value()
}
