//! A run that is killed while Proxmox clones: the machine is there, and Terraform's state does not know it.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use super::{VM, program::Program};
use crate::{
    common::{
        Running,
        recorded::{Hypervisor, Interfaces, Machine, Nowhere},
        steps::Steps,
    },
    proxmox_api::simulator::{Guest, Simulator, World},
};

/// What the provider has Proxmox do: it goes on there, whoever has asked for it.
struct Cloning {
    world: Arc<Mutex<World>>,
    /// Whether the first clone has begun, which the provider never sees end.
    begun: AtomicBool,
}

#[tonic::async_trait]
impl Hypervisor for Cloning {
    async fn create(&self, machine: &Machine) -> Result<Interfaces, String> {
        let id = u32::try_from(machine.vm_id()).unwrap();
        let mut guest = Guest::new("qemu", "pve1", machine.name());
        let tags: Vec<_> =
            machine.attributes["tags"].as_array().unwrap().iter().filter_map(|tag| tag.as_str()).collect();
        guest.config.insert("tags".to_owned(), json!(tags.join(";")));
        self.world.lock().unwrap().guests.insert(id, guest);
        if !self.begun.swap(true, Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        Nowhere.create(machine).await
    }

    async fn destroy(&self, machine: &Machine) -> Result<(), String> {
        self.world.lock().unwrap().guests.remove(&u32::try_from(machine.vm_id()).unwrap());
        Ok(())
    }
}

#[test]
fn clone_of_a_killed_run_is_named_by_up_and_down() {
    let simulator = Simulator::start(World::default());
    let cloning = Cloning { world: simulator.shared(), begun: AtomicBool::new(false) };
    let program = Program::new(cloning, simulator);
    program.file("", "defaults: {roles: []}\ninstances: {web: {}}\n");

    let mut steps = Steps::new();
    steps.must("up, killed during a clone, leaves a machine that the state does not know", || {
        let mut up = Running::new(program.command(&["up", "pg"]));
        up.wait_for("machine", |event| {
            event["type"] == "resource" && event["address"].to_string().contains(VM.type_name)
        });
        while program.simulator.world().guests.len() < 4 {
            std::thread::sleep(Duration::from_millis(20));
        }
        up.kill();
        for pid in holders(&program.path(".hactl/pg/lock")) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    });

    steps.step("up, with a machine of a killed run, names it and makes no second machine", || {
        let (code, refused) = program.run(&["up", "pg"]);
        let said = refused["message"].as_str().unwrap().to_owned();
        assert!(
            code == 1 && said.contains("web: virtual machine 100 (pg-prod-web) on pve1 has this cluster's tag"),
            "{said}"
        );
        assert!(refused.to_string().contains("hactl import pg web=pve1/100"), "{refused:#}");
        assert_eq!(program.simulator.world().guests.len(), 4);
    });

    steps.step("down, with a machine of a killed run, names it and fails", || {
        let (code, left) = program.run(&["down", "pg", "--yes"]);
        let said = left["message"].as_str().unwrap().to_owned();
        assert!(
            code == 1 && said.contains("virtual machine 100 (pg-prod-web) on pve1 has this cluster's tag"),
            "{said}"
        );
        assert!(left.to_string().contains("qm destroy 100 --purge"), "{left:#}");
    });

    program.simulator.world().guests.remove(&100);
    steps.step("up and down, after that machine is removed, succeed", || {
        for args in [&["up", "pg"][..], &["down", "pg", "--yes"]] {
            let (code, summary) = program.run(args);
            assert_eq!((code, &summary["ok"]), (0, &true.into()), "{summary:#}");
        }
        assert_eq!(program.simulator.world().guests.len(), 3);
    });
    steps.finish();
}

/// The processes that hold a run's lock: what it started.
fn holders(lock: &std::path::Path) -> Vec<i32> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        if files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == lock)) {
            found.extend(process.file_name().to_str().and_then(|pid| pid.parse::<i32>().ok()));
        }
    }
    found
}
