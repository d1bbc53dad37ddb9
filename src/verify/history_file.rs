//! `history.jsonl`: every round with all of its attempts, so that another oracle can judge the run. One JSON
//! object per line; nodes are named by their keys, times are microseconds since the start of the round.
//!
//! ```text
//! {"type":"round","drill":"node-loss","n":1,"nodes":["node1","node2"],"clients":[{"id":1,"pinned":null}]}
//! {"type":"attempt","client":1,"seq":1,"sent":10,"done":900,"node":"node1","timeline":1,"outcome":"acknowledged"}
//! {"type":"sample","at":12,"node":"node1","in_recovery":false,"timeline":1,"role":"primary","state":"running"}
//! {"type":"leader-key","at":15,"holder":"node1"}
//! {"type":"found","node":"node2","client":1,"ranges":[[1,500],[502,600]],"duplicates":[17]}
//! {"type":"round-ended","struck":5000,"seen":6000,"healed":7000,"redundant":8000,"ended":9000,"primary":"node1","read":["node1","node2"]}
//! ```

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::history::{Attempt, Client, History, LeaderKey, Micros, Outcome, RowId, Rows, Sample, Server};
use crate::{file, model::InstanceKey};

/// One round, as the file has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedRound {
    /// The drill's title.
    pub drill: String,
    pub n: u32,
    pub history: History,
    pub rows: Rows,
}

type Text<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Line<'a> {
    /// The start of a round.
    Round {
        /// The drill's title.
        drill: Text<'a>,
        /// The round's number, from 1.
        n: u32,
        /// The machines with PostgreSQL.
        nodes: Cow<'a, [InstanceKey]>,
        /// The clients.
        clients: Vec<Writes<'a>>,
    },
    /// One attempt to write one row.
    Attempt {
        /// The client's number.
        client: u16,
        /// The client's own count, from 1: `client` and `seq` together identify the row.
        seq: u32,
        /// When the client began the attempt.
        sent: Micros,
        /// When the attempt ended.
        done: Micros,
        /// The machine that the connection led to; null without a connection.
        node: Option<Text<'a>>,
        /// The timeline that the server wrote on; null without a connection.
        timeline: Option<u32>,
        /// What the client knows of the outcome.
        outcome: Outcome,
        /// Why the attempt was not acknowledged; absent for one that was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Text<'a>>,
    },
    /// What a machine reported; null for what did not answer.
    Sample {
        /// The time.
        at: Micros,
        /// The machine.
        node: Text<'a>,
        /// Whether PostgreSQL was in recovery, as a replica is.
        in_recovery: Option<bool>,
        /// PostgreSQL's timeline.
        timeline: Option<u32>,
        /// The role that Patroni reported.
        role: Option<Text<'a>>,
        /// The state that Patroni reported.
        state: Option<Text<'a>>,
        /// Whether failsafe mode was active.
        failsafe: Option<bool>,
    },
    /// The holder of the leader key.
    LeaderKey {
        /// The time.
        at: Micros,
        /// The member's name; null if the key did not exist.
        holder: Option<Text<'a>>,
    },
    /// The rows of one client that one machine has at the end of the round.
    Found {
        /// The machine.
        node: Text<'a>,
        /// The client's number.
        client: u16,
        /// Ranges of consecutive numbers: the first and the last of each.
        ranges: Vec<(u32, u32)>,
        /// Numbers of duplicate rows, once for each extra copy.
        duplicates: Vec<u32>,
    },
    /// The end of a round.
    RoundEnded {
        /// When hactl began to inject the fault.
        struck: Option<Micros>,
        /// When hactl saw the effect of the fault.
        seen: Option<Micros>,
        /// When hactl had reverted the fault.
        healed: Option<Micros>,
        /// When every member streamed again.
        redundant: Option<Micros>,
        /// When hactl stopped the clients.
        ended: Micros,
        /// The primary after recovery.
        primary: Text<'a>,
        /// The machines whose rows were read.
        read: Vec<Text<'a>>,
    },
}

/// A client, and the machine that it is pinned to.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Writes<'a> {
    /// The client's number.
    id: u16,
    /// The machine that the client is pinned to; null on the application's path.
    pinned: Option<Text<'a>>,
}

