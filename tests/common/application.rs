//! An application at work beside hactl: clients that write one row after the other, each row over a connection of its own.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long a client tries to write a row.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Application {
    dsn: String,
    counts: Arc<Counts>,
    clients: Vec<JoinHandle<BTreeSet<usize>>>,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    acknowledged: AtomicUsize,
    /// Rows that no attempt wrote within [`PATIENCE`].
    failed: AtomicUsize,
}

impl Application {
    /// Makes the table and starts the clients.
    pub(crate) fn start(dsn: &str, clients: usize) -> Self {
        assert!(psql(dsn, "CREATE TABLE orders (id bigint)").is_some());
        let counts = Arc::new(Counts::default());
        let client = |first: usize| {
            let (dsn, counts) = (dsn.to_owned(), Arc::clone(&counts));
            std::thread::spawn(move || write(&dsn, (first..).step_by(clients), &counts))
        };
        Self { dsn: dsn.to_owned(), clients: (0..clients).map(client).collect(), counts }
    }

    /// How many rows were acknowledged so far, and how many were not.
    pub(crate) fn written(&self) -> (usize, usize) {
        (self.counts.acknowledged.load(Ordering::Relaxed), self.counts.failed.load(Ordering::Relaxed))
    }

    /// Stops the clients and asserts that every acknowledged row is on the primary. How many there are.
    pub(crate) fn finish(self) -> usize {
        self.counts.stop.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        let acknowledged: BTreeSet<usize> = clients.flat_map(|client| client.join().unwrap()).collect();
        let found = psql(&self.dsn, "SELECT id FROM orders").unwrap();
        let found: BTreeSet<usize> = found.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(acknowledged.difference(&found).collect::<Vec<_>>(), Vec::<&usize>::new());
        acknowledged.len()
    }
}

fn write(dsn: &str, ids: impl Iterator<Item = usize>, counts: &Counts) -> BTreeSet<usize> {
    let ids = ids.take_while(|_| !counts.stop.load(Ordering::Relaxed));
    let acknowledged = ids.filter(|id| {
        // Psql in a tight loop takes the processors that the cluster needs.
        std::thread::sleep(Duration::from_millis(50));
        // A connection may time out on a machine that has much to do.
        let deadline = Instant::now() + PATIENCE;
        let insert = format!("INSERT INTO orders VALUES ({id})");
        let done = loop {
            let done = psql(dsn, &insert).is_some();
            if done || Instant::now() > deadline {
                break done;
            }
        };
        let count = if done { &counts.acknowledged } else { &counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
        done
    });
    acknowledged.collect()
}

/// What psql prints, if it succeeds within 10 s.
fn psql(dsn: &str, statement: &str) -> Option<String> {
    let mut command = Command::new("timeout");
    command.args(["10", "psql", "-XAtq", "-d", dsn, "-c", statement]).env("PGCONNECT_TIMEOUT", "2");
    let done = command.output().unwrap();
    done.status.success().then(|| String::from_utf8(done.stdout).unwrap())
}
