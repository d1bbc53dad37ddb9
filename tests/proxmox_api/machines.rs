//! Guests of the simulated API that are containers of the local engine. A stop kills the container and a start starts it,
//! each in a task that ends later, so a stop is a loss of power. A migration locks the guest until its task ends; a container
//! restarts with it, a virtual machine continues to run.
//! A method that is not here is answered with an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::{Arc, Mutex},
};

use hyper::Method;
use serde_json::{Value, json};

use super::simulator::{Answer, TOKEN, World, refusal};

/// What guests run as, and the tasks that change them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machines {
    /// The container that a guest is, by its ID. A guest without one is an entry in a table.
    pub(crate) containers: BTreeMap<u32, String>,
    /// Guests that high availability manages.
    pub(crate) managed: BTreeSet<u32>,
    /// Held by a test while migrations are not to end.
    pub(crate) migration: Arc<Mutex<()>>,
    /// How each task ended, by its UPID; none while it runs.
    tasks: BTreeMap<String, Arc<Mutex<Option<String>>>>,
    /// Guests that migrate: the task, and the hypervisor that has them when it ends.
    migrating: BTreeMap<u32, (String, String)>,
}

impl Machines {
    /// Begins a task, and gives its UPID.
    fn begin(&mut self, node: &str, kind: &str, id: u32, work: impl FnOnce() -> String + Send + 'static) -> Value {
        let upid = format!("UPID:{node}:{:08X}:00003C4D:68000000:{kind}:{id}:{TOKEN}:", self.tasks.len() + 1);
        let ended = Arc::new(Mutex::new(None));
        self.tasks.insert(upid.clone(), Arc::clone(&ended));
        std::thread::spawn(move || {
            let status = work();
            *ended.lock().unwrap() = Some(status);
        });
        json!(upid)
    }
}

/// What the engine prints. Benchmarks use this file without the rest of the tests.
fn docker(args: &[&str]) -> String {
    let done = Command::new("docker").args(args).output().expect("docker is installed");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn has_power(container: &str) -> bool {
    docker(&["inspect", "--format", "{{.State.Running}}", container]).trim() == "true"
}

impl World {
    /// Puts the guests whose migration has ended on their hypervisors.
    pub(crate) fn settle(&mut self) {
        let Self { guests, machines, .. } = self;
        machines.migrating.retain(|id, (task, target)| {
            let ended = machines.tasks[task].lock().unwrap().is_some();
            if let Some(guest) = guests.get_mut(id).filter(|_| ended) {
                guest.node.clone_from(target);
                guest.config.remove("lock");
            }
            !ended
        });
    }

    fn is_running(&self, id: u32) -> bool {
        match self.machines.containers.get(&id) {
            Some(container) => has_power(container),
            None => self.guests[&id].running,
        }
    }

    /// The methods that stop, start and move guests, and those that tell of it.
    pub(super) fn answer_for_machines(
        &mut self,
        method: &Method,
        path: &[&str],
        values: &BTreeMap<String, String>,
    ) -> Answer {
        match (method.as_str(), path) {
            ("GET", ["nodes", node, kind @ ("qemu" | "lxc"), id, "status", "current"]) => {
                self.must(&format!("/vms/{id}"), "VM.Audit")?;
                let guest = self.guest(node, kind, id)?;
                let (name, lock) = (guest.config["name"].clone(), guest.config.get("lock").cloned());
                let number: u32 = id.parse().unwrap();
                let status = if self.is_running(number) { "running" } else { "stopped" };
                let managed = u8::from(self.machines.managed.contains(&number));
                let mut current = json!({"status": status, "vmid": number, "name": name, "ha": {"managed": managed}});
                if let Some(lock) = lock {
                    current["lock"] = lock;
                }
                Ok(current)
            }
            ("POST", ["nodes", node, kind @ ("qemu" | "lxc"), id, "status", action @ ("start" | "stop")]) => {
                self.must(&format!("/vms/{id}"), "VM.PowerMgmt")?;
                let lock = self.guest(node, kind, id)?.config.get("lock").cloned();
                let number: u32 = id.parse().unwrap();
                let running = self.is_running(number);
                let word = if *kind == "qemu" { "VM" } else { "CT" };
                let refused = match (lock, *action) {
                    (Some(lock), _) => Some(format!("{word} is locked ({})", lock.as_str().unwrap_or_default())),
                    (None, "start") if running => Some(format!("{word} {id} already running")),
                    (None, "stop") if !running => Some(format!("{word} {id} not running")),
                    _ => None,
                };
                let container = self.machines.containers.get(&number).cloned();
                if refused.is_none() {
                    self.guest(node, kind, id)?.running = *action == "start";
                }
                let words: &[&str] = if *action == "stop" { &["kill"] } else { &["start"] };
                let name = format!("{}{action}", if *kind == "qemu" { "qm" } else { "vz" });
                Ok(self.machines.begin(node, &name, number, move || match (refused, container) {
                    (Some(refused), _) => refused,
                    (None, Some(container)) => {
                        docker(&[words, &[container.as_str()]].concat());
                        "OK".to_owned()
                    }
                    (None, None) => "OK".to_owned(),
                }))
            }
            ("POST", ["nodes", node, kind @ ("qemu" | "lxc"), id, "migrate"]) => {
                self.must(&format!("/vms/{id}"), "VM.Migrate")?;
                let target = values.get("target").cloned().unwrap_or_default();
                self.node(&target)?;
                let (number, container) = (id.parse().unwrap(), *kind == "lxc");
                let lock = self.guest(node, kind, id)?.config.get("lock").cloned();
                if let Some(lock) = lock {
                    let word = if container { "CT" } else { "VM" };
                    return Err(refusal(500, format!("{word} is locked ({})", lock.as_str().unwrap_or_default())));
                }
                let running = self.is_running(number);
                let with = |option: &str| values.get(option).is_some_and(|value| value == "1");
                if running && !with("online") && !(container && with("restart")) {
                    return Err(refusal(
                        500,
                        match container {
                            true => "Can't migrate running container without --online or --restart",
                            false => "can't migrate running VM without --online",
                        },
                    ));
                }
                self.guest(node, kind, id)?.config.insert("lock".to_owned(), json!("migrate"));
                // Proxmox has no live migration of containers.
                let restarted = self.machines.containers.get(&number).filter(|_| running && container).cloned();
                let (name, ends) =
                    (if container { "vzmigrate" } else { "qmigrate" }, Arc::clone(&self.machines.migration));
                let task = self.machines.begin(node, name, number, move || {
                    let _free = ends.lock().unwrap();
                    for action in ["stop", "start"] {
                        restarted.iter().for_each(|container| drop(docker(&[action, container])));
                    }
                    "OK".to_owned()
                });
                self.machines.migrating.insert(number, (task.as_str().unwrap().to_owned(), target));
                Ok(task)
            }
            ("GET", ["nodes", node, "tasks", upid, "status"]) => {
                self.node(node)?;
                let task = self.machines.tasks.get(*upid).ok_or_else(|| refusal(500, "no such task"))?;
                Ok(match &*task.lock().unwrap() {
                    Some(ended) => json!({"upid": upid, "status": "stopped", "exitstatus": ended}),
                    None => json!({"upid": upid, "status": "running"}),
                })
            }
            _ => Err(refusal(501, format!("Method '{method} /{}' not implemented", path.join("/")))),
        }
    }
}
