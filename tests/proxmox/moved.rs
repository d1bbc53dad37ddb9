//! Machines that Proxmox or a person has moved between hypervisors, and machines that the token no longer sees: hactl
//! between a recorded provider, which looks for a container only where its state has it, and a simulated API.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{CONTAINER, Kind, VM, program::Program};
use crate::{
    common::{
        recorded::{self, Hypervisor, Interfaces, Machine, Nowhere},
        steps::Steps,
    },
    proxmox_api::simulator::{Guest, Simulator, World},
};

/// The hypervisors of a simulated Proxmox.
pub(super) struct Hypervisors {
    pub(super) world: Arc<Mutex<World>>,
}

#[tonic::async_trait]
impl Hypervisor for Hypervisors {
    async fn create(&self, machine: &Machine) -> Result<Interfaces, String> {
        let id = u32::try_from(machine.vm_id()).unwrap();
        let kind = if machine.type_name == recorded::VM { "qemu" } else { "lxc" };
        let attributes = &machine.attributes;
        let mut guest = Guest::new(kind, attributes["node_name"].as_str().unwrap(), machine.name());
        let tags: Vec<_> = attributes["tags"].as_array().unwrap().iter().filter_map(|tag| tag.as_str()).collect();
        guest.config.insert("tags".to_owned(), json!(tags.join(";")));
        guest.config.insert("protection".to_owned(), json!(u8::from(attributes["protection"] == true)));
        {
            let mut world = self.world.lock().unwrap();
            if world.guests.contains_key(&id) {
                return Err(format!("unable to create CT {id}: CT {id} already exists on node"));
            }
            world.guests.insert(id, guest);
        }
        Nowhere.create(machine).await
    }

    async fn read(&self, machine: &Machine, known: Interfaces) -> Result<Option<Interfaces>, String> {
        let world = self.world.lock().unwrap();
        let guest = world.guests.get(&u32::try_from(machine.vm_id()).unwrap());
        let node = machine.attributes["node_name"].as_str().unwrap();
        // A virtual machine is found through the list, a container only on the hypervisor of the state.
        let found = guest.is_some_and(|guest| machine.type_name == recorded::VM || guest.node == node);
        Ok(found.then_some(known))
    }

    async fn destroy(&self, machine: &Machine) -> Result<(), String> {
        let (mut world, id) = (self.world.lock().unwrap(), u32::try_from(machine.vm_id()).unwrap());
        let guest = world.guests.get(&id).ok_or("it does not exist")?;
        if guest.config.get("protection") == Some(&json!(1)) {
            return Err(format!("can't remove CT {id} - protection mode enabled"));
        }
        world.guests.remove(&id);
        Ok(())
    }
}

fn program() -> Program {
    let simulator = Simulator::start(World::default());
    let hypervisors = Hypervisors { world: simulator.shared() };
    Program::new(hypervisors, simulator)
}

impl Program {
    /// The machines on Proxmox, without its templates: `100 pve1 pg-prod-web`.
    fn machines(&self) -> Vec<String> {
        let world = self.simulator.world();
        let machines = world.guests.iter().filter(|(_, guest)| !guest.template);
        machines.map(|(id, guest)| format!("{id} {} {}", guest.node, guest.config["name"].as_str().unwrap())).collect()
    }

    fn made(&self, kind: Kind) -> usize {
        let create = format!("create {}", kind.type_name);
        self.recorded.done().iter().filter(|line| line.starts_with(&create)).count()
    }
}

const LXC: &str = ", kind: lxc";