/// Writes rounds, one after the other.
pub struct Writer {
    file: BufWriter<File>,
}

impl Writer {
    /// Makes the file, readable by its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(1 << 16, file::private(path)?) })
    }

    /// Writes one round, and leaves it on the disk.
    ///
    /// # Errors
    /// When it cannot be written, or names a node that is not among its nodes.
    pub fn round(&mut self, drill: &str, n: u32, history: &History, rows: &Rows) -> io::Result<()> {
        let nodes = &history.nodes;
        let clients = history
            .clients
            .iter()
            .map(|client| {
                Ok(Writes { id: client.id, pinned: client.pinned.map(|node| name(nodes, node)).transpose()? })
            })
            .collect::<io::Result<_>>()?;
        self.line(&Line::Round { drill: drill.into(), n, nodes: nodes.into(), clients })?;
        for attempt in &history.attempts {
            self.line(&attempt_line(nodes, attempt)?)?;
        }
        for sample in &history.samples {
            self.line(&sample_line(nodes, sample)?)?;
        }
        for key in &history.leader_keys {
            self.line(&Line::LeaderKey { at: key.at, holder: key.holder.as_deref().map(Into::into) })?;
        }
        for (&node, found) in &rows.on {
            self.found(name(nodes, node)?, found)?;
        }
        let read = rows.on.keys().map(|&node| name(nodes, node)).collect::<io::Result<_>>()?;
        let &History { struck, seen, healed, redundant, ended, .. } = history;
        let primary = name(nodes, rows.primary)?;
        self.line(&Line::RoundEnded { struck, seen, healed, redundant, ended, primary, read })?;
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }

    fn found(&mut self, node: Text<'_>, rows: &[RowId]) -> io::Result<()> {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        for of_client in rows.chunk_by(|a, b| a.client == b.client) {
            let (ranges, duplicates) = compact(of_client.iter().map(|row| row.seq));
            self.line(&Line::Found { node: node.clone(), client: of_client[0].client, ranges, duplicates })?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, line)?;
        self.file.write_all(b"\n")
    }
}

fn name(nodes: &[InstanceKey], node: u16) -> io::Result<Text<'_>> {
    let key = nodes.get(usize::from(node)).ok_or_else(|| io::Error::other(format!("the round has no node {node}")))?;
    Ok(key.as_str().into())
}

fn attempt_line<'a>(nodes: &'a [InstanceKey], attempt: &'a Attempt) -> io::Result<Line<'a>> {
    let Attempt { row: RowId { client, seq }, sent, done, server, outcome, .. } = *attempt;
    Ok(Line::Attempt {
        client,
        seq,
        sent,
        done,
        node: server.map(|server| name(nodes, server.node)).transpose()?,
        timeline: server.map(|server| server.timeline),
        outcome,
        reason: attempt.reason.as_deref().map(Into::into),
    })
}

fn sample_line<'a>(nodes: &'a [InstanceKey], sample: &'a Sample) -> io::Result<Line<'a>> {
    let Sample { at, node, in_recovery, timeline, failsafe, .. } = *sample;
    let node = name(nodes, node)?;
    let (role, state) = (sample.role.as_deref().map(Into::into), sample.state.as_deref().map(Into::into));
    Ok(Line::Sample { at, node, in_recovery, timeline, role, state, failsafe })
}

/// Ascending numbers as ranges, and the duplicates.
fn compact(numbers: impl Iterator<Item = u32>) -> (Vec<(u32, u32)>, Vec<u32>) {
    let (mut ranges, mut duplicates) = (Vec::<(u32, u32)>::new(), Vec::new());
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last == number => duplicates.push(number),
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    (ranges, duplicates)
}

/// Reads the rounds of a file, one at a time.
///
/// # Errors
/// When there is no such file. Each round is an error of its own when it cannot be read:
/// [`io::ErrorKind::UnexpectedEof`] where the file ends within it, since the writer was killed.
pub fn read(path: &Path) -> io::Result<RecordedRounds> {
    Ok(RecordedRounds { file: BufReader::with_capacity(1 << 16, File::open(path)?), line: 0, broken: false })
}

/// The rounds of a file. They end with the first that cannot be read.
pub struct RecordedRounds {
    file: BufReader<File>,
    line: u64,
    broken: bool,
}

