//! Every code of an error, a warning or a problem: stable words that scripts depend on.
//!
//! Codes that decisions are made on have a constant. Tests hold the list to the source and docs/troubleshooting.md to
//! the list.
//! Long because one list has every code.

pub const ASSETS: &str = "assets";
pub const COMMAND_NOT_FOUND: &str = "command-not-found";
pub const CONFIGURATION_DIFFERS: &str = "configuration-differs";
pub const DNS_SERVER: &str = "dns-server";
pub const DNS_SILENT: &str = "dns-silent";
pub const DOWNLOAD_CHANGED: &str = "download-changed";
pub const FETCH: &str = "fetch";
pub const FIREWALL_BLOCKS: &str = "firewall-blocks";
pub const INTERRUPTED: &str = "interrupted";
pub const MACHINES_LOCK: &str = "machines-lock";
pub const NAME_TAKEN: &str = "name-taken";
pub const PLAN_REFUSED: &str = "plan-refused";
pub const PORT_TAKEN: &str = "port-taken";
pub const POWER_FOREIGN: &str = "power-foreign";
pub const RESTORE_TEST_FAILED: &str = "restore-test-failed";
pub const SSH_FORWARDING: &str = "ssh-forwarding";
pub const SWITCHOVER_UNFINISHED: &str = "switchover-unfinished";

