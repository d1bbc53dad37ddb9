//! How many machines are made at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::program::Program;
use crate::{
    common::recorded::{Hypervisor, Interfaces, Machine, Nowhere},
    proxmox_api::simulator::{Simulator, World},
};

/// Counts the clones that are under way.
struct Counting {
    now: AtomicUsize,
    most: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Hypervisor for Counting {
    async fn create(&self, machine: &Machine) -> Result<Interfaces, String> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.now.fetch_sub(1, Ordering::Relaxed);
        Nowhere.create(machine).await
    }
}

#[test]
fn clones_are_as_many_at_once_as_the_cluster_file_says() {
    let most = |platform: &str| {
        let most = Arc::new(AtomicUsize::new(0));
        let counting = Counting { now: AtomicUsize::new(0), most: most.clone() };
        let program = Program::new(counting, Simulator::start(World::default()));
        program.file(platform, "defaults: {roles: []}\ninstances: {a: {}, b: {}, c: {}}\n");
        let (code, summary) = program.run(&["up", "pg"]);
        assert_eq!(code, 0, "{summary:#}");
        most.load(Ordering::Relaxed)
    };
    assert_eq!(most(", parallelism: 1"), 1);
    assert!(most("") > 1);
}
