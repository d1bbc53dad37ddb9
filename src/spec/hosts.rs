//! Machines in the file that hactl does not make -> where they are, or what makes them.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{
    checker::Checker,
    file::{HostsFile, InstanceFile, TerraformFile},
    power, ssh,
};
use crate::model::{
    AdoptedHosts, Distribution, Host, HostMachine, Hosts, InstanceKey, Passed, RootModule, SSH_PORT, SshKeySource,
    can_be_of_a_machine,
};

type Instances = BTreeMap<InstanceKey, Option<InstanceFile>>;

const ROOT: &str = "root";

/// Machines on which hactl makes a cluster.
pub(super) fn hosts(checker: &mut Checker<'_, '_>, written: HostsFile, instances: &Instances) -> Hosts {
    for (field, given) in [("superuser", written.superuser.is_some()), ("unit", written.unit.is_some())] {
        if given {
            let message = "only with `adopted: true`: hactl knows it for a cluster that it makes";
            checker.say(&["platform", "hosts", field], message);
        }
    }
    let none = InstanceFile::default();
    let port = written.ssh.as_ref().and_then(|ssh| ssh.port).unwrap_or(SSH_PORT);
    let mut endpoints: BTreeMap<(String, u16), &InstanceKey> = BTreeMap::new();
    let mut machines: BTreeMap<InstanceKey, HostMachine> = BTreeMap::new();
    for (key, instance) in instances {
        let instance = instance.as_ref().unwrap_or(&none);
        let Some(text) = &instance.address else {
            missing_address(checker, key);
            continue;
        };
        let at = ["instances", key.as_str(), "address"];
        let Some(address) = address(checker, &at, text) else { continue };
        if let Some((other, _)) = machines.iter().find(|(_, other)| other.address == address) {
            checker.say(&at, format!("{address} is also the address of {other}"));
        } else {
            let host = instance.ssh_host.clone().unwrap_or_else(|| address.to_string());
            let endpoint = (host, instance.ssh_port.unwrap_or(port));
            if let Some(other) = endpoints.get(&endpoint) {
                let message =
                    format!("SSH reaches the same machine as for {other}: {}, port {}", endpoint.0, endpoint.1);
                checker.say(&["instances", key.as_str()], message);
            }
            endpoints.insert(endpoint, key);
        }
        let machine = HostMachine { address, ssh_host: instance.ssh_host.clone(), ssh_port: instance.ssh_port };
        machines.insert(key.clone(), machine);
    }
    let release = release(checker, "hosts", written.release.as_deref());
    let ssh = ssh::ssh(checker, "hosts", written.ssh.unwrap_or_default(), ROOT, SshKeySource::User);
    let power = power::commands(checker, written.power, instances.len());
    Hosts { release, ssh, machines, power }
}

/// Machines of a running cluster that hactl did not make.
pub(super) fn adopted(checker: &mut Checker<'_, '_>, written: HostsFile, instances: &Instances) -> AdoptedHosts {
    let ssh = written.ssh.unwrap_or_default();
    if ssh.bastion.is_some() {
        checker.say(
            &["platform", "hosts", "ssh", "bastion"],
            "not supported yet: hactl cannot reach an adopted cluster through a bastion",
        );
    }
    if written.release.is_some() {
        checker
            .say(&["platform", "hosts", "release"], "not allowed for an adopted cluster: hactl installs nothing there");
    }
    let user = ssh.user.unwrap_or_else(|| ROOT.to_owned());
    let none = InstanceFile::default();
    let mut machines: BTreeMap<InstanceKey, Host> = BTreeMap::new();
    for (key, instance) in instances {
        let instance = instance.as_ref().unwrap_or(&none);
        if let Some(address) = instance.address.as_ref().filter(|address| address.contains('/')) {
            no_prefix(checker, &["instances", key.as_str(), "address"], address);
        }
        let Some(host) = instance.ssh_host.as_ref().or(instance.address.as_ref()).cloned() else {
            missing_address(checker, key);
            continue;
        };
        let host = Host { host, port: instance.ssh_port.or(ssh.port).unwrap_or(SSH_PORT), user: user.clone() };
        if let Some((other, _)) = machines.iter().find(|(_, other)| **other == host) {
            let message = format!("the same machine as {other}: {}, port {}", host.host, host.port);
            checker.say(&["instances", key.as_str()], message);
        }
        machines.insert(key.clone(), host);
    }
    let ssh_key = ssh::key(checker, ssh.key, SshKeySource::User);
    let power = power::commands(checker, written.power, instances.len());
    AdoptedHosts { machines, ssh_key, superuser: written.superuser, unit: written.unit, power }
}

/// The user's own module; none without its directory, which the schema has reported.
pub(super) fn root_module(checker: &mut Checker<'_, '_>, written: TerraformFile) -> Option<RootModule> {
    let pass = written.pass.unwrap_or_default();
    // Machines that are made with hactl's key accept it.
    let key = match pass.contains(&Passed::AuthorizedKeys) {
        true => SshKeySource::Vault,
        false => SshKeySource::User,
    };
    for (index, passed) in pass.iter().enumerate().filter(|(index, passed)| pass[..*index].contains(passed)) {
        let message = format!("`{}` is given twice", passed.as_str());
        checker.say(&["platform", "terraform", "pass", &index.to_string()], message);
    }
    Some(RootModule {
        release: release(checker, "terraform", written.release.as_deref()),
        ssh: ssh::ssh(checker, "terraform", written.ssh.unwrap_or_default(), ROOT, key),
        dir: checker.beside(&written.dir?),
        var_files: written.var_files.unwrap_or_default().iter().map(|path| checker.beside(path)).collect(),
        workspace: written.workspace,
        pass,
        destroy: written.destroy.unwrap_or(true),
    })
}

fn release(checker: &mut Checker<'_, '_>, platform: &str, written: Option<&str>) -> Distribution {
    let Some(text) = written else { return Distribution::Debian12 };
    text.parse().unwrap_or_else(|message: String| {
        checker.say(&["platform", platform, "release"], message);
        Distribution::Debian12
    })
}

fn missing_address(checker: &mut Checker<'_, '_>, key: &InstanceKey) {
    // An address of the wrong form has been reported already.
    if checker.has(&["instances", key.as_str(), "address"]) {
        return;
    }
    checker.say(&["instances", key.as_str()], "needs an `address`, for example `{address: 192.168.1.21}`");
}

fn no_prefix(checker: &mut Checker<'_, '_>, path: &[&str], text: &str) {
    let meant = text.split_once('/').map(|(host, _)| host.to_owned());
    checker.meant(path, format!("`{text}`: an address on platform hosts has no prefix"), meant);
}

/// An address that a member of the cluster can have.
fn address(checker: &mut Checker<'_, '_>, path: &[&str], text: &str) -> Option<Ipv4Addr> {
    if text.contains('/') {
        no_prefix(checker, path, text);
        return None;
    }
    let Ok(address) = text.parse::<Ipv4Addr>() else {
        let message = format!(
            "`{text}` is not an IPv4 address, which members of the cluster need to reach each other; put a host name \
             for SSH into `ssh_host`"
        );
        checker.say(path, message);
        return None;
    };
    if !can_be_of_a_machine(address) {
        checker
            .say(path, format!("{address} cannot be the address of a machine, because other machines cannot reach it"));
        return None;
    }
    Some(address)
}