/// Codes of errors, and what each means.
pub const ERRORS: &[(&str, &str)] = &[
    ("adopt", "hactl could not find out what runs on the machines of an adopted cluster"),
    ("adopted", "the command is not for an adopted cluster"),
    ("adopted-unreadable", "the record of an adopted cluster exists and cannot be read"),
    ("ansible", "a playbook could not be prepared, or a task failed"),
    ("ansible-environment", "the given Ansible environment cannot be used"),
    ("ansible-path", "Ansible would read the path of a directory as another one"),
    ("architecture", "no downloads are known for this machine's processor"),
    ("archive", "files for a local node could not be packed"),
    ("archive-sum", "the SHA-256 of an etcd archive in the cluster file is not valid"),
    (ASSETS, "the directory of changed assets cannot be read or is incomplete"),
    ("backend", "Terraform's backend does not answer, or refuses the credentials"),
    ("backend-changed", "the cluster file names another backend than the state is in"),
    ("backend-on-cluster", "the backend runs on the cluster whose state it would keep"),
    ("backup-failed", "a backup could not be made"),
    ("backup-not-configured", "the cluster file has no backups"),
    ("backup-refused", "the cluster has no primary to back up"),
    ("backup-repository", "the repository of the backups cannot be read"),
    ("bootstrap", "a base image could not be made from packages"),
    ("bundle", "the archive of a run record could not be written"),
    ("ca-cert", "the CA certificate for Proxmox cannot be read, or its copy not written"),
    ("cache", "the cache cannot be read or written"),
    ("certificate", "a certificate cannot be read, is not trusted or has expired"),
    ("changed-meanwhile", "another run has changed the cluster since this run began"),
    ("client-files", "files for clients could not be written"),
    ("clock-wrong", "certificates would not be valid by the clocks of the machines"),
    ("clone-failed", "the present data of a cluster did not reach its backup repository"),
    ("cloud-init", "the first boot of a machine failed or did not finish"),
    ("cluster-age", "the age of the data could not be read"),
    ("cluster-file", "the cluster file is wrong"),
    ("cluster-lock", "the cluster's lock could not be written"),
    ("cluster-lock-lost", "the cluster's lock was lost during the run"),
    ("cluster-locked", "another run holds the cluster's lock"),
    ("cluster-name", "the name is not valid for a cluster"),
    ("cluster-unknown", "no cluster file has that name"),
    ("command", "a program failed"),
    (COMMAND_NOT_FOUND, "a program is not on this machine"),
    ("command-not-started", "a program could not be started"),
    ("consent-missing", "a change that interrupts writes or that alters a running machine had no consent"),
    ("directory", "a directory cannot be written"),
    ("disk-full", "a file system has no free space"),
    ("dns-answer", "an answer of the DNS server cannot be trusted"),
    ("dns-answers", "the DNS server did not answer with a new record in time"),
    ("dns-changed", "someone else changed a record during the run"),
    ("dns-clock", "the clocks of this machine and the DNS server differ"),
    ("dns-failed", "the DNS server refused an update; the message quotes it"),
    ("dns-foreign", "a record exists that hactl did not make"),
    ("dns-key", "the TSIG key cannot be used"),
    ("dns-key-algorithm", "the DNS server knows the TSIG key with another algorithm"),
    ("dns-key-name", "the DNS server does not know the TSIG key"),
    ("dns-left", "the DNS server still answers with a removed record"),
    ("dns-name", "a domain name cannot be used"),
    ("dns-refused", "the DNS server does not let the TSIG key change the record"),
    ("dns-secret", "the TSIG key has another secret"),
    ("dns-secret-encoding", "the secret of the TSIG key is not in base64"),
    ("dns-secret-missing", "the secret of the TSIG key is not in the environment"),
    (DNS_SERVER, "the DNS server cannot be found"),
    (DNS_SILENT, "the DNS server does not answer"),
    ("dns-zone", "the DNS server does not serve the zone"),
    ("down-options", "options of `down` do not fit the cluster"),
    (DOWNLOAD_CHANGED, "a download does not have the pinned checksum"),
    ("drill-database", "the drills' database or role could not be made, read or dropped"),
    ("drill-duration", "`--duration` applies to soaks only"),
    ("drill-fault", "a fault could not be injected or reverted"),
    ("drill-path", "clients cannot reach PostgreSQL"),
    ("drill-refused", "this cluster does not allow a drill that was named"),
    ("drill-target", "the cluster has no target for the drill"),
    ("drill-unknown", "no drill has that name"),
    ("eject", "the embedded files could not be written"),
    ("endpoint-removed", "the file of a cluster lacks the entry point that its machines run"),
    ("engine", "the container engine refused a request"),
    ("engine-context", "the Docker context does not exist"),
    ("engine-elsewhere", "the container engine is on another machine"),
    ("engine-gone", "the connection to the container engine broke during the run"),
    ("engine-missing", "no container engine answers on this machine"),
    ("engine-permission", "the user may not open the container engine's socket"),
    ("engine-silent", "the container engine takes too long to answer"),
    ("engine-too-old", "the container engine is too old"),
    (FETCH, "a download failed"),
    ("fleet", "the record of the machines could not be written"),
    ("firewall", "the firewall of a machine could not be loaded, checked or removed"),
    (FIREWALL_BLOCKS, "the firewall kept members or hactl from connecting, and was removed again"),
    ("fleet-incomplete", "Terraform's output lacks machines of the cluster"),
    ("fleet-unreadable", "the record of the machines exists and cannot be read"),
    ("force-unlock", "the state lock could not be released"),
    ("foreign", "hactl did not make the object, and does not remove it"),
    ("forget", "the local records of a cluster could not be removed"),
    ("forward", "a port for psql could not be opened on this machine"),
    ("go-missing", "Go is needed to build etcd, and is missing or too old"),
    ("hactl-dir", "the directory for the files of all clusters is not a directory"),
    ("host-key", "a machine shows another SSH host key, or a host key could not be created"),
    ("host-key-unknown", "no host key is recorded under the name"),
    ("image", "an image could not be made or used"),
    ("image-gone", "an image was removed during the run"),
    ("image-lock", "the lock of the images could not be taken"),
    ("image-platform", "the platform has no node images"),
    ("image-prepare", "packages could not be installed in an image"),
    ("import", "machines could not be imported"),
    ("import-from", "the file to import from cannot be read"),
    ("import-platform", "the platform has no machines to import"),
    ("import-write", "the import blocks could not be written"),
    ("init", "the cluster file could not be written"),
    (INTERRUPTED, "the run was interrupted"),
    ("inventory-material", "secrets for the inventory are missing"),
    ("inventory-template", "a template of the inventory is wrong"),
    ("inventory-write", "the inventory could not be written"),
    ("left-behind", "objects of the cluster remain after `down`"),
    ("locale-fixed", "a locale of the cluster file is not the one that the data was made with"),
    ("lock", "the lock of this directory could not be taken"),
    ("lock-file", "the lock file of downloads cannot be read or written"),
    ("lock-held", "another run holds the lock of this directory"),
    ("logs", "the log of a unit could not be read"),
    ("machine-left", "a machine holds data of the cluster that its voters do not know"),
    ("machine-mark", "the ownership marker could not be written"),
    ("machine-python", "a machine has no Python"),
    ("machine-release", "a service on a machine that stays did not stop"),
    ("machine-silent", "a machine that stays does not answer, and nothing was stopped"),
    ("machine-taken", "a machine runs another cluster or another system"),
    (MACHINES_LOCK, "the machine that holds the lock of the machines does not answer"),
    ("memory-shrinks", "a smaller machine would shrink all servers"),
    ("mmdebstrap-missing", "mmdebstrap is needed for a base image, and is not on this machine"),
    ("name-missing", "the command needs the cluster's name"),
    (NAME_TAKEN, "an object with that name exists and does not belong to this cluster"),
    ("network-gone", "a network was removed during the run"),
    ("network-without-subnet", "a network has no IPv4 subnet"),
    ("no-disks", "local nodes cannot have disks of their own here"),
    ("no-endpoint", "the cluster has no entry point"),
    ("no-port", "no port is free for SSH"),
    ("no-subnet", "no subnet is free for the local network"),
    ("node-boot", "a local node did not boot"),
    ("node-command", "a command in a local node failed"),
    ("node-damaged", "the labels of a local node are damaged"),
    ("node-differs", "a local node that exists differs from the plan"),
    ("node-gone", "a local node was removed during the run"),
    ("node-unknown", "the cluster has no such instance"),
    ("not-a-plugin-host", "only Terraform may start this command"),
    ("not-configured", "the files for clients are missing"),
    ("not-confirmed", "the command was not confirmed"),
    ("not-healthy", "the cluster is not healthy"),
    ("not-proved", "a drill failed"),
    ("not-provisioned", "the cluster has no machines yet"),
    ("output", "the results could not be written to standard output"),
    ("parameter-refused", "a machine refused a parameter of PostgreSQL in the cluster file"),
    ("plan-addresses", "the local network has too few addresses"),
    ("plan-file", "a saved plan could not be written or read"),
    ("plan-outdated", "what a saved plan was made from has changed"),
    (PLAN_REFUSED, "Terraform's plan would destroy or stop a machine in use"),
    ("plan-voters", "no instance can be an etcd voter"),
    ("platform-changed", "the cluster was made on another platform"),
    ("plugin-protocol", "Terraform speaks another plugin protocol"),
    (PORT_TAKEN, "another program has taken a node's SSH port"),
    ("power", "the power of a machine could not be used"),
    (POWER_FOREIGN, "the machine does not belong to this cluster"),
    ("power-watch", "the watcher that restores the power of machines failed"),
    ("protected", "Proxmox protects the machines"),
    ("provider-socket", "the provider's socket could not be opened"),
    ("provider-tls", "the provider's certificate could not be made"),
    ("proxmox-address-taken", "another machine uses a fixed address"),
    ("proxmox-bridge", "a bridge does not exist"),
    ("proxmox-ca-cert", "the CA certificate for Proxmox cannot be used"),
    ("proxmox-certificate-name", "Proxmox's certificate is for another name"),
    ("proxmox-certificate-time", "Proxmox's certificate is not valid at this time"),
    ("proxmox-certificates", "this machine has no certificates to trust"),
    ("proxmox-check", "Proxmox does not have several things that the machines need"),
    ("proxmox-datastore", "a datastore does not exist"),
    ("proxmox-datastore-content", "a datastore does not accept this type of content"),
    ("proxmox-datastore-inactive", "a datastore is not active"),
    ("proxmox-disk", "a change of disks would detach one, or the provider would refuse it midway"),
    ("proxmox-down", "nothing accepts connections at the endpoint"),
    ("proxmox-endpoint", "the endpoint is not the address of an API"),
    ("proxmox-endpoint-missing", "the endpoint is not given"),
    ("proxmox-failed", "Proxmox reported a failure; the message quotes it"),
    ("proxmox-machine-invisible", "a machine of the cluster is hidden from the token, or on another Proxmox"),
    ("proxmox-machine-moved", "a container is on another hypervisor than the cluster file says"),
    ("proxmox-machine-other", "the number of a machine now belongs to another machine"),
    ("proxmox-machine-there", "a machine of that name exists on Proxmox"),
    ("proxmox-node", "a hypervisor does not exist"),
    ("proxmox-node-offline", "a hypervisor is offline"),
    ("proxmox-node-silent", "a hypervisor does not answer"),
    ("proxmox-other", "the server at the endpoint is not Proxmox"),
    ("proxmox-pool", "a pool does not exist"),
    ("proxmox-pool-taken", "the pool exists, and this cluster did not create it"),
    ("proxmox-privileges", "the API token lacks privileges"),
    ("proxmox-quorum", "the Proxmox cluster has lost its quorum"),
    ("proxmox-silent", "Proxmox does not answer in time"),
    ("proxmox-tags", "the token may not set a tag"),
    ("proxmox-template", "the template does not exist or is not a template"),
    ("proxmox-template-file", "the template file does not exist"),
    ("proxmox-template-node", "the template is on another hypervisor"),
    ("proxmox-token", "Proxmox refuses the API token"),
    ("proxmox-token-malformed", "the API token has the wrong form"),
    ("proxmox-token-missing", "the API token is not in the environment"),
    ("proxmox-unknown", "the endpoint's name has no address"),
    ("proxmox-untrusted", "Proxmox's certificate is not trusted"),
    ("psql-service", "the connection parameters of psql could not be written"),
    ("python-missing", "Python is missing or cannot create virtual environments"),
    ("python-version", "hactl pins no packages for this version of Python"),
    ("record", "the run record could not be written"),
    ("record-none", "the cluster has no run record"),
    ("recovery-refused", "machines of the cluster still have data, so it is not restored from its backups"),
    ("reinit-failed", "the data of a replica could not be replaced"),
    ("reinit-refused", "the data of a replica cannot be replaced safely now"),
    ("reinit-stalled", "the new copy of a replica does not advance"),
    ("report", "a report could not be read or written"),
    ("report-none", "the run has no report"),
    ("report-open", "no program opened the report"),
    ("report-template", "a template of the report is wrong"),
    ("restart-record", "the record of a restart that has begun cannot be read or written"),
    ("restart-refused", "a PostgreSQL server cannot be restarted safely now"),
    ("restart-unfinished", "some PostgreSQL servers have restarted, and others have not"),
    ("role-lost", "the file takes a role from a machine that has it in the cluster"),
    ("run-unknown", "no run has that ID"),
    ("scratch", "a temporary directory could not be made"),
    ("restore-refused", "a cluster cannot be created from the backups of another one"),
    (RESTORE_TEST_FAILED, "the backups were not proved to restore"),
    ("restore-test-refused", "no replica can test the backups"),
    ("secret-kept", "a passphrase that has encrypted backups is not replaced"),
    ("secret-unknown", "the cluster file needs no secret of that name"),
    ("secret-unset", "a secret that the cluster file needs is not in the secrets file"),
    ("secrets-behind", "the secrets file is older than the cluster"),
    ("secrets-cluster", "the secrets file belongs to another cluster"),
    ("secrets-command", "a command that gives a password failed"),
    ("secrets-generate", "a secret could not be generated"),
    ("secrets-given", "passwords in the environment are wrong"),
    ("secrets-identity", "the key of the secrets file cannot be used"),
    ("secrets-identity-missing", "the key of the secrets file is missing"),
    ("secrets-incomplete", "the secrets file lacks an entry that this version uses"),
    ("secrets-missing", "the secrets file does not exist"),
    ("secrets-open", "the secrets file cannot be opened"),
    ("secrets-recipient", "a public key cannot be added or removed"),
    ("secrets-save", "the secrets file could not be saved"),
    ("secrets-to-terminal", "hactl does not print secrets on a terminal"),
    ("secrets-version", "the secrets file was written by a newer hactl"),
    ("shared-record", "the records of other runs in the state cannot be read"),
    ("ssh", "a machine cannot be reached by SSH"),
    ("ssh-agent", "the SSH agent cannot be used"),
    (SSH_FORWARDING, "a machine's SSH server forwards no connections"),
    ("ssh-key", "no SSH key can be used"),
    ("ssh-key-refused", "a machine refuses the SSH key"),
    ("ssh-missing", "`ssh` is not on this machine"),
    ("start", "hactl itself could not start"),
    ("state-empty", "the state lists no machines, but the cluster has some"),
    ("state-locked", "another run of Terraform holds the state lock"),
    ("state-of-another", "the state belongs to another cluster"),
    ("subnet-differs", "the local network has another subnet"),
    ("subnet-taken", "the subnet overlaps with another network"),
    ("sudo", "the SSH user cannot become root"),
    ("switchover-elsewhere", "another member than the one asked for has become the primary"),
    ("switchover-refused", "the cluster cannot switch over now"),
    (SWITCHOVER_UNFINISHED, "no other member became the primary in time"),
    ("terraform-apply", "`terraform apply` failed"),
    ("terraform-contract", "the output `vms` of the user's module is wrong"),
    ("terraform-import", "an object cannot be imported into Terraform's state"),
    ("terraform-init", "`terraform init` failed"),
    ("terraform-install", "the provider could not be installed for Terraform"),
    ("terraform-missing", "Terraform is not on this machine"),
    ("terraform-module", "the user's module cannot be found"),
    ("terraform-output", "Terraform's outputs cannot be read"),
    ("terraform-plan", "`terraform plan` failed"),
    ("terraform-show", "Terraform's plan cannot be read"),
    ("terraform-state", "Terraform's state cannot be read"),
    ("terraform-too-old", "Terraform is too old"),
    ("terraform-validate", "`terraform validate` failed"),
    ("terraform-var-file", "a file of values cannot be found"),
    ("terraform-workspace", "Terraform's working directory cannot be read or written"),
    ("tf-reattach", "`TF_REATTACH_PROVIDERS` cannot be read"),
    ("tools-missing", "several programs are missing on this machine"),
    ("two-states", "both backends hold a state of the cluster"),
    ("unit", "the name is not valid for a unit"),
    ("version-refused", "the cluster cannot move to a version that its file sets"),
    ("volume-differs", "a volume with data differs from the cluster file"),
    ("voters-gone", "most etcd voters are gone"),
    ("write-check", "a row could not be written and read back"),
];

