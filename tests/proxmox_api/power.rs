//! Power of machines by Proxmox's API: what prevents it, and stops and starts of machines that move or are locked.

use std::{collections::BTreeMap, sync::Arc};

use hactl::{
    context::{Context, Dirs},
    error::Error,
    event::Events,
    model::InstanceKey,
    platform::power::{Power, PowerOrder},
};
use serde_json::json;

use super::{
    key, migrate, run, settled,
    simulator::{Guest, SECRET, Simulator, TOKEN, World},
    token,
};

const ID: u32 = 100;

/// One virtual machine that runs on pve1, and hactl's power over it.
struct Rig {
    simulator: Simulator,
    power: Power,
    key: InstanceKey,
}

impl Rig {
    fn new() -> Self {
        let simulator = Simulator::start(World::default());
        simulator.world().guests.insert(ID, Guest::new("qemu", "pve1", "pg-prod-node1"));
        let order: PowerOrder = serde_json::from_value(json!({"proxmox": {
            "endpoint": simulator.endpoint(),
            "ca_cert": simulator.ca_cert(),
            "machines": {"node1": {"id": ID, "name": "pg-prod-node1"}},
        }}))
        .unwrap();
        let written = serde_json::to_string(&order).unwrap();
        assert!(!written.contains(SECRET), "{written}");
        let env = BTreeMap::from([("PROXMOX_VE_API_TOKEN".to_owned(), token())]);
        let dirs = Dirs::new(&std::env::temp_dir(), &env);
        let context = Context { dirs, env, events: Events::channel().0, stop: Default::default() };
        let power = run(order.open(&context)).unwrap();
        Self { simulator, power, key: key("node1") }
    }

    /// Why the machine cannot be powered off and on after this change.
    fn obstacle(change: impl FnOnce(&mut World)) -> String {
        let rig = Self::new();
        run(rig.power.check(&rig.key)).expect("nothing prevents it before the change");
        change(&mut rig.simulator.world());
        let error: Error = run(rig.power.check(&rig.key)).expect_err("something prevents it");
        error.causes.join("; ")
    }

    fn is_on(&self) -> bool {
        run(self.power.is_on(&self.key)).unwrap()
    }
}

#[test]
fn machine_on_proxmox_is_stopped_and_started_also_after_it_has_moved() {
    let rig = Rig::new();
    assert!(rig.is_on());
    for _ in 0..2 {
        run(rig.power.off(&rig.key)).unwrap();
        assert!(!rig.is_on(), "a stop of a stopped machine is no error");
    }
    migrate(&rig.simulator, ID, "pve2", "").unwrap();
    assert_eq!(settled(&rig.simulator, ID), "pve2");
    for _ in 0..2 {
        run(rig.power.on(&rig.key)).unwrap();
        assert!(rig.is_on(), "a start of a running machine is no error");
    }
    let changed: Vec<String> =
        rig.simulator.world().asked.iter().filter(|asked| asked.starts_with("POST ")).cloned().collect();
    assert_eq!(
        changed,
        [
            format!("POST /api2/json/nodes/pve1/qemu/{ID}/status/stop"),
            format!("POST /api2/json/nodes/pve1/qemu/{ID}/migrate"),
            format!("POST /api2/json/nodes/pve2/qemu/{ID}/status/start"),
        ]
    );
}

#[test]
fn machine_in_a_migration_is_locked_until_it_has_moved() {
    let rig = Rig::new();
    let refused = migrate(&rig.simulator, ID, "pve2", "").unwrap_err();
    assert_eq!(refused, "can't migrate running VM without --online");
    let migration = Arc::clone(&rig.simulator.world().machines.migration);
    let under_way = migration.lock().unwrap();
    migrate(&rig.simulator, ID, "pve2", "&online=1").unwrap();
    assert_eq!(migrate(&rig.simulator, ID, "pve3", "&online=1").unwrap_err(), "VM is locked (migrate)");
    let obstacle = run(rig.power.check(&rig.key)).unwrap_err();
    assert_eq!(obstacle.causes, ["node1: Proxmox has locked the machine 100 (migrate)"]);
    assert_eq!(run(rig.power.off(&rig.key)).unwrap_err().causes, ["VM is locked (migrate)"]);
    assert!(rig.is_on());
    drop(under_way);
    assert_eq!(settled(&rig.simulator, ID), "pve2");
    run(rig.power.check(&rig.key)).unwrap();
    run(rig.power.off(&rig.key)).unwrap();
    assert!(!rig.is_on());
}

#[test]
fn machine_whose_power_proxmox_withholds_is_not_drilled() {
    let audit = |world: &mut World, privileges: &[&str]| {
        let privileges = privileges.iter().map(|word| (*word).to_owned()).collect();
        world.acl.insert(format!("/vms/{ID}"), privileges);
    };
    let said = Rig::obstacle(|world| audit(world, &["VM.Audit"]));
    assert_eq!(said, format!("node1: the token {TOKEN} lacks VM.PowerMgmt on /vms/{ID}"));
    let said = Rig::obstacle(|world| audit(world, &["VM.PowerMgmt"]));
    assert_eq!(said, format!("node1: Proxmox shows no machine {ID} to the token"));
    let said = Rig::obstacle(|world| drop(world.guests.insert(ID, Guest::new("qemu", "pve1", "mail"))));
    assert_eq!(said, format!("node1: the machine {ID} is called mail, not pg-prod-node1"));
    let said = Rig::obstacle(|world| {
        world.guests.get_mut(&ID).unwrap().config.insert("lock".to_owned(), json!("backup"));
    });
    assert_eq!(said, format!("node1: Proxmox has locked the machine {ID} (backup)"));
    let said = Rig::obstacle(|world| world.machines.managed.extend([ID]));
    assert!(said.contains("high availability manages the machine 100"), "{said}");
}

#[test]
fn failed_task_of_proxmox_is_an_error_with_its_words() {
    let rig = Rig::new();
    run(rig.power.off(&rig.key)).unwrap();
    rig.simulator.world().guests.get_mut(&ID).unwrap().config.insert("lock".to_owned(), json!("backup"));
    let error = run(rig.power.on(&rig.key)).unwrap_err();
    assert_eq!((error.code, error.causes.as_slice()), ("power", &["VM is locked (backup)".to_owned()][..]));
    assert!(error.hint.unwrap().contains("hypervisor pve1"));
    rig.simulator.world().guests.get_mut(&ID).unwrap().config.remove("lock");
    run(rig.power.on(&rig.key)).unwrap();
    assert!(rig.is_on());
}
