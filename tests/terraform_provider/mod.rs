//! The provider and the provision stage against the real Terraform and the real container engine.
//!
//! Needs `terraform`, an engine, and an image of this machine that has systemd and sshd: the local
//! platform's base image, or the one that `HACTL_TEST_IMAGE` names.

mod cluster;
mod interrupted;
mod plain;
mod reference;

use std::time::{Duration, Instant};

use cluster::{actions, with_cluster};
use hactl::{
    event::{Event, ResourceState},
    terraform::Action,
};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_made_repaired_changed_and_destroyed() {
    with_cluster("life", async |cluster| {
        let (first, events) = cluster.up().await;
        let first = first.unwrap();
        assert_eq!(first.outputs.len(), 2);
        let node1 = &first.outputs[&"node1".parse().unwrap()];
        assert_eq!(node1.name, "t-tf-life-node1");
        assert!(node1.host_key.as_ref().unwrap().starts_with("ssh-ed25519 "), "{node1:?}");
        let steps = events.iter().filter(|event| matches!(event, Event::Step { node: Some(_), .. })).count();
        assert!(steps >= 4, "boot steps are events: {events:?}");
        let done = |event: &&Event| matches!(event, Event::Resource { state: ResourceState::Done, .. });
        assert_eq!(events.iter().filter(done).count(), 5, "two volumes, two nodes, a network");

        let ignored = |event: &Event| matches!(event, Event::Warning { code: "terraform-config", .. });
        assert!(events.iter().any(ignored), "a CLI configuration that is not there is said: {events:?}");

        let started = Instant::now();
        let again = cluster.up().await.0.unwrap();
        assert!(started.elapsed() < Duration::from_secs(10), "{:?} for no change", started.elapsed());
        assert!(again.changes.is_empty(), "{:?}", again.changes);
        assert_eq!(again.outputs, first.outputs);

        // Stopped behind our back: started in place.
        cluster.engine.stop_node(&cluster.container("node1")).await.unwrap();
        let repaired = cluster.up().await.0.unwrap();
        assert_eq!(actions(&repaired.changes, Action::Update), ["hactl_node node1"]);
        assert!(cluster.node("node1").await.running);
        assert_eq!(repaired.outputs, first.outputs);

        // Memory changes in place; another image keeps what lives; a new address is refused by name.
        cluster.nodes[0].2 = 640;
        let changed = cluster.up().await.0.unwrap();
        assert_eq!(actions(&changed.changes, Action::Update), ["hactl_node node1"]);
        assert_eq!(cluster.node("node1").await.memory_mib, 640);
        let image = std::mem::replace(&mut cluster.image, "other:1".to_owned());
        assert!(cluster.up().await.0.unwrap().changes.is_empty());
        cluster.image = image;
        cluster.nodes[0].1 = 20;
        let refused = cluster.up().await.0.unwrap_err();
        assert!(refused.to_string().contains("replace the machine node1"), "{refused}");
        cluster.nodes[0].1 = 10;

        cluster.down().await;
        cluster.down().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_deleted_is_made_again_unless_etcd_lost_its_majority() {
    with_cluster("gone", async |cluster| {
        cluster.nodes = vec![("node1", 10, 256), ("node2", 11, 256), ("node3", 12, 256)];
        let first = cluster.up().await.0.unwrap();
        cluster.engine.remove_node(&cluster.container("node2")).await.unwrap();
        let repaired = cluster.up().await.0.unwrap();
        assert_eq!(actions(&repaired.changes, Action::Create), ["hactl_node node2"]);
        let key = "node2".parse().unwrap();
        assert_eq!(repaired.outputs[&key].ipv4, first.outputs[&key].ipv4);
        assert_ne!(repaired.outputs[&key].id, first.outputs[&key].id);

        for key in ["node1", "node3"] {
            cluster.engine.remove_node(&cluster.container(key)).await.unwrap();
        }
        let refused = cluster.up().await.0.unwrap_err();
        assert_eq!(refused.code, "voters-gone");
        assert!(refused.to_string().contains("2 of 3 etcd voters are gone"), "{refused}");
        cluster.engine.remove_node(&cluster.container("node2")).await.unwrap();
        assert_eq!(cluster.up().await.0.unwrap_err().code, "voters-gone", "their data is still there");
        cluster.sweep().await;
        let anew = cluster.up().await.0.unwrap();
        assert_eq!(anew.outputs.len(), 3, "nothing is left: a new start");
        cluster.down().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_removed_from_the_state_are_imported_by_name() {
    with_cluster("import", async |cluster| {
        cluster.up().await.0.unwrap();
        let imports = [
            ("module.nodes.hactl_node.this[\"node1\"]", "t-tf-import-node1"),
            ("module.nodes.hactl_volume.data[\"node1\"]", "t-tf-import/node1"),
            ("module.nodes.hactl_network.this", "t-tf-import"),
        ];
        for (address, _) in imports.iter().take(2) {
            cluster.terraform(&["state", "rm", address]).await;
        }
        for (address, id) in imports.iter().take(2) {
            cluster.terraform(&["import", address, id]).await;
        }
        let imported = cluster.up().await.0.unwrap();
        // Which keys were put into a node cannot be asked: they are written down, nothing else.
        assert_eq!(actions(&imported.changes, Action::Update), ["hactl_node node1"]);
        assert!(cluster.up().await.0.unwrap().changes.is_empty());
        let (address, id) = imports[2];
        cluster.terraform(&["state", "rm", address]).await;
        cluster.terraform(&["import", address, id]).await;
        assert!(cluster.up().await.0.unwrap().changes.is_empty());

        let path = cluster.stack().join("terraform.tfstate");
        let mut state: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for resource in state["resources"].as_array_mut().unwrap() {
            for instance in resource["instances"].as_array_mut().unwrap() {
                let attributes = instance["attributes"].as_object_mut().unwrap();
                attributes.insert("of_another_version".to_owned(), serde_json::json!([1]));
                attributes.remove("host_key");
            }
        }
        std::fs::write(&path, state.to_string()).unwrap();
        let conformed = cluster.up().await.0.unwrap();
        assert!(conformed.changes.is_empty(), "{:?}", conformed.changes);
        cluster.down().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_name_attribute_file_and_line() {
    with_cluster("bad", async |cluster| {
        cluster.nodes[0].2 = 64;
        let (failed, events) = cluster.up().await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.code, "terraform-plan");
        assert!(failed.to_string().contains("at least 128, for example 2048"), "{failed}");
        let located =
            |event: &&Event| matches!(event, Event::Diagnostic { file: Some(file), line: Some(_), .. } if file == "main.tf");
        assert_eq!(events.iter().filter(located).count(), 1, "{events:?}");

        // The provider's own rules, past those of the module.
        cluster.nodes[0].2 = 512;
        cluster.image = "no-such-image:1".to_owned();
        let (failed, events) = cluster.up().await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.code, "terraform-apply");
        assert!(failed.to_string().contains("no-such-image:1"), "{failed}");
        let of_node = |event: &&Event| {
            matches!(event, Event::Diagnostic { address: Some(address), line: Some(_), .. } if address.contains("node1"))
        };
        assert_eq!(events.iter().filter(of_node).count(), 1, "{events:?}");
        cluster.down().await;
    })
    .await;
}
