//! Machines that the user has.

use serde_json::{Map, Value as Json, json};

use super::machines::Machines;
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
            ..Machine::default()
        };
        (key.clone(), machine)
    };
    hosts.machines.iter().map(machine).collect()
}

/// The values of the variables of the stack `hosts`.
pub(super) fn variables(machines: &Machines<'_>, hosts: &Hosts) -> Json {
    let plan = machines.plan;
    let known = plan.nodes.values().filter_map(|node| Some((node, hosts.machines.get(&node.key)?)));
    let instances: Map<String, Json> = known
        .map(|(node, machine)| {
            let mut values = json!({"hostname": node.hostname, "address": machine.address});
            let optional = [("ssh_host", json!(machine.ssh_host)), ("ssh_port", json!(machine.ssh_port))];
            for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_null()) {
                values[name] = value;
            }
            (node.key.to_string(), values)
        })
        .collect();
    json!({"cluster_uuid": machines.uuid, "instances": instances, "dns": plan.dns, "record": machines.record})
}
