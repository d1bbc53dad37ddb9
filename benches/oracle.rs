//! Time to judge 1,000,000 attempts on three nodes: `cargo bench --bench oracle`.
//!
//! Prints one JSON line with milliseconds per order of the attempts and rows, the best of five.

#![allow(clippy::print_stdout, reason = "the result of a benchmark")]

use std::time::Instant;

use hactl::{
    model::InstanceKey,
    verify::{
        history::{Attempt, Client, History, Outcome, RowId, Rows, Server},
        oracle,
    },
};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

const ATTEMPTS: u64 = 1_000_000;
const CLIENTS: u16 = 8;
/// Where another node takes over. Every hundredth attempt is in doubt, and there.
const FAILOVER: u64 = ATTEMPTS / 2;

fn main() {
    let mut history = history();
    let there: Vec<RowId> = history.attempts.iter().map(|attempt| attempt.row).collect();
    let mut rows = Rows { primary: 1, on: (0..3).map(|node| (node, there.clone())).collect() };
    let as_they_came = best(&history, &rows);
    let mut random = StdRng::seed_from_u64(1);
    history.attempts.shuffle(&mut random);
    rows.on.values_mut().for_each(|rows| rows.shuffle(&mut random));
    let shuffled = best(&history, &rows);
    let milliseconds = serde_json::json!({"as they came": as_they_came, "shuffled": shuffled});
    println!("{}", serde_json::json!({"benchmark": "oracle", "attempts": ATTEMPTS, "milliseconds": milliseconds}));
}

fn history() -> History {
    let key = |name| InstanceKey::new(name).expect("a valid key");
    History {
        nodes: ["node1", "node2", "node3"].map(key).into(),
        clients: (0..CLIENTS).map(|id| Client { id, pinned: None }).collect(),
        attempts: (0..ATTEMPTS).map(attempt).collect(),
        ..History::default()
    }
}

fn attempt(number: u64) -> Attempt {
    let clients = u64::from(CLIENTS);
    let node = u16::from(number >= FAILOVER);
    Attempt {
        row: RowId { client: (number % clients) as u16, seq: (number / clients + 1) as u32 },
        sent: number * 10,
        done: number * 10 + 9,
        server: Some(Server { node, timeline: u32::from(node) + 1 }),
        outcome: if number.is_multiple_of(100) { Outcome::InDoubt } else { Outcome::Acknowledged },
        reason: None,
    }
}

/// The least milliseconds of five judgements, all of which have to be clean.
fn best(history: &History, rows: &Rows) -> f64 {
    let times = (0..5).map(|_| {
        let start = Instant::now();
        let judgement = oracle::judge(history, rows).expect("the history is whole");
        let taken = start.elapsed().as_secs_f64() * 1000.0;
        let counts = judgement.counts;
        assert_eq!((counts.attempted, counts.recovered), (ATTEMPTS, ATTEMPTS / 100));
        assert_eq!((counts.lost, counts.split_brain, counts.differing), (0, 0, 0));
        taken
    });
    times.fold(f64::INFINITY, f64::min)
}
