//! Power of machines on Proxmox: a stop is the loss of power, and a start ends it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Api,
    facts::{guests, has_quorum},
    trouble::Trouble,
};
use crate::{
    error::{Error, Result, codes},
    model::InstanceKey,
};

/// How long Proxmox may take for one stop or start, and then to show it.
const DONE_WITHIN: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(200);

/// What the token needs for it, on each machine.
const PRIVILEGE: &str = "VM.PowerMgmt";

/// A machine by its ID. Its name is checked, because Proxmox gives the ID of a removed machine to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxmoxMachine {
    pub id: u32,
    pub name: String,
}

/// The API, and the machines that it stops and starts.
#[derive(Debug)]
pub(in crate::platform) struct ProxmoxPower {
    pub(in crate::platform) api: Api,
    pub(in crate::platform) machines: BTreeMap<InstanceKey, ProxmoxMachine>,
}

/// Where a machine is now, as the first part of the path of its methods: hypervisor, kind and ID.
struct Place {
    hypervisor: String,
    kind: &'static str,
    id: String,
}

impl Place {
    fn path<'a>(&'a self, rest: [&'a str; 2]) -> [&'a str; 6] {
        ["nodes", &self.hypervisor, self.kind, &self.id, rest[0], rest[1]]
    }
}

impl ProxmoxPower {
    /// Why a machine cannot be stopped and started for a drill; none if it can.
    ///
    /// # Errors
    /// When Proxmox does not say.
    pub(in crate::platform) async fn obstacle(&self, key: &InstanceKey) -> Result<Option<String>> {
        let place = match self.place(key).await {
            Err(error) if error.code == codes::POWER_FOREIGN => return Ok(Some(error.causes.join("; "))),
            place => place?,
        };
        let path = format!("/vms/{}", place.id);
        let answer = self.ask(&["access", "permissions"], &[("path", &path)]).await?;
        if answer[&path][PRIVILEGE].is_null() {
            return Ok(Some(format!("{key}: the token {} lacks {PRIVILEGE} on {path}", self.api.server.token)));
        }
        let current = self.current(&place).await?;
        // A stop by high availability waits for its manager, and so would the start.
        if current["ha"]["managed"] == 1 || current["ha"]["managed"] == "1" {
            return Ok(Some(format!(
                "{key}: Proxmox's high availability manages the machine {}, and would delay its stop and start; \
                 remove it with `ha-manager remove` to drill it",
                place.id
            )));
        }
        let lock = current["lock"].as_str().filter(|lock| !lock.is_empty());
        if let Some(lock) = lock {
            return Ok(Some(format!("{key}: Proxmox has locked the machine {} ({lock})", place.id)));
        }
        // A stop needs no quorum, but a start does. Only tokens with Sys.Audit learn of it before.
        let lost = has_quorum(&self.api).await == Some(false);
        Ok(lost.then(|| {
            format!("{key}: the Proxmox cluster has no quorum, so it would stop the machine and not start it again")
        }))
    }

    pub(in crate::platform) async fn off(&self, key: &InstanceKey) -> Result<()> {
        let place = self.place(key).await?;
        // Proxmox refuses to stop a machine that does not run.
        match self.is_running(&place).await? {
            true => self.run(key, &place, "stop").await,
            false => Ok(()),
        }
    }

    /// A machine that runs is left alone.
    pub(in crate::platform) async fn on(&self, key: &InstanceKey) -> Result<()> {
        let place = self.place(key).await?;
        if self.is_running(&place).await? {
            return Ok(());
        }
        self.run(key, &place, "start").await?;
        match self.is_running(&place).await? {
            true => Ok(()),
            false => Err(failed("start", key).cause("Proxmox reports that it does not run")),
        }
    }

    pub(in crate::platform) async fn is_on(&self, key: &InstanceKey) -> Result<bool> {
        self.is_running(&self.place(key).await?).await
    }

    /// Where it is: a machine may have moved to another hypervisor.
    async fn place(&self, key: &InstanceKey) -> Result<Place> {
        let foreign = |cause: String| Error::failed(codes::POWER_FOREIGN, "power on", key).cause(cause);
        let machine = self.machines.get(key).ok_or_else(|| foreign(format!("{key} has no ID on Proxmox")))?;
        let guests = guests(&self.api).await.map_err(|trouble| self.explain(&trouble))?;
        let Some(guest) = guests.get(&machine.id) else {
            return Err(foreign(format!("{key}: Proxmox shows no machine {} to the token", machine.id)));
        };
        if guest.name != machine.name {
            return Err(foreign(format!(
                "{key}: the machine {} is called {}, not {}",
                machine.id, guest.name, machine.name
            )));
        }
        let kind = if guest.container { "lxc" } else { "qemu" };
        Ok(Place { hypervisor: guest.hypervisor.clone(), kind, id: machine.id.to_string() })
    }

    async fn is_running(&self, place: &Place) -> Result<bool> {
        Ok(self.current(place).await?["status"] == "running")
    }

    async fn current(&self, place: &Place) -> Result<Value> {
        self.ask(&place.path(["status", "current"]), &[]).await
    }

    /// Starts a task of Proxmox, and waits for its end.
    async fn run(&self, key: &InstanceKey, place: &Place, action: &str) -> Result<()> {
        let task = self.api.post(&place.path(["status", action])).await.map_err(|trouble| self.explain(&trouble))?;
        let task = task.as_str().ok_or_else(|| failed(action, key).cause("Proxmox named no task"))?;
        let waited = async {
            loop {
                let status = self.ask(&["nodes", &place.hypervisor, "tasks", task, "status"], &[]).await?;
                if status["status"] == "stopped" {
                    return Ok::<_, Error>(status["exitstatus"].as_str().unwrap_or_default().to_owned());
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let ended = tokio::time::timeout(DONE_WITHIN, waited)
            .await
            .map_err(|_| failed(action, key).cause(format!("the task {task} runs for {} s", DONE_WITHIN.as_secs())))?;
        match ended? {
            ended if ended == "OK" || ended.starts_with("WARNINGS") => Ok(()),
            ended => Err(failed(action, key)
                .cause(ended)
                .hint(format!("Check the task in the log of hypervisor {}", place.hypervisor))),
        }
    }

    async fn ask(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value> {
        self.api.get(path, query).await.map_err(|trouble| self.explain(&trouble))
    }

    fn explain(&self, trouble: &Trouble) -> Error {
        trouble.explain(&self.api.server, "power machines off and on at")
    }
}

fn failed(action: &str, key: &InstanceKey) -> Error {
    Error::failed("power", format!("{action} with Proxmox's API the machine"), key)
}