impl Iterator for RecordedRounds {
    type Item = io::Result<RecordedRound>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let round = self.round().map_err(|error| {
            io::Error::new(error.kind(), format!("line {} of the history: {}", self.line, sentence(&error)))
        });
        self.broken = round.is_err();
        round.transpose()
    }
}

/// The reader's text without its position: serde counts lines within the single line that it gets.
fn sentence(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" at line 1 ").next().unwrap_or_default().to_owned()
}

impl RecordedRounds {
    fn round(&mut self) -> io::Result<Option<RecordedRound>> {
        let mut bytes = Vec::new();
        let Some(head) = self.next_line(&mut bytes)? else { return Ok(None) };
        let mut round = begin(head)?;
        loop {
            let Some(line) = self.next_line(&mut bytes)? else { return Err(cut_off()) };
            if round.take(line)? {
                return Ok(Some(round));
            }
        }
    }

    /// The next line; none at the file's end.
    fn next_line<'a>(&mut self, bytes: &'a mut Vec<u8>) -> io::Result<Option<Line<'a>>> {
        bytes.clear();
        if self.file.read_until(b'\n', bytes)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if bytes.last() != Some(&b'\n') {
            return Err(cut_off());
        }
        Ok(Some(serde_json::from_slice(bytes)?))
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends within a round")
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn begin(line: Line<'_>) -> io::Result<RecordedRound> {
    let Line::Round { drill, n, nodes, clients } = line else { return Err(wrong("no round has started")) };
    let nodes = nodes.into_owned();
    let clients = clients
        .into_iter()
        .map(|client| Ok(Client { id: client.id, pinned: client.pinned.map(|node| index(&nodes, &node)).transpose()? }))
        .collect::<io::Result<_>>()?;
    let history = History { nodes, clients, ..History::default() };
    Ok(RecordedRound { drill: drill.into_owned(), n, history, rows: Rows::default() })
}

fn index(nodes: &[InstanceKey], name: &str) -> io::Result<u16> {
    let at = nodes.iter().position(|key| key.as_str() == name);
    at.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| wrong(format!("{name} is not a node of the round")))
}

