//! The configuration of `ssh` for the machines of a cluster: `ssh -F .hactl/NAME/client/ssh_config node1`.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use crate::fleet::{Fleet, Hop};

/// The files of private keys by which ssh logs in; none leaves the agent's.
#[derive(Clone, Debug, Default)]
pub struct SshIdentities {
    pub machine: Option<PathBuf>,
    /// Tried on a bastion besides, with the agent's.
    pub bastion: Vec<PathBuf>,
}

/// OpenSSH's configuration for the machines of `fleet`, itself to be kept at `config`.
#[must_use]
pub(super) fn ssh_config(fleet: &Fleet, config: &Path, known_hosts: &Path, identities: &SshIdentities) -> String {
    let mut text = format!(
        "# SSH configuration for the machines of {}, for `ssh -F`; hactl overwrites this file.\n",
        fleet.cluster
    );
    let mut hops: Vec<&Hop> = Vec::new();
    for node in fleet.nodes.values() {
        let ssh = &node.ssh;
        // By its key, and by the address that Ansible gives: whatever the command line says besides goes first.
        let _ = writeln!(text, "\nHost {} {}", node.key(), ssh.host);
        let _ = writeln!(text, "  HostName {}\n  Port {}\n  User {}", ssh.host, ssh.port, ssh.user);
        text.push_str(unpinned(ssh.host_key.as_deref()));
        if let Some(hop) = &ssh.bastion {
            let number = hops.iter().position(|other| *other == hop).unwrap_or_else(|| {
                hops.push(hop);
                hops.len() - 1
            });
            let command = format!("ssh -F {} -W '[%h]:%p' {}", word(config), alias(number));
            let _ = writeln!(text, "  ProxyCommand {command}");
        }
    }
    for (number, hop) in hops.into_iter().enumerate() {
        let _ = writeln!(text, "\nHost {}", alias(number));
        let _ = writeln!(text, "  HostName {}\n  Port {}\n  User {}", hop.host, hop.port, hop.user);
        text.push_str(unpinned(hop.host_key.as_deref()));
        // The user made the bastion, so it also accepts the user's keys.
        text.push_str("  IdentitiesOnly no\n");
        for path in identities.machine.iter().chain(&identities.bastion) {
            let _ = writeln!(text, "  IdentityFile {}", file(path));
        }
    }
    let _ = writeln!(text, "\nHost *\n  UserKnownHostsFile {}", file(known_hosts));
    text.push_str("  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  ConnectTimeout 10\n");
    match &identities.machine {
        Some(path) => drop(writeln!(text, "  IdentitiesOnly yes\n  IdentityFile {}", file(path))),
        None => text.push_str("  IdentitiesOnly no\n"),
    }
    text
}

/// hactl has not contacted a machine without a role: the user's own known_hosts file decides about its key.
const fn unpinned(host_key: Option<&str>) -> &'static str {
    match host_key {
        Some(_) => "",
        None => "  StrictHostKeyChecking ask\n  UserKnownHostsFile ~/.ssh/known_hosts\n",
    }
}

/// No instance's key has a dot.
fn alias(number: usize) -> String {
    format!("bastion.{}", number + 1)
}

/// A file's name as ssh's configuration has it: % begins a token there.
fn file(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%").replace('"', "\\\""))
}

/// The same as a word of the shell that runs a ProxyCommand.
fn word(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('%', "%%").replace('\'', r"'\''"))
}