/// Codes of warnings, and what each means.
pub const WARNINGS: &[(&str, &str)] = &[
    ("async", "an acknowledged commit is on one node only"),
    ("timers", "an adopted cluster breaks the rule `loop_wait + 2 * retry_timeout <= ttl`"),
    ("age-key-open", "other users of this machine can read the key of the secrets file"),
    ("cache-damaged", "a damaged file of the cache was fetched again"),
    ("check-timeline-off", "an adopted cluster lets a member on an old timeline lead"),
    ("clock-behind", "the clock of a machine is behind the creation of the cluster"),
    ("parameter-untried", "a parameter reached the cluster without a trial"),
    ("combination-not-run", "hactl's own tests do not run this combination"),
    ("consent-unknown", "an option allows a change of a machine that the cluster does not have"),
    ("dhcp-voter", "an etcd voter has an address from DHCP"),
    ("dns-kept", "records could not be removed"),
    ("dns-unseen", "hactl could not look for records"),
    ("even-voters", "an even number of voters survives no more failures"),
    ("failsafe-off", "an adopted cluster has failsafe mode off"),
    ("firewall-refuses", "the firewall refuses sources that are connected now"),
    ("firewall-unsupported", "a machine cannot load the firewall"),
    ("import-missing", "the import leaves instances out"),
    ("import-note", "a note about what the import does not change"),
    ("journals", "the journals of a failed round could not be saved"),
    ("machine-memory", "a machine has less memory than the cluster file says"),
    ("more-voters", "etcd can have more voters"),
    ("no-gateway", "machines have no gateway"),
    ("orphan-ended", "hactl stopped a program that a killed run had left behind"),
    ("plan", "a warning of the plan"),
    ("secrets-changed", "the secrets file was changed by another run"),
    ("single-data-node", "one data node cannot fail over"),
    ("recovery-unseen", "a cluster that still archives to the stanza might not be seen"),
    ("restore-quiet", "no commit after the moment of a restore could be written"),
    ("restore-unchecked", "the archive that a restore needs could not be listed"),
    ("single-voter", "one etcd voter survives no failure"),
    ("state-moved", "the state was moved to another backend"),
    ("stop-timeout-unset", "an adopted cluster sets no `primary_stop_timeout`"),
    ("strict-two-nodes", "with two data nodes every failure stops writes"),
    ("synchronous-nodes", "commits can wait for more replicas"),
    ("switchover-note", "what a switchover changes for others"),
    ("terraform-config", "the named CLI configuration of Terraform does not exist"),
    ("version-newer", "this hactl has a newer version than the one that runs"),
    ("voters-together", "etcd voters share a hypervisor or a zone"),
];

