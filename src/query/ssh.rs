//! `hactl ssh`: the command line that opens a session to a machine.

use crate::{
    deployment::Deployment,
    error::{Error, Result},
    exec::Command,
    model::{InstanceKey, SshKeySource},
    secrets::ClientFiles,
};

/// `ssh` to a machine: of an adopted cluster as its file says.
///
/// # Errors
/// When the cluster has no such machine, or it was never configured from here.
pub fn ssh(deployment: &Deployment, node: &str) -> Result<Command> {
    let Deployment { cluster, known, .. } = deployment;
    let files = cluster.dir().client();
    let Some(hosts) = cluster.adopted() else {
        let (key, config) = (known.fleet(cluster)?.node(node)?.key().to_string(), files.join(ClientFiles::SSH_CONFIG));
        if !config.is_file() {
            let error = Error::failed("not-configured", "find the SSH configuration for", node);
            return Err(error
                .cause(format!("{} does not exist", config.display()))
                .hint(format!("Run `hactl configure {}` to write it", cluster.name())));
        }
        return Ok(Command::new("ssh").args(["-F".to_owned(), config.display().to_string(), key]));
    };
    let Some((_, host)) = hosts.machines.iter().find(|(key, _)| key.as_str() == node) else {
        let names: Vec<&str> = hosts.machines.keys().map(InstanceKey::as_str).collect();
        return Err(Error::usage("node-unknown", "find instance", node).cause(format!(
            "the instances of {} are {}",
            cluster.name(),
            names.join(", ")
        )));
    };
    let mut command = Command::new("ssh").args(["-p".to_owned(), host.port.to_string()]);
    if let SshKeySource::File(key) = &hosts.ssh_key {
        command = command.arg("-i").arg(key.display().to_string());
    }
    // The pinned host keys; without any, the user's own known_hosts file decides.
    let known_hosts = files.join(ClientFiles::KNOWN_HOSTS);
    if known_hosts.is_file() {
        let option = format!("UserKnownHostsFile=\"{}\"", known_hosts.display());
        command = command.args(["-o", &option, "-o", "StrictHostKeyChecking=yes"]);
    }
    Ok(command.arg(format!("{}@{}", host.user, host.host)))
}
