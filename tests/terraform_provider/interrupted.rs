//! Runs that end in the middle: the next one converges, and existing machines are not replaced.

use super::cluster::{actions, is_booting, run, with_cluster};
use hactl::terraform::Action;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn apply_after_ctrl_c_has_no_partial_node_and_resumes() {
    with_cluster("stop", async |cluster| {
        let started = std::time::Instant::now();
        let stopped = cluster.up_interrupted().await.unwrap_err();
        assert_eq!(stopped.kind.exit_code(), 130, "{stopped}");
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
        let left = cluster.left().await;
        assert!(!left.iter().any(|left| left.starts_with("container")), "{left:?}");
        assert_eq!(cluster.up().await.0.unwrap().outputs.len(), 2);
        cluster.down().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_after_a_killed_run_resumes() {
    with_cluster("kill", async |cluster| {
        // Terraform dies by SIGKILL with the future that runs it, and so does the provider.
        let (context, mut receiver) = cluster.context();
        tokio::select! {
            _ = cluster.apply(&context) => panic!("it ended before it could be killed"),
            () = async { while receiver.recv().await.is_some_and(|event| !is_booting(&event)) {} } => {}
        }
        // The lock's description of a Terraform that is gone must not stop the next one.
        let lock = cluster.stack().join(".terraform.tfstate.lock.info");
        std::fs::write(&lock, r#"{"ID":"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11","Operation":"OperationTypeApply"}"#)
            .unwrap();
        assert_eq!(cluster.up().await.0.unwrap().outputs.len(), 2);
        assert!(cluster.up().await.0.unwrap().changes.is_empty());
        cluster.down().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_with_our_uuid_are_taken_over_with_their_data() {
    with_cluster("ours", async |cluster| {
        let made = cluster.make_first_node(cluster.uuid).await;
        run("docker", &["exec", &made.name, "touch", "/var/lib/etcd-was-here"]).await;
        let taken = cluster.up().await.0.unwrap();
        assert_eq!(taken.outputs[&"node1".parse().unwrap()].id, made.id);
        run("docker", &["exec", &made.name, "test", "-e", "/var/lib/etcd-was-here"]).await;
        cluster.down().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn teardown_removes_objects_missing_in_the_state() {
    with_cluster("stray", async |cluster| {
        cluster.up().await.0.unwrap();
        cluster.terraform(&["state", "rm", "module.nodes.hactl_node.this[\"node1\"]"]).await;
        cluster.down().await;

        // Killed before there was any state at all.
        std::fs::remove_file(cluster.stack().join("terraform.tfstate")).unwrap();
        cluster.make_first_node(cluster.uuid).await;
        cluster.down().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_with_another_uuid_are_refused_and_kept() {
    with_cluster("theirs", async |cluster| {
        let theirs = cluster.make_first_node(Uuid::new_v4()).await;
        let refused = cluster.up().await.0.unwrap_err();
        assert!(refused.to_string().contains("belongs to another cluster"), "{refused}");
        assert!(refused.to_string().contains("run `terraform import ADDRESS t-tf-theirs`"), "{refused}");
        assert_eq!(cluster.node("node1").await.id, theirs.id);
        // What this run made beside it goes, theirs stays.
        cluster.destroy().await;
        let theirs = ["container t-tf-theirs-node1", "network hactl-t-tf-theirs", "volume t-tf-theirs-node1-pgdata"];
        assert_eq!(cluster.left().await, theirs);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_never_booted_is_made_again() {
    with_cluster("half", async |cluster| {
        let good = std::mem::replace(&mut cluster.image, "t-tf-broken:1".to_owned());
        let docker = async |args: &[&str]| run("docker", args).await;
        let _ = docker(&["container", "prune", "-f", "--filter", "label=t-tf-broken"]).await;
        let id = docker(&["create", "--label", "t-tf-broken", "--entrypoint", "rm", &good, "/sbin/init"]).await;
        docker(&["start", "-a", id.trim()]).await;
        docker(&["commit", id.trim(), "t-tf-broken:1"]).await;
        docker(&["rm", id.trim()]).await;

        let failed = cluster.up().await.0.unwrap_err();
        assert!(failed.to_string().contains("its init exited"), "{failed}");
        cluster.image = good;
        let made = cluster.up().await.0.unwrap();
        assert_eq!(actions(&made.changes, Action::Replace), ["hactl_node node1", "hactl_node node2"]);
        assert!(cluster.node("node1").await.running);
        cluster.down().await;
        docker(&["rmi", "t-tf-broken:1"]).await;
    })
    .await;
}