/// Codes of what `hactl status` finds, and what each means.
pub const PROBLEMS: &[(&str, &str)] = &[
    ("archive-failing", "WAL does not reach the repository of the backups; a notice for the first 5 minutes"),
    ("archive-gap", "the WAL archive lacks segments; a notice if a backup was made since"),
    ("authentication", "a login was refused"),
    ("backup-damaged", "the newest backup has damaged pages"),
    ("backup-failing", "the last backup of the schedule failed"),
    ("backup-missing", "the cluster has no backup yet; a notice"),
    ("backup-overdue", "the newest backup is older than the schedule allows"),
    ("backup-unknown", "the repository of the backups, or the archive in it, cannot be read; a notice"),
    ("certificate-expired", "a service serves a certificate that has expired"),
    ("certificate-expires", "a certificate or its CA expires within 30 days; a notice within 120 days"),
    ("certificate-unread", "a service serves another certificate than the one on its machine's disk"),
    ("certificate-unknown", "a machine does not say which certificates its services serve"),
    ("collation-version", "a machine sorts text by another version of its library than the data was made with"),
    (CONFIGURATION_DIFFERS, "Patroni's configuration in etcd is not the one of the cluster file"),
    ("clock-differs", "the clocks of two machines differ by more than 0.5 s"),
    ("copy-kept", "a data directory that `hactl reinit` kept aside is still there"),
    ("database-missing", "a database of the cluster file does not exist"),
    ("dcs-not-etcd", "the DCS of an adopted cluster is not etcd"),
    ("dcs-unreadable", "Patroni cannot read the DCS"),
    ("etcd-alarm", "etcd has raised an alarm"),
    ("etcd-down", "no etcd member answers"),
    ("etcd-isolated", "an etcd member is not part of the quorum"),
    ("etcd-learner", "an etcd voter is still a learner"),
    ("etcd-member-foreign", "etcd has a member that does not belong to the cluster"),
    ("etcd-member-missing", "a voter is not in etcd's member list"),
    ("etcd-no-leader", "etcd has no leader"),
    ("etcd-no-quorum", "too few etcd voters answer"),
    ("etcd-outside", "etcd voters are not among the instances"),
    ("etcd-silent", "etcd does not answer"),
    ("failsafe-active", "Patroni's failsafe mode holds the primary"),
    ("firewall-off", "the ports of a machine accept connections from every address"),
    ("guard-unknown", "the lease guard of an earlier release does not report its state"),
    ("guard-unproved", "a lease guard has proved nothing for some time"),
    ("leader-not-running", "the leader does not run"),
    ("leader-not-writable", "the leader does not accept writes"),
    ("member-diverged", "a replica has data that the leader does not have"),
    ("member-missing", "Patroni runs but is not a member yet"),
    ("member-unknown", "Patroni lists a member that is not in the cluster file"),
    ("no-leader", "the cluster has no primary"),
    ("no-synchronous-standby", "no standby is synchronous"),
    ("node-unreachable", "a machine does not answer by SSH"),
    ("not-streaming", "a replica does not stream"),
    (
        "parameter-differs",
        "PostgreSQL runs with another value of a parameter than the cluster's configuration asks for",
    ),
    ("patroni-silent", "Patroni does not answer"),
    ("paused", "Patroni is paused"),
    ("pending-restart", "a setting waits for a restart of PostgreSQL"),
    ("pool-exhausted", "clients of a pooler wait for a connection to a server"),
    ("pooler-paused", "a pooler is paused"),
    ("pooler-silent", "PgBouncer does not answer"),
    ("postgres-silent", "PostgreSQL does not answer"),
    ("proxy-elsewhere", "HAProxy leads to another server than the primary"),
    ("proxy-silent", "HAProxy does not answer"),
    ("reboot-pending", "a change waits for a restart of the machine"),
    ("reboot-unknown", "Proxmox does not say whether a machine waits for a restart"),
    ("replay-paused", "a replica does not replay the WAL that it receives"),
    ("restore-untested", "the backups were not proved to restore for 14 days"),
    ("slot-lost", "a replication slot has lost WAL that its client needs"),
    ("synchronous-commit-lowered", "a role or database lowers `synchronous_commit`"),
    ("system-id-mismatch", "members hold different databases"),
    ("timeline-differs", "a replica is on another timeline"),
    ("two-primaries", "two members are not in recovery"),
    ("unit-failed", "a unit has failed"),
    ("watchdog-unarmed", "the watchdog device of a machine would not reset it"),
    ("without-tls", "a service answers without TLS"),
];

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        path::Path,
    };

    use super::*;

    /// Calls whose first argument is a code.
    const CALLS: [&str; 4] = ["Error::failed(", "Error::usage(", "Error::missing(", ".warn("];

    /// What else stands right before a code; there only words with a hyphen are codes.
    const PLACES: [&str; 10] = [
        "failed(",
        "missing(",
        "usage(",
        "find(",
        "findings.add(",
        ".notice(",
        ".silent(",
        "warning(",
        "code: ",
        "judge.add(",
    ];

    /// The source without its tests, by file.
    fn source() -> Vec<(String, String)> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = walkdir::WalkDir::new(&top).sort_by_file_name().into_iter().map(Result::unwrap);
        let files = files.filter(|file| file.path().extension().is_some_and(|end| end == "rs"));
        let files = files.filter(|file| !file.path().ends_with("error/codes.rs"));
        let texts = files.map(|file| {
            let text = fs::read_to_string(file.path()).unwrap();
            let product = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
            (file.path().strip_prefix(&top).unwrap().display().to_string(), product)
        });
        texts.filter(|(name, _)| !name.ends_with("tests.rs") && !name.contains("/tests/")).collect()
    }

    fn all() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        ERRORS.iter().chain(WARNINGS).chain(PROBLEMS)
    }

    /// The text literal at the start of `text`, where it has the form of a code.
    fn literal(text: &str) -> Option<&str> {
        let (word, _) = text.trim_start().strip_prefix('"')?.split_once('"')?;
        let is_code = word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        is_code.then_some(word)
    }

    #[test]
    fn listed_codes_are_unique_and_explained() {
        let codes: BTreeSet<_> = all().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), all().count());
        for (code, meaning) in all() {
            assert!(literal(&format!("\"{code}\"")).is_some() && meaning.len() > 10, "{code}: {meaning}");
        }
    }

    /// What follows each `call`.
    fn after<'t>(text: &'t str, call: &'t str) -> impl Iterator<Item = &'t str> {
        text.match_indices(call).map(move |(at, _)| &text[at + call.len()..])
    }

    #[test]
    fn codes_in_the_source_are_listed() {
        let known: BTreeSet<&str> = all().map(|(code, _)| *code).collect();
        let (mut unknown, mut seen) = (BTreeSet::new(), 0);
        for (file, text) in source() {
            let of_kinds = after(&text, "Error::new(").filter_map(|rest| Some(rest.split_once(',')?.1));
            let calls = CALLS.iter().flat_map(|call| after(&text, call)).chain(of_kinds).filter_map(literal);
            let places = PLACES.iter().flat_map(|place| after(&text, place)).filter_map(literal);
            for code in calls.chain(places.filter(|word| word.contains('-'))) {
                seen += 1;
                if !known.contains(code) {
                    unknown.insert(format!("{file}: {code}"));
                }
            }
        }
        assert!(unknown.is_empty(), "not in src/error/codes.rs: {unknown:#?}");
        assert!(seen > 300, "the source is not read: {seen} codes");
    }

    #[test]
    fn listed_codes_are_used_in_the_source() {
        let constants = include_str!("codes.rs").lines().filter_map(|line| {
            let (name, code) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
            Some((code.trim_end_matches("\";"), name))
        });
        let constants: BTreeMap<&str, &str> = constants.collect();
        let source: String = source().into_iter().map(|(_, text)| text).collect();
        let unused = all().map(|(code, _)| *code).filter(|code| match constants.get(code) {
            Some(name) => !source.contains(&format!("codes::{name}")),
            None => !source.contains(&format!("\"{code}\"")),
        });
        assert_eq!(unused.collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn code_comparisons_use_constants() {
        let compared = source().into_iter().flat_map(|(file, text)| {
            let lines = text.lines().filter(|line| {
                line.contains(".code == \"")
                    || line.contains(".code != \"")
                    || line.contains(".code, \"") && line.contains("matches!")
            });
            lines.map(|line| format!("{file}: {}", line.trim())).collect::<Vec<_>>()
        });
        assert_eq!(compared.collect::<Vec<_>>(), [""; 0]);
    }
}
