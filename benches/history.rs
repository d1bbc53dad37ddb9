//! What 1,000,000 attempts of one round cost hactl: `cargo bench --bench history`.
//!
//! The attempts of 16 clients are put in order as at the end of a round, judged, written down, and read again
//! as for a report. Prints one JSON line: milliseconds per step, bytes per attempt in `history.jsonl`, and MiB
//! that the process held at most up to the end of each step, less those of before the first.

#![allow(clippy::print_stdout, reason = "the result of a benchmark")]

use std::{fs, time::Instant};

use hactl::{
    model::InstanceKey,
    verify::{
        history::{Attempt, Client, History, Outcome, RowId, Rows, Server},
        history_file, oracle,
    },
};
use serde_json::{Map, Value, json};

const ATTEMPTS: u32 = 1_000_000;
const CLIENTS: u16 = 16;
/// Microseconds between two attempts: 3,000 in a second.
const PAUSE: u64 = 333;

fn main() {
    let mut bench = Bench { before: peak_kib(), ..Bench::default() };
    let attempts = bench.step("record", || {
        let mut attempts: Vec<Attempt> = (0..CLIENTS).flat_map(of_client).collect();
        attempts.sort_unstable_by_key(|attempt| (attempt.sent, attempt.row));
        attempts
    });
    let there: Vec<RowId> = attempts.iter().filter(|one| one.reason.is_none()).map(|one| one.row).collect();
    let key = |name| InstanceKey::new(name).expect("a valid key");
    let history = History {
        nodes: ["node1", "node2", "node3"].map(key).into(),
        clients: (0..CLIENTS).map(|id| Client { id, pinned: None }).collect(),
        attempts,
        ..History::default()
    };
    let rows = Rows { primary: 0, on: (0..3).map(|node| (node, there.clone())).collect() };
    drop(there);
    let judgement = bench.step("judge", || oracle::judge(&history, &rows).expect("the history is whole"));
    assert_eq!((judgement.counts.attempted, judgement.counts.lost), (ATTEMPTS.into(), 0));
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("history.jsonl");
    bench.step("write", || {
        let mut writer = history_file::Writer::create(&path).expect("a file");
        writer.round("etcd-leader-loss", 1, &history, &rows).expect("room on the disk");
    });
    drop((history, rows));
    let bytes = fs::metadata(&path).expect("the file").len() as f64 / f64::from(ATTEMPTS);
    let read = bench.step("read", || history_file::read(&path).expect("the file").filter(Result::is_ok).count());
    assert_eq!(read, 1);
    let Bench { milliseconds, mib, .. } = bench;
    println!(
        "{}",
        json!({"benchmark": "history", "attempts": ATTEMPTS, "attempt_bytes": size_of::<Attempt>(),
            "file_bytes_per_attempt": bytes, "milliseconds": milliseconds, "mib": mib})
    );
}

/// What one client noted. Every hundredth attempt was refused.
fn of_client(client: u16) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for seq in 1..=ATTEMPTS / u32::from(CLIENTS) {
        let sent = u64::from(seq) * PAUSE * u64::from(CLIENTS) + u64::from(client);
        let refused = seq % 100 == 0;
        attempts.push(Attempt {
            row: RowId { client, seq },
            sent,
            done: sent + 4_000,
            server: Some(Server { node: 0, timeline: 1 }),
            outcome: if refused { Outcome::Failed } else { Outcome::Acknowledged },
            reason: refused.then(|| "cannot execute INSERT in a read-only transaction (SQLSTATE 25006)".into()),
        });
    }
    attempts
}

#[derive(Default)]
struct Bench {
    before: u64,
    milliseconds: Map<String, Value>,
    mib: Map<String, Value>,
}

impl Bench {
    fn step<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        self.milliseconds.insert(name.to_owned(), (started.elapsed().as_secs_f64() * 1000.0).into());
        self.mib.insert(name.to_owned(), ((peak_kib() - self.before) / 1024).into());
        done
    }
}

/// The most memory that this process ever held.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
