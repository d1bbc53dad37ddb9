//! Guests of the simulated API that are containers of the local engine. A stop kills the container and a start starts it,
//! each in a task that ends later, so a stop is a loss of power. A migration locks the guest until its task ends; a container
//! restarts with it, a virtual machine continues to run. A clone is locked until its task ends, and goes on without the one
//! that asked for it.
//! A method that is not here is answered with an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::{Arc, Mutex},
};

use hyper::Method;
use serde_json::{Value, json};

use super::simulator::{Answer, Guest, Refusal, TOKEN, World, refusal};

/// What guests run as, and the tasks that change them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machines {
    /// The container that a guest is, by its ID. A guest without one is an entry in a table.
    pub(crate) containers: BTreeMap<u32, String>,
    /// Guests that high availability manages.
    pub(crate) managed: BTreeSet<u32>,
    /// Held by a test while migrations are not to end.
    pub(crate) migration: Arc<Mutex<()>>,
    /// Held by a test while clones are not to end.
    pub(crate) cloning: Arc<Mutex<()>>,
    /// How each task ended, by its UPID; none while it runs.
    tasks: BTreeMap<String, Arc<Mutex<Option<String>>>>,
    /// Guests that migrate: the task, and the hypervisor that has them when it ends.
    migrating: BTreeMap<u32, (String, String)>,
    /// Guests that a task clones or removes, and whether they are there when it ends.
    changing: BTreeMap<u32, (String, bool)>,
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
        machines.changing.retain(|id, (task, stays)| {
            let ended = machines.tasks[task].lock().unwrap().is_some();
            if ended && !*stays {
                guests.remove(id);
            } else if let Some(guest) = guests.get_mut(id).filter(|_| ended) {
                guest.config.remove("lock");
            }
            !ended
        });
    }

    /// Refuses a guest that a task holds, in the words of its kind.
    fn unlocked(&mut self, node: &str, kind: &str, id: &str) -> Result<(), Refusal> {
        let word = if kind == "qemu" { "VM" } else { "CT" };
        match self.guest(node, kind, id)?.config.get("lock") {
            Some(lock) => Err(refusal(500, format!("{word} is locked ({})", lock.as_str().unwrap_or_default()))),
            None => Ok(()),
        }
    }

    /// Makes a full clone of a virtual machine, which has the disks of the original and no tags.
    fn clone_of(&mut self, node: &str, id: &str, values: &BTreeMap<String, String>) -> Answer {
        self.must(&format!("/vms/{id}"), "VM.Clone")?;
        let unsound = || refusal(400, "Parameter verification failed.");
        let value = |name: &str| values.get(name).cloned();
        let new: u32 = value("newid").and_then(|id| id.parse().ok()).ok_or_else(unsound)?;
        let pool = value("pool");
        let by_pool = pool.as_ref().is_some_and(|pool| self.may(&format!("/pool/{pool}"), &["VM.Allocate"]));
        if !by_pool {
            self.must(&format!("/vms/{new}"), "VM.Allocate")?;
        }
        if !self.quorate {
            return Err(refusal(500, "cluster not ready - no quorum?"));
        }
        if let Some(guest) = self.guests.get(&new) {
            return Err(refusal(500, format!("VM {new} already exists on node '{}'", guest.node)));
        }
        self.unlocked(node, "qemu", id)?;
        let target = value("target").unwrap_or_else(|| node.to_owned());
        self.node(&target)?;
        let mut config = self.guest(node, "qemu", id)?.config.clone();
        let storage = value("storage");
        for (_, disk) in config.iter_mut().filter(|(name, _)| name.starts_with("scsi")) {
            let Some((volume, options)) = disk.as_str().and_then(|disk| disk.split_once(',')) else { continue };
            let place = storage.as_deref().unwrap_or_else(|| volume.split(':').next().unwrap_or_default());
            *disk = json!(format!("{place}:vm-{new}-disk-0,{options}"));
        }
        config.remove("tags");
        config.insert("name".to_owned(), json!(value("name").ok_or_else(unsound)?));
        config.insert("lock".to_owned(), json!("clone"));
        let guest = Guest { pool, running: false, config, ..Guest::new("qemu", &target, "") };
        self.guests.insert(new, guest);
        let ends = Arc::clone(&self.machines.cloning);
        let number = id.parse().unwrap();
        let task = self.machines.begin(node, "qmclone", number, move || {
            let _free = ends.lock().unwrap();
            "OK".to_owned()
        });
        self.machines.changing.insert(new, (task.as_str().unwrap().to_owned(), true));
        Ok(task)
    }

    /// Lets a disk of a virtual machine grow: to a size, or by one after a plus.
    fn resize(&mut self, node: &str, id: &str, values: &BTreeMap<String, String>) -> Answer {
        self.must(&format!("/vms/{id}"), "VM.Config.Disk")?;
        self.unlocked(node, "qemu", id)?;
        let value = |name: &str| values.get(name).map(String::as_str).unwrap_or_default();
        let gb = |text: &str| text.strip_suffix('G')?.parse::<u64>().ok();
        let config = &mut self.guest(node, "qemu", id)?.config;
        let disk = config.get_mut(value("disk")).and_then(|disk| Some((disk.as_str()?.to_owned(), disk)));
        let (text, disk) = disk.ok_or_else(|| refusal(500, format!("disk '{}' does not exist", value("disk"))))?;
        let size = |option: &str| gb(option.strip_prefix("size=")?);
        let now = text.split(',').find_map(size).ok_or_else(|| refusal(501, "this simulator resizes sizes in G"))?;
        let wanted = match value("size").strip_prefix('+') {
            Some(more) => gb(more).map(|more| now + more),
            None => gb(value("size")),
        };
        let wanted = wanted.ok_or_else(|| refusal(400, "Parameter verification failed."))?;
        if wanted < now {
            return Err(refusal(500, "shrinking disks is not supported"));
        }
        *disk = json!(text.replace(&format!("size={now}G"), &format!("size={wanted}G")));
        let number = id.parse().unwrap();
        Ok(self.machines.begin(node, "resize", number, || "OK".to_owned()))
    }

    /// Removes a guest with its disks.
    fn remove(&mut self, node: &str, kind: &str, id: &str) -> Answer {
        self.must(&format!("/vms/{id}"), "VM.Allocate")?;
        let word = if kind == "qemu" { "VM" } else { "CT" };
        if self.guest(node, kind, id)?.config.get("protection").is_some_and(|set| set == 1) {
            return Err(refusal(500, format!("can't remove {word} {id} - protection mode enabled")));
        }
        self.unlocked(node, kind, id)?;
        let number = id.parse().unwrap();
        if self.is_running(number) {
            return Err(refusal(500, format!("{word} {id} is running - destroy failed")));
        }
        self.guest(node, kind, id)?.config.insert("lock".to_owned(), json!("destroyed"));
        let container = self.machines.containers.remove(&number);
        let name = if kind == "qemu" { "qmdestroy" } else { "vzdestroy" };
        let task = self.machines.begin(node, name, number, move || {
            container.iter().for_each(|container| drop(docker(&["rm", "--force", "--volumes", container])));
            "OK".to_owned()
        });
        self.machines.changing.insert(number, (task.as_str().unwrap().to_owned(), false));
        Ok(task)
    }

    fn is_running(&self, id: u32) -> bool {
        match self.machines.containers.get(&id) {
            Some(container) => has_power(container),
            None => self.guests[&id].running,
        }
    }

    /// The methods that make, change, stop, start, move and remove guests, and those that tell of it.
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
                if *action == "start" && !self.quorate {
                    return Err(refusal(500, "cluster not ready - no quorum?"));
                }
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
                self.unlocked(node, kind, id)?;
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
            ("POST", ["nodes", node, "qemu", id, "clone"]) => self.clone_of(node, id, values),
            ("PUT", ["nodes", node, "qemu", id, "resize"]) => self.resize(node, id, values),
            ("DELETE", ["nodes", node, kind @ ("qemu" | "lxc"), id]) => self.remove(node, kind, id),
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
