//! Changes that stop several members, or interrupt their network: one member at a time, by real Terraform on the recorded
//! provider.

use std::collections::BTreeSet;

use hactl::{
    assets::Assets,
    model::Choices,
    plan,
    platform::Machines,
    spec,
    terraform::{self, Action, Consent},
};
use uuid::Uuid;

use crate::proxmox_up::Stage;

/// The bridge or VLAN of members: their network is interrupted, so each is changed by an apply of its own.
#[tokio::test(flavor = "multi_thread")]
async fn network_of_several_members_changes_one_member_at_a_time() {
    let mut stage = Stage::new();
    let three = |vlan: &str| {
        let member = |n: u8| format!("  node{n}: {{address: 192.0.2.7{n}/24, roles: [etcd, patroni]{vlan}}}\n");
        format!("instances:\n{}", (1..=3).map(member).collect::<String>())
    };
    stage.up(&three(""), &[]).await.unwrap();
    let updates = |stage: &Stage| stage.recorded.done().iter().filter(|line| line.starts_with("update ")).count();
    let before = updates(&stage);
    let error = stage.up(&three(", vlan: 30"), &[]).await.unwrap_err();
    assert_eq!((error.code, error.causes.len()), ("consent-missing", 3), "{error}");

    let (plan, assets) = (stage.plan_of(&three(", vlan: 30")), Assets::embedded());
    let uuid = Uuid::from_u128(7);
    let machines =
        Machines { plan: &plan, assets: &assets, image: None, uuid, authorized_keys: &[], record: "", surveyed: None };
    let network = BTreeSet::from(["network_device".to_owned()]);
    let change = ["node1", "node2", "node3"].map(|key| (key.parse().unwrap(), network.clone())).into();
    let consent = Consent { change, ..stage.consent(&[]) };
    let (mut steps, of_stage) = (Vec::new(), &stage);
    let before_it = async |changes: &terraform::Changes| {
        let disrupted = changes.resources.iter().filter(|change| change.disrupts());
        let keys: Vec<String> = disrupted.map(|change| change.node.as_ref().unwrap().to_string()).collect();
        steps.push((keys.join(" "), updates(of_stage) - before));
        Ok(())
    };
    let dir = stage.context.dirs.cluster(&plan.cluster);
    let reattach = Some(stage.reattach.clone());
    let done = terraform::apply(&stage.context, &dir, &machines, &consent, reattach, before_it).await.unwrap();
    // Each step begins after the one before it was applied.
    assert_eq!(steps, [("node1".to_owned(), 0), ("node2".to_owned(), 1), ("node3".to_owned(), 2)]);
    assert_eq!(updates(&stage) - before, 3, "{:?}", stage.recorded.done());
    assert_eq!(done.changes.with(Action::Update).count(), 3);
    assert!(stage.up(&three(", vlan: 30"), &[]).await.unwrap().changes.is_empty());
}

const OWN_MODULE: &str = r#"
terraform {
  required_providers {
    proxmox = { source = "registry.terraform.io/bpg/proxmox" }
  }
}

variable "memory" {
  type = number
}

resource "proxmox_virtual_environment_container" "this" {
  for_each  = toset(["node1", "node2", "node3"])
  node_name = "pve1"

  memory {
    dedicated = var.memory
  }

  initialization {
    hostname = each.key
  }
}

output "vms" {
  value = {
    for key, machine in proxmox_virtual_environment_container.this : key => {
      id   = tostring(machine.vm_id)
      name = key
      ipv4 = machine.ipv4["eth0"]
    }
  }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn members_of_an_own_module_restart_one_at_a_time_by_consent() {
    let stage = Stage::new();
    let infra = stage.context.dirs.work.join("infra");
    std::fs::create_dir_all(&infra).unwrap();
    std::fs::write(infra.join("main.tf"), OWN_MODULE).unwrap();
    let text = "name: pg\nplatform: {terraform: {dir: infra}}\ninstances: {node1: {}, node2: {}, node3: {}}\n";
    let plan = plan::decide(&spec::load("pg.yaml", text.as_bytes(), "pg").unwrap(), &Choices::default()).unwrap();
    let (dir, assets) = (stage.context.dirs.cluster(&plan.cluster), Assets::embedded());
    let mut steps = Vec::new();
    let mut up = async |memory: u64, consent: &Consent| {
        std::fs::write(infra.join("terraform.tfvars"), format!("memory = {memory}\n")).unwrap();
        let uuid = Uuid::from_u128(7);
        let machines = Machines {
            plan: &plan,
            assets: &assets,
            image: None,
            uuid,
            authorized_keys: &[],
            record: "",
            surveyed: None,
        };
        let before_it = async |changes: &terraform::Changes| {
            let disrupted = changes.resources.iter().filter(|change| change.disrupts());
            steps.push(disrupted.map(|change| change.node.as_ref().unwrap().to_string()).collect::<Vec<_>>().join(" "));
            Ok(())
        };
        terraform::apply(&stage.context, &dir, &machines, consent, Some(stage.reattach.clone()), before_it).await
    };
    up(1024, &Consent::default()).await.unwrap();
    let ran = plan.nodes.iter().map(|(key, node)| (key.clone(), node.roles.clone())).collect();
    let consent = Consent { ran, ..Consent::default() };
    let error = up(2048, &consent).await.unwrap_err();
    assert!(error.hint.unwrap().contains("--allow-restart node1 --allow-restart node2 --allow-restart node3"));
    let consent = Consent { restart: plan.nodes.keys().cloned().collect(), ..consent };
    up(2048, &consent).await.unwrap();
    assert!(up(2048, &consent).await.unwrap().changes.is_empty());
    assert_eq!(steps, ["", "node1", "node2", "node3"]);
}
