//! Time to build and render the inventory of 10,000 machines: `cargo bench --bench inventory`.
//!
//! Prints one JSON line with milliseconds per form, the best of five.

#![allow(clippy::print_stdout, reason = "the result of a benchmark")]

use std::{collections::BTreeMap, time::Instant};

use hactl::{
    ansible::inventory::{self, Reader},
    model::InstanceKey,
};

#[path = "../tests/fixture/inventory.rs"]
mod fixture;

const HOSTS: usize = 10_000;

fn main() {
    let (mut plan, mut fleet, mut material) = fixture::example("instances: {node1: {}, node2: {}, node3: {}}");
    // A local network has no room for so many: copies of one node under other names do for rendering.
    let first = InstanceKey::new("node1").expect("a valid key");
    for number in 0..HOSTS - 3 {
        let key = InstanceKey::new(format!("copy{number}")).expect("a valid key");
        let mut node = plan.nodes[&first].clone();
        node.key = key.clone();
        let mut machine = fleet.nodes[&first].clone();
        machine.node = node.clone();
        plan.nodes.insert(key.clone(), node);
        fleet.nodes.insert(key.clone(), machine);
        material.secrets.nodes.insert(key, material.secrets.nodes[&first].clone());
    }
    let built = inventory::build(&plan, &fleet, &material).expect("nothing is missing");
    let mut best: BTreeMap<&str, f64> = BTreeMap::new();
    let mut time = |name: &'static str, work: &dyn Fn() -> usize| {
        for _ in 0..5 {
            let start = Instant::now();
            assert!(work() > 0);
            let taken = start.elapsed().as_secs_f64() * 1000.0;
            let entry = best.entry(name).or_insert(taken);
            *entry = entry.min(taken);
        }
    };
    time("build", &|| inventory::build(&plan, &fleet, &material).expect("as before").hosts.len());
    time("ini", &|| inventory::ini(&built).expect("the template fits").len());
    time("yaml", &|| inventory::yaml(&built).expect("the template fits").len());
    time("json", &|| inventory::json(&built, Reader::Anyone).to_string().len());
    println!("{}", serde_json::json!({"benchmark": "inventory", "hosts": HOSTS, "milliseconds": best}));
}
