//! Power of machines by Proxmox's API: what prevents it, and stops and starts of machines that move or are locked.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

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
    /// What hactl tells the watcher.
    order: String,
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
        Self { simulator, power, key: key("node1"), order: written }
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

/// Proxmox stops machines without a quorum, and does not start them.
#[test]
fn machine_of_proxmox_without_a_quorum_is_not_drilled_where_the_token_may_know() {
    let rig = Rig::new();
    rig.simulator.world().quorate = false;
    run(rig.power.check(&rig.key)).expect("the token lacks Sys.Audit");
    run(rig.power.off(&rig.key)).unwrap();
    let refused = run(rig.power.on(&rig.key)).unwrap_err();
    assert!(refused.to_string().contains("no quorum"), "{refused}");
    let said = Rig::obstacle(|world| {
        world.acl.get_mut("/").unwrap().insert("Sys.Audit".to_owned());
        world.quorate = false;
    });
    assert_eq!(said, "node1: the Proxmox cluster has no quorum, so it would stop the machine and not start it again");
}

/// The watcher of a drill, as hactl starts it: its lines, and its end.
fn watcher(rig: &Rig, after_ms: u32) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut watcher = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["power-watch", "--after-ms", &after_ms.to_string()])
        .env("PROXMOX_VE_API_TOKEN", token())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(watcher.stdin.as_mut().unwrap(), "{}", rig.order).unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    (watcher, lines)
}

#[test]
fn watcher_at_its_deadline_starts_the_machine_and_reports_it() {
    let rig = Rig::new();
    // Long enough for the stop that comes between.
    let (mut watcher, mut lines) = watcher(&rig, 5_000);
    run(rig.power.off(&rig.key)).unwrap();
    assert!(!rig.is_on());
    assert_eq!(lines.next().unwrap().unwrap(), "restored");
    assert!(rig.is_on() && watcher.wait().unwrap().success());
}

#[test]
fn watcher_of_a_running_machine_reports_power_and_changes_nothing() {
    let rig = Rig::new();
    let (mut watcher, mut lines) = watcher(&rig, 100);
    assert_eq!(lines.next().unwrap().unwrap(), "restored");
    assert!(watcher.wait().unwrap().success() && lines.next().is_none());
    let changed: Vec<_> =
        rig.simulator.world().asked.iter().filter(|asked| !asked.starts_with("GET ")).cloned().collect();
    assert_eq!(changed, [""; 0]);
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