#[test]
fn container_that_moved_is_taken_over_and_never_made_twice() {
    let program = program();
    let file = |node: &str| {
        program.file(
            LXC,
            &format!("defaults: {{roles: []}}\ninstances: {{web: {{node: {node}, address: 192.0.2.41/24}}}}\n"),
        );
    };
    file("pve1");
    let mut steps = Steps::new();
    steps.must("up makes the container", || {
        let (code, summary) = program.run(&["up", "pg"]);
        assert_eq!((code, &summary["ok"]), (0, &true.into()), "{summary:#}");
        assert_eq!(program.machines(), ["100 pve1 pg-prod-web"]);
    });

    program.simulator.world().guests.get_mut(&100).unwrap().node = "pve2".to_owned();
    program.recorded.migrate(100, "pve2");
    steps.step("plan and up, with the container on another hypervisor, name it and make nothing", || {
        for args in [&["plan", "pg"][..], &["up", "pg"]] {
            let (code, refused) = program.run(args);
            let said = refused.to_string();
            assert!(
                code == 1 && said.contains("web: container 100 (pg-prod-web) is on hypervisor pve2"),
                "{refused:#}"
            );
            assert!(said.contains("Set `node: pve2` for web"), "{refused:#}");
        }
        assert_eq!(program.made(CONTAINER), 1);
    });

    file("pve2");
    steps.step("plan, with the line of the message, imports and creates nothing", || {
        let (code, planned) = program.run(&["plan", "pg"]);
        assert_eq!((code, &planned["refused"]), (0, &json!(null)), "{planned:#}");
        let resources = planned["changes"]["resources"].as_array().unwrap();
        let machine = resources.iter().find(|resource| resource["kind"] == CONTAINER.type_name).unwrap();
        assert_eq!(machine["action"], "import", "{planned:#}");
        assert_eq!(planned["places"][0]["hypervisor"], "pve2", "{planned:#}");
    });
    steps.step("up, with the line of the message, takes the container over from where it is", || {
        let (code, summary) = program.run(&["up", "pg"]);
        assert_eq!((code, &summary["ok"]), (0, &true.into()), "{summary:#}");
        assert_eq!(program.machines(), ["100 pve2 pg-prod-web"]);
        assert_eq!(program.made(CONTAINER), 1);
        let (code, planned) = program.run(&["plan", "pg", "--detailed-exitcode"]);
        assert_eq!(code, 0, "{planned:#}");
    });
    steps.step("down, with the container on the second hypervisor, removes it", || {
        let (code, summary) = program.run(&["down", "pg", "--yes"]);
        assert_eq!((code, &summary["ok"]), (0, &true.into()), "{summary:#}");
        assert_eq!(program.machines(), [""; 0]);
    });
    steps.finish();
}

#[test]
fn machine_that_moved_or_is_hidden_is_neither_replaced_nor_made_twice() {
    let program = program();
    program.file("", "defaults: {roles: []}\ninstances: {web: {}, db: {}}\n");
    let mut steps = Steps::new();
    steps.must("up makes the machines", || {
        let (code, summary) = program.run(&["up", "pg"]);
        assert_eq!((code, &summary["ok"]), (0, &true.into()), "{summary:#}");
    });
    let before = program.machines();

    for id in [100, 101] {
        program.simulator.world().guests.get_mut(&id).unwrap().node = "pve3".to_owned();
        program.recorded.migrate(id.into(), "pve3");
    }
    steps.step("plan, with virtual machines on another hypervisor, changes nothing and says where they are", || {
        let (code, planned) = program.run(&["plan", "pg", "--detailed-exitcode"]);
        assert_eq!(code, 0, "{planned:#}");
        let places = planned["places"].as_array().unwrap();
        assert_eq!(places.len(), 2, "{planned:#}");
        for place in places {
            assert_eq!((&place["hypervisor"], &place["file"]), (&"pve3".into(), &"pve1".into()), "{planned:#}");
        }
        // Each has its number from now on.
        let values =
            std::fs::read(program.path(".hactl/pg/terraform/stacks/proxmox-vm/terraform.tfvars.json")).unwrap();
        let values: serde_json::Value = serde_json::from_slice(&values).unwrap();
        let mut ids = ["web", "db"].map(|key| values["instances"][key]["vm_id"].as_u64().unwrap());
        ids.sort_unstable();
        assert_eq!(ids, [100, 101]);
    });

    steps.step("plan and up, with machines that the token no longer sees, are refused and make nothing", || {
        let less = program.simulator.world().acl["/"].iter().filter(|one| *one != "VM.Audit").cloned().collect();
        program.simulator.world().acl.insert("/vms/100".to_owned(), less);
        for args in [&["plan", "pg"][..], &["up", "pg"]] {
            let (code, refused) = program.run(args);
            assert!(code == 1 && refused.to_string().contains("machine 100 exists, but the token"), "{refused:#}");
        }
        program.simulator.world().acl.remove("/vms/100");
        assert_eq!((program.machines().len(), program.made(VM)), (before.len(), 2));
    });

    program.simulator.world().guests.remove(&101);
    program.recorded.remove(101);
    steps.step("up, with a machine that is really gone, makes it with its number", || {
        let (code, summary) = program.run(&["up", "pg"]);
        assert_eq!((code, &summary["ok"]), (0, &true.into()), "{summary:#}");
        let ids: Vec<u32> = program.simulator.world().guests.keys().copied().filter(|id| *id < 1000).collect();
        assert_eq!(ids, [100, 101]);
    });
    steps.step("up, with another machine under a number of the cluster, is refused", || {
        program.simulator.world().guests.insert(100, Guest::new("qemu", "pve1", "mail"));
        let (code, refused) = program.run(&["up", "pg"]);
        assert!(
            code == 1 && refused.to_string().contains("virtual machine 100 (mail) on pve1 has neither"),
            "{refused:#}"
        );
    });
    steps.finish();
}
