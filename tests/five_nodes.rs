//! A cluster of five loses the primary and a synchronous replica at once, and the primary in the middle of a COPY. Only in
//! `make test-long`: five machines take four minutes.

use crate::common::{Bench, steps::Steps};

const NAME: &str = "t-five";
const FILE: &str = "instances: {node1: {}, node2: {}, node3: {}, node4: {}, node5: {}}
defaults: {memory: 640, cores: 1}
";

#[test]
#[ignore = "five machines take 4 minutes: `make test-long` runs it"]
fn cluster_of_five_survives_two_losses_at_once_and_the_loss_of_a_loaded_primary() {
    let bench = Bench::new(NAME, FILE);
    let mut steps = Steps::new();
    steps.must("up, with five data nodes, makes five voters", || {
        bench.act(&["up", NAME, "--no-verify"]);
        let status = bench.status();
        assert_eq!(status["healthy"], true, "{status}");
    });
    steps.step("drills of five nodes, with clients that write, find a new leader and lose no row", || {
        bench.act(&["verify", NAME, "--drill", "double-loss", "--drill", "node-loss-in-copy"]);
        let text = std::fs::read(bench.kept("runs/latest/report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for drill in report["drills"].as_array().unwrap() {
            let round = &drill["rounds"][0];
            assert_eq!((&drill["outcome"], &drill["lost"]), (&"passed".into(), &0.into()), "{drill}");
            assert!(round["new_primary_node"].is_string(), "{round}");
        }
    });
    steps.step("down, with `--yes`, leaves nothing", || {
        bench.act(&["down", NAME, "--yes"]);
        assert_eq!(bench.leftovers(), "");
    });
    steps.finish();
}
