//! A scenario: its text is read and played, and the transcript compared.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    transcript::Transcript,
    world::{Observed, Outcome, World},
};

/// How long hactl may do nothing that can be observed.
const PATIENCE: Duration = Duration::from_secs(120);

/// hactl prints its events in the background. A call comes after all events that were printed within this time before.
const QUIET: Duration = Duration::from_millis(40);

/// Plays `scenarios/NAME.txt`, and compares the transcripts.
pub(super) fn play(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripted/scenarios").join(format!("{name}.txt"));
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let actual = played(&expected);
    if std::env::var_os("HACTL_BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    } else if actual != expected {
        panic!("{} differs (HACTL_BLESS=1 rewrites it):\n{}", path.display(), difference(&expected, &actual));
    }
}

/// Plays a scenario, and returns its text with the transcripts of this run.
pub(super) fn played(scenario: &str) -> String {
    let mut world = World::new();
    let mut text = String::new();
    let mut lines = scenario.lines().peekable();
    while let Some(line) = lines.next() {
        text += &format!("{line}\n");
        if let Some(words) = line.strip_prefix(": after hactl ") {
            let transcript = run(&mut world, words);
            assert!(transcript.ends_with("exit 0\n"), "hactl {words}\n{transcript}");
        } else if let Some(words) = line.strip_prefix(": ") {
            world.set(words);
        } else if let Some(words) = line.strip_prefix("$ hactl ") {
            while lines.next_if(|line| !line.is_empty()).is_some() {}
            text += &run(&mut world, words);
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "not a line of a scenario: {line}");
        }
    }
    text
}

/// Runs one command, and returns its transcript.
fn run(world: &mut World, words: &str) -> String {
    let mut child = world.hactl(words).spawn().unwrap();
    let (stdout, mut stderr) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
    let sender = world.sender();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _ = sender.send(Observed::Event(serde_json::from_str(&line).unwrap()));
        }
        let _ = sender.send(Observed::OutputEnded);
    });
    let stderr = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let interrupt = |transcript: &mut Transcript| {
        transcript.add("", "Ctrl-C");
        kill(pid, Signal::SIGINT).unwrap();
    };
    let mut transcript = Transcript::default();
    let mut pending = VecDeque::new();
    let mut hanging = None;
    loop {
        let next = pending.pop_front().map_or_else(|| world.observed.recv_timeout(PATIENCE), Ok);
        match next {
            Ok(Observed::Event(event)) => transcript.event(&event),
            Ok(Observed::OutputEnded) => break,
            Ok(Observed::Called(call)) => {
                settle(world, &mut pending, &mut transcript);
                transcript.call(&call.invocation, world.names_variables(&call));
                match world.play(call) {
                    Outcome::Ended => {}
                    Outcome::Hangs(call, text, code) => {
                        interrupt(&mut transcript);
                        hanging = Some((call, text, code));
                    }
                    Outcome::Interrupt => interrupt(&mut transcript),
                }
            }
            Ok(Observed::Interrupted) => {
                if let Some((call, text, code)) = hanging.take() {
                    transcript.add(&call.invocation.program, format!("receives SIGINT, exit {code}"));
                    call.print(&text);
                    call.exit(code);
                }
            }
            Ok(Observed::EtcdChanged { change, go }) => {
                settle(world, &mut pending, &mut transcript);
                transcript.add("etcd", change);
                let _ = go.send(());
            }
            Err(error) => {
                let _ = child.kill();
                panic!("hactl {words}: {error}\n{}", transcript.text());
            }
        }
    }
    let status = child.wait().unwrap();
    let stderr = stderr.join().unwrap().unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
    world.locks().iter().for_each(|lock| transcript.add("", format!("left locked: {lock}")));
    world.take_faults().iter().for_each(|fault| transcript.add("", format!("did not happen: {fault}")));
    transcript.add("hactl", status.code().map_or_else(|| status.to_string(), |code| format!("exit {code}")));
    world.normalised(&transcript.text())
}

/// Waits for the events that hactl emitted before the call for which it now waits.
fn settle(world: &World, pending: &mut VecDeque<Observed>, transcript: &mut Transcript) {
    let mut last = Instant::now();
    let mut later = VecDeque::new();
    loop {
        let left = QUIET.saturating_sub(last.elapsed());
        match pending.pop_front().map_or_else(|| world.observed.recv_timeout(left), Ok) {
            Ok(Observed::Event(event)) => {
                transcript.event(&event);
                last = Instant::now();
            }
            Ok(other) => later.push_back(other),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the world keeps a sender"),
        }
    }
    *pending = later;
}

/// The lines from the first to the last that differ.
fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let same = expected.iter().zip(&actual).take_while(|(one, other)| one == other).count();
    let ends = expected[same..].iter().rev().zip(actual[same..].iter().rev());
    let same_end = ends.take_while(|(one, other)| one == other).count();
    let part = |lines: &[&str], sign: &str| -> String {
        lines[same..lines.len() - same_end].iter().map(|line| format!("{sign} {line}\n")).collect()
    };
    format!("from line {}:\n{}{}", same + 1, part(&expected, "-"), part(&actual, "+"))
}
