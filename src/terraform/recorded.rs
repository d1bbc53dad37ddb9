//! What a state and import blocks say of the machines: their keys, their numbers on Proxmox, and where Terraform looks for
//! them. Pure, except for [`recorded`].

use serde::Deserialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{backend, changes::MACHINES, workspace::Workspace};
use crate::{
    context::{ClusterDir, Context},
    error::{Error, Result},
    model::InstanceKey,
    plan::Plan,
    platform::{Recorded, RecordedMachine},
};

/// What earlier runs created, finished or not, and what import blocks name.
///
/// # Errors
/// Those of Terraform, or when a state or the import blocks cannot be read.
pub async fn recorded(context: &Context, dir: &ClusterDir, plan: &Plan) -> Result<Recorded> {
    let workspace = Workspace::new(dir, plan);
    let mut recorded = Recorded { begun: begun(dir, plan)?, ..Recorded::default() };
    read_imports(&workspace.import_blocks()?, &mut recorded);
    for state in backend::states(context, &workspace, plan).await? {
        read_state(&state, &mut recorded).map_err(|error| {
            Error::failed("terraform-state", "read the Terraform state of", &plan.cluster).source(&error)
        })?;
    }
    Ok(recorded)
}

/// The UUID of the cluster whose machines an earlier run has begun to create here, if any.
///
/// # Errors
/// When the values of that run cannot be read.
pub fn begun(dir: &ClusterDir, plan: &Plan) -> Result<Option<Uuid>> {
    let owner = Workspace::new(dir, plan).owner()?;
    // A plan before the first `up` has none yet.
    Ok(owner.map(|owner| owner.cluster_uuid).filter(|uuid| !uuid.is_nil()))
}

/// The state file, version 4.
#[derive(Deserialize)]
struct State {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    mode: String,
    r#type: String,
    name: String,
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    #[serde(default)]
    index_key: Json,
    #[serde(default)]
    attributes: Json,
    /// The mark of an object that a replacement has left.
    #[serde(default)]
    deposed: Option<String>,
}

/// Reads a state as it is stored; one that was never written is empty.
fn read_state(text: &str, recorded: &mut Recorded) -> serde_json::Result<()> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let state: State = serde_json::from_str(text)?;
    let ours = state.resources.into_iter().filter(|resource| resource.mode == "managed" && resource.name == "this");
    for resource in ours {
        recorded.pool |= resource.r#type == "proxmox_virtual_environment_pool";
        if !MACHINES.contains(&resource.r#type.as_str()) {
            continue;
        }
        for Instance { index_key, attributes, .. } in
            resource.instances.into_iter().filter(|instance| instance.deposed.is_none())
        {
            let Some(key) = index_key.as_str().and_then(|key| key.parse::<InstanceKey>().ok()) else { continue };
            let name = attributes["name"].as_str().or_else(|| attributes["initialization"][0]["hostname"].as_str());
            let mut tags = attributes["tags"].as_array().into_iter().flatten().filter_map(Json::as_str);
            // A runner that has only the state knows the cluster by what its machines carry.
            let cluster = tags.find_map(|tag| tag.strip_prefix("hactl-")?.parse().ok());
            recorded.begun = recorded.begun.or(cluster);
            let machine = RecordedMachine {
                vmid: attributes["vm_id"].as_u64().and_then(|id| id.try_into().ok()),
                name: name.map(str::to_owned),
                hypervisor: attributes["node_name"].as_str().map(str::to_owned),
                protection: attributes["protection"] == true,
                disks: attributes["disk"].as_array().map_or(0, Vec::len),
                // Terraform ignores an import block for what the state has.
                imported: false,
            };
            recorded.machines.insert(key, machine);
        }
    }
    Ok(())
}

/// Reads import blocks as `hactl import` writes them.
fn read_imports(text: &str, recorded: &mut Recorded) {
    let mut key: Option<InstanceKey> = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("to = ") {
            recorded.pool |= address.ends_with("proxmox_virtual_environment_pool.this");
            let parts = address.strip_suffix("\"]").and_then(|start| start.rsplit_once("[\""));
            let machine = parts.filter(|(to, _)| MACHINES.iter().any(|kind| to.ends_with(&format!("{kind}.this"))));
            key = machine.and_then(|(_, key)| key.parse().ok());
        } else if let Some(id) = line.strip_prefix("id = ")
            && let Some(key) = key.take()
        {
            let (hypervisor, vmid) = id.trim_matches('"').split_once('/').unwrap_or_default();
            let hypervisor = Some(hypervisor.to_owned()).filter(|name| !name.is_empty());
            let vmid = vmid.parse().ok();
            let machine = RecordedMachine { vmid, hypervisor, imported: true, ..RecordedMachine::default() };
            recorded.machines.insert(key, machine);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn machines_and_pool_are_read_from_the_state_before_import_blocks() {
        let resource = |kind: &str, name: &str, instances: Json| json!({"module": "module.machines", "mode": "managed", "type": kind, "name": name, "instances": instances});
        let uuid = Uuid::from_u128(7);
        let instance = |key: &str, id: u32| {
            let attributes = json!({"vm_id": id, "node_name": "pve1", "name": key, "tags": ["a", format!("hactl-{uuid}")], "protection": id == 101,
                "disk": vec![json!({"interface": "scsi0"}); usize::from(id == 101)]});
            json!({"index_key": key, "attributes": attributes})
        };
        let state = json!({"version": 4, "resources": [
            resource("proxmox_virtual_environment_vm", "this", json!([instance("node1", 100), instance("node2", 101)])),
            resource("terraform_data", "origin", json!([instance("node3", 102)])),
            resource("proxmox_virtual_environment_pool", "this", json!([{"attributes": {"pool_id": "p"}}])),
            {"mode": "data", "type": "proxmox_virtual_environment_vm", "name": "this", "instances": [instance("d", 103)]},
        ]});
        let import = "import {\n  to = module.machines.proxmox_virtual_environment_container.this[\"a\"]\n  id = \"pve2/104\"\n}\n\n\
                      import {\n  to = module.machines.proxmox_virtual_environment_vm.this[\"node1\"]\n  id = \"pve9/999\"\n}\n";
        let mut recorded = Recorded::default();
        read_imports(import, &mut recorded);
        assert!(recorded.machines[&"node1".parse().unwrap()].imported);
        read_state(&state.to_string(), &mut recorded).unwrap();
        let of = |key: &str| {
            let machine = &recorded.machines[&key.parse().unwrap()];
            (machine.vmid, machine.hypervisor.as_deref(), machine.imported)
        };
        assert_eq!(of("node1"), (Some(100), Some("pve1"), false));
        assert!(recorded.machines[&"node2".parse().unwrap()].protection);
        assert!(!recorded.machines[&"node1".parse().unwrap()].protection);
        let disks = ["node1", "node2"].map(|key| recorded.machines[&key.parse().unwrap()].disks);
        assert_eq!(disks, [0, 1]);
        assert_eq!(of("a"), (Some(104), Some("pve2"), true));
        assert_eq!((recorded.machines.len(), recorded.pool, recorded.begun), (3, true, Some(uuid)));

        let mut none = Recorded::default();
        read_state("", &mut none).unwrap();
        read_imports("", &mut none);
        assert_eq!(none, Recorded::default());
        assert!(read_state("x", &mut none).is_err());
    }
}