impl RecordedRound {
    /// Takes in one line; true for the last one.
    fn take(&mut self, line: Line<'_>) -> io::Result<bool> {
        let history = &mut self.history;
        let node = |name: &str| index(&history.nodes, name);
        match line {
            Line::Round { .. } => return Err(wrong("a round starts within another")),
            Line::Attempt { client, seq, sent, done, node: name, timeline, outcome, reason } => {
                let server = match (name, timeline) {
                    (Some(name), Some(timeline)) => Some(Server { node: node(&name)?, timeline }),
                    _ => None,
                };
                let (row, reason) = (RowId { client, seq }, reason.map(|reason| reason.into_owned().into()));
                history.attempts.push(Attempt { row, sent, done, server, outcome, reason });
            }
            Line::Sample { at, node: name, in_recovery, timeline, role, state, failsafe } => {
                let node = node(&name)?;
                let (role, state) = (role.map(Cow::into_owned), state.map(Cow::into_owned));
                history.samples.push(Sample { at, node, in_recovery, timeline, role, state, failsafe });
            }
            Line::LeaderKey { at, holder } => {
                history.leader_keys.push(LeaderKey { at, holder: holder.map(Cow::into_owned) });
            }
            Line::Found { node: name, client, ranges, duplicates } => {
                let numbers = ranges.into_iter().flat_map(|(first, last)| first..=last).chain(duplicates);
                self.rows.on.entry(node(&name)?).or_default().extend(numbers.map(|seq| RowId { client, seq }));
            }
            Line::RoundEnded { struck, seen, healed, redundant, ended, primary, read } => {
                self.rows.primary = node(&primary)?;
                for name in read {
                    self.rows.on.entry(node(&name)?).or_default();
                }
                (history.struck, history.seen, history.healed) = (struck, seen, healed);
                (history.redundant, history.ended) = (redundant, ended);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn round(n: u32) -> RecordedRound {
        let nodes = ["node1", "node2"].map(|name| InstanceKey::new(name).unwrap()).to_vec();
        let attempt = |seq, outcome, server, reason: Option<&str>| Attempt {
            row: RowId { client: 1, seq },
            sent: Micros::from(seq) * 1000,
            done: Micros::from(seq) * 1000 + 700,
            server,
            outcome,
            reason: reason.map(Into::into),
        };
        let on_first = Some(Server { node: 0, timeline: 3 });
        let history = History {
            nodes,
            clients: vec![Client { id: 1, pinned: None }, Client { id: 2, pinned: Some(1) }],
            attempts: vec![
                attempt(1, Outcome::Acknowledged, on_first, None),
                attempt(2, Outcome::InDoubt, on_first, Some("the connection \"broke\"\nhere \u{1b}[1m")),
                attempt(3, Outcome::Failed, None, Some("refused")),
            ],
            samples: vec![
                Sample { at: 5, node: 1, in_recovery: Some(true), role: Some("replica".into()), ..Sample::default() },
                Sample { at: 6, node: 0, failsafe: Some(false), timeline: Some(3), ..Sample::default() },
            ],
            leader_keys: vec![LeaderKey { at: 1, holder: Some("node1".into()) }, LeaderKey { at: 9, holder: None }],
            struck: Some(10),
            seen: None,
            healed: Some(30),
            redundant: None,
            ended: 40,
        };
        let row = |client, seq| RowId { client, seq };
        let held = vec![row(1, 1), row(1, 2), row(1, 2), row(1, 2), row(1, 7), row(2, 1)];
        let on = BTreeMap::from([(0, held), (1, Vec::new())]);
        RecordedRound { drill: "node-loss".into(), n, history, rows: Rows { primary: 1, on } }
    }

    fn written(rounds: &[RecordedRound]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(&dir.path().join("history.jsonl")).unwrap();
        for round in rounds {
            writer.round(&round.drill, round.n, &round.history, &round.rows).unwrap();
        }
        dir
    }

    fn read_back(dir: &tempfile::TempDir) -> Vec<io::Result<RecordedRound>> {
        let sorted = |round: io::Result<RecordedRound>| {
            round.map(|mut round| {
                round.rows.on.values_mut().for_each(|rows| rows.sort_unstable());
                round
            })
        };
        read(&dir.path().join("history.jsonl")).unwrap().map(sorted).collect()
    }

    #[test]
    fn history_read_back_equals_the_written_rounds() {
        let rounds = [round(1), round(2)];
        let dir = written(&rounds);
        let read: Vec<RecordedRound> = read_back(&dir).into_iter().map(Result::unwrap).collect();
        assert_eq!(read, rounds);
        let mode = fs::metadata(dir.path().join("history.jsonl")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn truncated_history_keeps_the_complete_rounds() {
        let dir = written(&[round(1), round(2)]);
        let path = dir.path().join("history.jsonl");
        let whole = fs::read(&path).unwrap();
        let first = fs::metadata(written(&[round(1)]).path().join("history.jsonl")).unwrap().len() as usize;
        for length in (0..whole.len()).step_by(7) {
            fs::write(&path, &whole[..length]).unwrap();
            let read = read_back(&dir);
            let rounds = read.iter().filter(|round| round.is_ok()).count();
            assert_eq!(rounds, usize::from(length >= first), "cut at {length}");
            if let Some(Err(error)) = read.last() {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {length}: {error}");
            }
        }
    }

    #[test]
    fn invalid_history_line_is_reported_with_its_number() {
        let dir = written(&[round(1)]);
        let path = dir.path().join("history.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"node\":\"node2\"", "\"node\":\"node9\"")).unwrap();
        let error = read_back(&dir).pop().unwrap().unwrap_err().to_string();
        assert_eq!(error, "line 5 of the history: node9 is not a node of the round");
        fs::write(&path, text.replace("acknowledged", "acclaimed")).unwrap();
        let error = read_back(&dir).pop().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("line 2 of the history: unknown variant `acclaimed`"), "{error}");
    }

    #[test]
    fn numbers_are_compacted_to_ranges() {
        let numbers = [1, 2, 3, 3, 5, 5, 5, 9];
        assert_eq!(compact(numbers.into_iter()), (vec![(1, 3), (5, 5), (9, 9)], vec![3, 5, 5]));
        assert_eq!(compact(std::iter::empty()), (vec![], vec![]));
    }
}
