//! Power of local nodes: the container engine kills and starts their containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Engine, node_name};
use crate::{
    error::{Error, Result, codes},
    model::{ClusterName, InstanceKey},
};

/// A container whose power is cut: another one of the same name is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineNode {
    name: String,
    /// The UUID of its cluster.
    uuid: Uuid,
}

/// The containers of the nodes `keys`; the reason if one is missing.
///
/// # Errors
/// When the engine does not answer.
pub(in crate::platform) async fn nodes<'k>(
    engine: &Engine,
    cluster: &ClusterName,
    keys: impl Iterator<Item = &'k InstanceKey>,
) -> Result<Result<BTreeMap<InstanceKey, EngineNode>, String>> {
    let mut found = BTreeMap::new();
    for key in keys {
        let name = node_name(cluster, key);
        match engine.find_node(&name).await? {
            Some(node) => drop(found.insert(key.clone(), EngineNode { name, uuid: node.uuid })),
            None => return Ok(Err(format!("the container engine has no container {name}"))),
        }
    }
    Ok(Ok(found))
}

/// The engine, and the containers of the nodes.
#[derive(Debug)]
pub(in crate::platform) struct EnginePower {
    pub(in crate::platform) engine: Engine,
    pub(in crate::platform) nodes: BTreeMap<InstanceKey, EngineNode>,
}

impl EnginePower {
    fn node(&self, key: &InstanceKey) -> Result<&EngineNode> {
        self.nodes.get(key).ok_or_else(|| Error::failed(codes::POWER_FOREIGN, "power on", key))
    }

    pub(in crate::platform) async fn off(&self, key: &InstanceKey) -> Result<()> {
        self.engine.kill_node(&self.node(key)?.name).await
    }

    pub(in crate::platform) async fn on(&self, key: &InstanceKey) -> Result<()> {
        self.is_on(key).await?;
        self.engine.power_on_node(&self.node(key)?.name).await
    }

    pub(in crate::platform) async fn is_on(&self, key: &InstanceKey) -> Result<bool> {
        let node = self.node(key)?;
        match self.engine.find_node(&node.name).await? {
            Some(found) if found.uuid == node.uuid => Ok(found.running),
            _ => Err(Error::failed(codes::POWER_FOREIGN, "power on", &node.name)
                .cause(format!("the cluster with the UUID {} has no such container", node.uuid))),
        }
    }
}
