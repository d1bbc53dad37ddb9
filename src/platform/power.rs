//! The power of machines: what takes it from them and gives it back, on each platform.
//!
//! A [`PowerOrder`] says which machines and how, and may be handed to another process; opened, it is a [`Power`].

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    commands::CommandPower,
    local::{
        Engine,
        power::{EngineNode, EnginePower, nodes},
    },
    proxmox::{
        Api, ApiEndpoint, TOKEN_VARIABLE,
        power::{ProxmoxMachine, ProxmoxPower},
    },
};
use crate::{
    context::Context,
    error::{Error, Result},
    fleet::{Fleet, FleetNode},
    model::{InstanceKey, Platform, PowerCommands, Proxmox},
    plan::Plan,
};

/// Machines, and what powers them off and on. It holds no token, but commands of the user may have passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerOrder {
    /// Containers of the local engine.
    Engine(BTreeMap<InstanceKey, EngineNode>),
    /// Machines on Proxmox. The token comes from the environment.
    Proxmox { endpoint: String, ca_cert: Option<PathBuf>, machines: BTreeMap<InstanceKey, ProxmoxMachine> },
    /// Commands of the user, without placeholders, and the directory in which they start.
    Commands { dir: PathBuf, machines: BTreeMap<InstanceKey, PowerCommands> },
}

impl PowerOrder {
    /// What powers the machines `nodes` off and on; the reason if nothing does.
    ///
    /// # Errors
    /// When the container engine does not answer.
    pub async fn find(
        context: &Context,
        plan: &Plan,
        fleet: &Fleet,
        keys: impl IntoIterator<Item = &InstanceKey>,
    ) -> Result<Result<Self, String>> {
        let by_ssh = "hactl cannot power these machines back on, because it reaches them only by SSH";
        let machines: Vec<&FleetNode> = keys.into_iter().filter_map(|key| fleet.nodes.get(key)).collect();
        match &plan.platform {
            Platform::Local(_) => {
                let engine = Engine::connect(&context.env).await?;
                let keys = machines.iter().map(|node| node.key());
                Ok(nodes(&engine, &plan.cluster, keys).await?.map(Self::Engine))
            }
            Platform::Proxmox(proxmox) => Ok(on_proxmox(context, proxmox, &machines)),
            Platform::Terraform(_) => Ok(Err(by_ssh.to_owned())),
            Platform::Hosts(_) | Platform::Adopted(_) => Ok(match plan.platform.power_commands() {
                Some(commands) => {
                    let filled = |node: &&FleetNode| {
                        (node.key().clone(), commands.of_machine(node.key().as_str(), &node.ssh.host))
                    };
                    let machines = machines.iter().map(filled).collect();
                    Ok(Self::Commands { dir: context.dirs.work.clone(), machines })
                }
                None => Err(format!("{by_ssh}; `platform.hosts.power` in the cluster file changes that")),
            }),
        }
    }

    /// Whether it runs commands of the user, who may have set any variable for them.
    #[must_use]
    pub const fn has_commands(&self) -> bool {
        matches!(self, Self::Commands { .. })
    }

    /// Prepares to use it. Asks the machines nothing yet.
    ///
    /// # Errors
    /// When the container engine does not answer, or Proxmox's API cannot be used.
    pub async fn open(self, context: &Context) -> Result<Power> {
        Ok(Power(match self {
            Self::Engine(nodes) => Means::Engine(EnginePower { engine: Engine::connect(&context.env).await?, nodes }),
            Self::Proxmox { endpoint, ca_cert, machines } => {
                let api = Api::find(Some(&endpoint), ca_cert.as_deref(), &context.env)?;
                Means::Proxmox(ProxmoxPower { api, machines })
            }
            Self::Commands { dir, machines } => {
                Means::Commands(CommandPower { context: context.clone(), dir, machines })
            }
        }))
    }
}

fn on_proxmox(context: &Context, proxmox: &Proxmox, machines: &[&FleetNode]) -> Result<PowerOrder, String> {
    if context.env.get(TOKEN_VARIABLE).is_none_or(|token| token.trim().is_empty()) {
        return Err(format!(
            "hactl powers these machines off and on with Proxmox's API, and {TOKEN_VARIABLE} is not set; \
             `primary-isolated` cuts the primary off from the network instead"
        ));
    }
    let mut found = BTreeMap::new();
    for node in machines {
        let id = node.machine_id.as_ref().and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| format!("the ID of {} on Proxmox is not known", node.key()))?;
        found.insert(node.key().clone(), ProxmoxMachine { id, name: node.hostname().to_string() });
    }
    let endpoint = ApiEndpoint::find(proxmox.endpoint.as_deref(), &context.env);
    let endpoint = endpoint.map_err(|error| error.to_string())?.to_string();
    let ca_cert = proxmox.ca_cert.as_ref().map(|path| context.dirs.work.join(context.at_home(path)));
    Ok(PowerOrder::Proxmox { endpoint, ca_cert, machines: found })
}

/// The power of some machines.
#[derive(Debug)]
pub struct Power(Means);

#[derive(Debug)]
enum Means {
    Engine(EnginePower),
    Proxmox(ProxmoxPower),
    Commands(CommandPower),
}

impl Power {
    /// The machines.
    #[must_use]
    pub fn keys(&self) -> Vec<&InstanceKey> {
        match &self.0 {
            Means::Engine(power) => power.nodes.keys().collect(),
            Means::Proxmox(power) => power.machines.keys().collect(),
            Means::Commands(power) => power.machines.keys().collect(),
        }
    }

    /// Checks that a machine can be powered off and on: it is the cluster's, and may be changed. Nothing is changed.
    ///
    /// # Errors
    /// With the reason, or when it cannot be asked.
    pub async fn check(&self, key: &InstanceKey) -> Result<()> {
        if let Means::Proxmox(power) = &self.0
            && let Some(reason) = power.obstacle(key).await?
        {
            return Err(Error::failed("power", "use the power of", key).cause(reason));
        }
        self.is_on(key).await.map(drop)
    }

    /// Takes a machine's power away at once. One that has none is left alone.
    ///
    /// # Errors
    /// When the machine is not the cluster's, or its power cannot be changed.
    pub async fn off(&self, key: &InstanceKey) -> Result<()> {
        match &self.0 {
            Means::Engine(power) => power.off(key).await,
            Means::Proxmox(power) => power.off(key).await,
            Means::Commands(power) => power.off(key).await,
        }
    }

    /// Gives a machine its power, and does not wait for its services. One that has power is left alone.
    ///
    /// # Errors
    /// As [`Power::off`].
    pub async fn on(&self, key: &InstanceKey) -> Result<()> {
        match &self.0 {
            Means::Engine(power) => power.on(key).await,
            Means::Proxmox(power) => power.on(key).await,
            Means::Commands(power) => power.on(key).await,
        }
    }

    /// Whether a machine has power.
    ///
    /// # Errors
    /// When the machine is not the cluster's, or it cannot be asked.
    pub async fn is_on(&self, key: &InstanceKey) -> Result<bool> {
        match &self.0 {
            Means::Engine(power) => power.is_on(key).await,
            Means::Proxmox(power) => power.is_on(key).await,
            Means::Commands(power) => power.is_on(key).await,
        }
    }
}
