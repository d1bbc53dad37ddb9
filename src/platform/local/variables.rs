//! The values of the variables of the stack `local`.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::{
    model::{InstanceKey, Local},
    platform::machines::Machines,
};

/// What a plan before the first `up` has in place of hactl's own key, which that will make.
const NO_KEY_YET: &str = "ssh-ed25519 AAAA the-first-up-makes-it";

/// `kept` are the images of nodes that exist.
pub(in crate::platform) fn variables(
    machines: &Machines<'_>,
    local: &Local,
    kept: &BTreeMap<InstanceKey, String>,
) -> Json {
    let plan = machines.plan;
    let nodes: Map<String, Json> = plan
        .nodes
        .values()
        .map(|node| {
            let mut values = json!({
                "hostname": node.hostname,
                "slot": node.address_index,
                "memory": node.memory_mib,
                "cores": node.cores,
            });
            if let Some(gb) = node.disk_gb {
                values["disk_gb"] = json!(gb);
            }
            if let Some(image) = kept.get(&node.key).filter(|image| machines.image != Some(image.as_str())) {
                values["image"] = json!(image);
            }
            (node.key.to_string(), values)
        })
        .collect();
    let no_key = [NO_KEY_YET.to_owned()];
    let keys = if machines.authorized_keys.is_empty() { &no_key } else { machines.authorized_keys };
    json!({
        "cluster": plan.cluster,
        "cluster_uuid": machines.uuid,
        "image": machines.image,
        "subnet": local.subnet,
        "nodes": nodes,
        "authorized_keys": keys,
        "dns": plan.dns,
        "record": machines.record,
    })
}
