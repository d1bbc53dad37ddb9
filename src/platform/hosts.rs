//! Machines that the user has.

use crate::{
    fleet::{Machine, Outputs},
    model::{HostMachine, Hosts, InstanceKey},
};

/// The machines as the file tells of them.
#[must_use]
pub fn as_written(hosts: &Hosts) -> Outputs {
    let machine = |(key, host): (&InstanceKey, &HostMachine)| {
        let machine = Machine {
            id: host.address.to_string(),
            name: key.to_string(),
            ipv4: Some(host.address),
            ssh_host: host.ssh_host.clone(),
            ssh_port: host.ssh_port,
            host_key: None,
        };
        (key.clone(), machine)
    };
    hosts.machines.iter().map(machine).collect()
}
