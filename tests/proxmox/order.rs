//! Pool, machines, records: made in this order, and taken away in reverse, each record on its own.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use super::{Kind, VM, both, tree::Tree};
use crate::{
    common::recorded::{Hypervisor, Interfaces, Machine},
    dns::servers::{self, KEY, Server, ZONE},
};

const UUID: &str = "4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11";

/// Guests with a bridge of their own in front, and an IPv6 address before the IPv4 one. One has no
/// address until its agent is started.
struct Guests {
    agent: Arc<AtomicBool>,
}

impl Guests {
    fn interfaces(&self, machine: &Machine) -> Interfaces {
        let lo = ("lo".to_owned(), vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        if machine.name().ends_with("node3") && !self.agent.load(Ordering::Relaxed) {
            return vec![lo];
        }
        let bridge = ("docker0".to_owned(), vec![IpAddr::from([172, 17, 0, 1])]);
        let last = machine.name().as_bytes().last().copied().unwrap();
        let v6: Ipv6Addr = "2001:db8::60".parse().unwrap();
        let own = ("eth0".to_owned(), vec![v6.into(), IpAddr::from([192, 0, 2, last])]);
        vec![lo, bridge, own]
    }
}

#[tonic::async_trait]
impl Hypervisor for Guests {
    async fn create(&self, machine: &Machine) -> Result<Interfaces, String> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(self.interfaces(machine))
    }

    async fn read(&self, machine: &Machine, _known: Interfaces) -> Result<Option<Interfaces>, String> {
        Ok(Some(self.interfaces(machine)))
    }
}

#[test]
fn resources_are_made_pool_first_and_destroyed_pool_last() {
    both(life);
}

fn life(kind: Kind) {
    let server = Server::start(servers::Kind::Bind);
    let agent = Arc::new(AtomicBool::new(false));
    let (tree, stack) = (Tree::new(Guests { agent: agent.clone() }), kind.stack());
    tree.init(&stack);
    let dns = json!({"zone": ZONE, "server": server.address, "port": server.port, "key_name": KEY});
    let instances = json!({"node1": {}, "node2": {}, "node3": {}});
    tree.set(&stack, &json!({"app": "pg", "pool_id": "p", "cluster_uuid": UUID, "instances": instances, "dns": dns}));
    let record = |key: &str| format!("module.dns[0].hactl_dns_record_set.this[\"{key}\"]");
    let pool = "module.pool[0].proxmox_virtual_environment_pool.this".to_owned();
    let keys = ["node1", "node2", "node3"];

    // The record of the machine without an address fails, and no other.
    let made = tree.apply(&stack);
    assert_eq!(made.code, 1, "{}", made.text);
    let said = if kind.name == VM.name {
        "VM IP address is not available. Ensure QEMU guest agent is running."
    } else {
        "Container IP address is not available. Ensure its network interface is up and has an IPv4 address."
    };
    assert!(made.text.contains(said) && made.text.contains("node3 has no address"), "{}", made.text);
    let steps = made.steps();
    let at = |step: &str| steps.iter().position(|one| one == step).unwrap_or_else(|| panic!("no {step}: {steps:#?}"));
    let first = |prefix: &str| steps.iter().position(|one| one.contains(prefix)).unwrap();
    let last = |prefix: &str| steps.iter().rposition(|one| one.contains(prefix)).unwrap();
    assert!(
        at(&format!("complete {pool}")) < first(&format!("start module.machines.{}", kind.type_name)),
        "{steps:#?}"
    );
    assert!(last(kind.type_name) < first("hactl_dns_record_set"), "{steps:#?}");
    // How many of them are under way at once is measured by `benches/dns.rs`: on a busy machine one may end before another begins.
    keys.iter().for_each(|key| assert!(at(&format!("start {}", record(key))) > 0));
    at(&format!("errored {}", record("node3")));
    ["node1", "node2"].iter().for_each(|key| assert!(at(&format!("complete {}", record(key))) > 0));
    assert_eq!(server.dig("pg-prod-node1", "A"), ["300 IN A 192.0.2.49"]);
    assert_eq!(server.dig("pg-prod-node2", "A"), ["300 IN A 192.0.2.50"]);

    // The agent comes up: its record is all that is left to do.
    agent.store(true, Ordering::Relaxed);
    assert_eq!(tree.plan(&stack), [(record("node3"), "create".to_owned())]);
    tree.apply(&stack).good();
    assert_eq!(tree.plan(&stack), []);
    assert_eq!(server.dig("pg-prod-node3", "A"), ["300 IN A 192.0.2.51"]);
    let ips = json!({"node1": "192.0.2.49", "node2": "192.0.2.50", "node3": "192.0.2.51"});
    assert_eq!(tree.output(&stack, "vm_target_ips"), ips);
    let vms = tree.output(&stack, "vms");
    let name = json!({"id": tree.output(&stack, "resource_ids")["node1"], "name": "pg-prod-node1", "ipv4": "192.0.2.49",
        "ssh_host": null, "ssh_port": null, "host_key": null, "data_device": null});
    assert_eq!(vms["node1"], name);

    let gone = tree.destroy(&stack).good();
    let steps = gone.steps();
    let first = |prefix: &str| steps.iter().position(|one| one.contains(prefix)).unwrap();
    let last = |prefix: &str| steps.iter().rposition(|one| one.contains(prefix)).unwrap();
    assert!(last("hactl_dns_record_set") < first(kind.type_name), "{steps:#?}");
    assert!(last(kind.type_name) < first(&pool), "{steps:#?}");
    assert_eq!(server.status("pg-prod-node1"), "NXDOMAIN");

    // What the provider did says the same as what Terraform said.
    let done = tree.recorded.done();
    assert!(done[0].starts_with("create proxmox_virtual_environment_pool"), "{done:#?}");
    assert!(done[7].starts_with("destroy proxmox_virtual_environment_pool") && done.len() == 8, "{done:#?}");
}
