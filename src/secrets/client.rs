//! What clients on this machine use: psql, ssh, openssl and curl, under `.hactl/NAME/client`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use zeroize::Zeroizing;

use super::{
    ssh_config::{SshIdentities, ssh_config},
    store,
    vault::Vault,
};
use crate::{
    context::ClusterDir,
    error::{Error, Result},
    fleet::Fleet,
    model::{Account, Authority, Certificate, DatabaseName, SSH_PORT},
};

/// The port of PostgreSQL on every node.
const POSTGRES_PORT: u16 = 5432;

/// The files of `.hactl/NAME/client`, by their names.
#[derive(Clone, Copy, Debug)]
pub struct ClientFiles;

impl ClientFiles {
    /// The authority of PostgreSQL's certificates, for `sslrootcert`.
    pub const POSTGRESQL_CA: &str = "ca-postgresql.pem";
    /// The authority of etcd's and Patroni's certificates.
    pub const CONTROL_CA: &str = "control-ca.pem";
    /// The controller's certificate for etcd and Patroni's REST API, and its key.
    pub const CERTIFICATE: &str = "client.pem";
    pub const KEY: &str = "client.key";
    /// The SSH key of the nodes, and the host keys that are known.
    pub const SSH_KEY: &str = "id_ed25519";
    pub const KNOWN_HOSTS: &str = "known_hosts";
    /// How `ssh` reaches the nodes.
    pub const SSH_CONFIG: &str = "ssh_config";
    /// libpq's passfile.
    pub const PASSFILE: &str = "pgpass";
}

/// Writes the client files of the cluster; `databases` maps each database to its owner.
///
/// Files that are as they should be stay untouched.
///
/// # Errors
/// When a file cannot be written, or the secrets file is older than a certificate among them.
pub fn write_client_files(
    dir: &ClusterDir,
    vault: &Vault,
    fleet: &Fleet,
    databases: &BTreeMap<DatabaseName, DatabaseName>,
    identities: &SshIdentities,
) -> Result<()> {
    let target = dir.client();
    let failed = |object: &dyn std::fmt::Display, error: &std::io::Error| {
        Error::failed("client-files", "write the client file", object).source(error)
    };
    store::private_dir(&target).map_err(|error| failed(&target.display(), &error))?;
    let had = Zeroizing::new(std::fs::read_to_string(target.join(ClientFiles::PASSFILE)).unwrap_or_default());
    let passfile = Zeroizing::new(with_former(passfile(vault, fleet, databases), &had));
    let known_hosts = known_hosts(fleet);
    let certificate = vault.client(Certificate::CONTROLLER)?;
    let path = |name: &str| target.join(name);
    let ssh_config = ssh_config(fleet, &path(ClientFiles::SSH_CONFIG), &path(ClientFiles::KNOWN_HOSTS), identities);
    let files: [(&str, &str, u32); 8] = [
        (ClientFiles::POSTGRESQL_CA, vault.authority(Authority::POSTGRESQL)?, 0o644),
        (ClientFiles::CONTROL_CA, vault.authority(Authority::CONTROL)?, 0o644),
        (ClientFiles::CERTIFICATE, &certificate.certificate, 0o644),
        (ClientFiles::KEY, certificate.key.expose(), 0o600),
        (ClientFiles::SSH_KEY, vault.ssh_key().private.expose(), 0o600),
        (ClientFiles::KNOWN_HOSTS, &known_hosts, 0o644),
        (ClientFiles::SSH_CONFIG, &ssh_config, 0o644),
        (ClientFiles::PASSFILE, &passfile, 0o600),
    ];
    for (name, text, mode) in files {
        let path = target.join(name);
        store::update(&path, text.as_bytes(), mode).map_err(|error| failed(&path.display(), &error))?;
    }
    Ok(())
}

/// A line for every host with PostgreSQL, by address and by name, and owner, whatever the database. The owner of a database
/// that is not made yet has no password, and no line.
fn passfile(vault: &Vault, fleet: &Fleet, databases: &BTreeMap<DatabaseName, DatabaseName>) -> String {
    let mut text = String::new();
    let passwords = vault.passwords();
    let owners: BTreeSet<_> = databases.values().collect();
    for node in fleet.data_nodes() {
        // Behind a bastion it is reached by a port of this machine, another one each time.
        let mut ports = vec![POSTGRES_PORT.to_string()];
        ports.extend(node.node.pooler_port.map(|port| port.to_string()));
        if node.ssh.bastion.is_some() {
            ports = vec!["*".to_owned()];
        }
        let hosts = [node.address.to_string(), node.hostname().to_string()];
        for (host, port) in hosts.iter().flat_map(|host| ports.iter().map(move |port| (host, port))) {
            for owner in &owners {
                let Some(password) = passwords.get(&Account::Owner((*owner).clone())) else { continue };
                // Hosts and names hold neither of the two characters that are escaped; a given password may.
                let password = Zeroizing::new(password.expose().replace('\\', "\\\\").replace(':', "\\:"));
                let _ = writeln!(text, "{host}:{port}:*:{owner}:{}", *password);
            }
        }
    }
    text
}

/// The lines of the passfile, and after them the former lines of other hosts and owners: the file of the cluster may have
/// been edited and only planned, and hactl never drops a role, so clients go on using them.
fn with_former(mut lines: String, had: &str) -> String {
    let login = |line: &str| line.splitn(5, ':').take(4).map(str::to_owned).collect::<Vec<_>>();
    let logins: BTreeSet<_> = lines.lines().map(login).collect();
    for line in had.lines().filter(|line| !logins.contains(&login(line))) {
        lines.push_str(line);
        lines.push('\n');
    }
    lines
}

/// The pinned host keys in OpenSSH's form, those of bastions among them: a port other than 22 goes with the host in
/// brackets.
#[must_use]
pub fn known_hosts(fleet: &Fleet) -> String {
    let machines = fleet.nodes.values().map(|node| (&node.ssh.host, node.ssh.port, &node.ssh.host_key));
    let hops = fleet.nodes.values().filter_map(|node| node.ssh.bastion.as_ref());
    let hops = hops.map(|hop| (&hop.host, hop.port, &hop.host_key));
    let mut lines: Vec<String> = Vec::new();
    for (host, port, key) in machines.chain(hops) {
        let Some(key) = key else { continue };
        let line = match port {
            SSH_PORT => format!("{host} {}\n", key.trim()),
            port => format!("[{host}]:{port} {}\n", key.trim()),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.concat()
}
