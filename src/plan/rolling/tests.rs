//! Plays the scripts beside this file: each command changes what is seen, `next` writes the step that follows, and `course`
//! all steps up to what forbids one. `HACTL_BLESS=1 cargo test --lib plan::rolling` rewrites the expected lines.

use std::{fs, path::Path};

use super::*;

fn key(word: &str) -> InstanceKey {
    word.parse().unwrap()
}

/// Reads `KEY:WORD+WORD` into a server.
fn server(word: &str) -> (InstanceKey, Server) {
    let (name, words) = word.split_once(':').unwrap_or((word, ""));
    let has = |word: &str| words.split('+').any(|one| one == word);
    let known = |word: &str| ["", "leads", "quorum", "nofailover"].contains(&word);
    assert!(words.split('+').all(known), "unknown word: {words}");
    let leads = has("leads");
    (key(name), Server { leads, acknowledges: has("quorum"), may_lead: !has("nofailover"), ..Server::default() })
}

fn words_of(found: &[Hindrance]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn words(next: &Next) -> String {
    match next {
        Next::Done => "nothing is left to do".to_owned(),
        Next::Take(step) => step.to_string(),
        Next::Wait(found) => format!("wait: {}", words_of(found)),
        Next::Refuse(found) => format!("refuse: {}", words_of(found)),
    }
}

fn words_of_course((steps, found): &(Vec<RestartStep>, Vec<Hindrance>)) -> String {
    let mut all: Vec<String> = steps.iter().map(ToString::to_string).collect();
    all.push(if found.is_empty() { "end".to_owned() } else { format!("no further: {}", words_of(found)) });
    all.join(", ")
}

/// The script with the answer that each `next` and `course` has now.
fn play(script: &str) -> String {
    let mut seen = Servers::default();
    let mut played = String::new();
    for line in script.lines().filter(|line| !line.starts_with("> ")) {
        played.push_str(line);
        played.push('\n');
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (name, said) = rest.split_once(' ').unwrap_or((rest, ""));
        let said = said.to_owned();
        let mut change = |change: &dyn Fn(&mut Server)| change(seen.members.get_mut(&key(name)).unwrap());
        match command {
            "" | "#" => {}
            "members" => seen.members = rest.split_whitespace().map(server).collect(),
            "synchronous" => seen.synchronous = rest.parse().unwrap(),
            "restart" => {
                for name in rest.split_whitespace() {
                    seen.members.get_mut(&key(name)).unwrap().restart = Restart::Due;
                }
            }
            "futile" => change(&|server| server.restart = Restart::Futile(said.clone())),
            "down" => change(&|server| server.state = ServerState::Away(said.clone())),
            "starts" => change(&|server| {
                (server.state, server.restart) = (ServerState::Returns(said.clone()), Restart::Done);
                server.acknowledges = false;
            }),
            "runs" => change(&|server| server.state = ServerState::Runs(said.clone())),
            "streams" => change(&|server| server.state = ServerState::Serves),
            "quorum" => change(&|server| server.acknowledges = true),
            "leads" => {
                for (other, server) in &mut seen.members {
                    server.leads = *other == key(name);
                    server.acknowledges &= !server.leads;
                }
            }
            "backup" => change(&|server| server.backup = said.parse().ok()),
            "paused" => seen.paused = true,
            "resumed" => seen.paused = false,
            "scheduled" => seen.scheduled = Some(rest.to_owned()).filter(|when| !when.is_empty()),
            "etcd" => seen.etcd = Some(rest.to_owned()).filter(|words| !words.is_empty()),
            "problem" => seen.problems = Some(rest.to_owned()).into_iter().filter(|words| !words.is_empty()).collect(),
            "next" => played.push_str(&format!("> {}\n", words(&next_restart(&seen)))),
            "course" => played.push_str(&format!("> {}\n", words_of_course(&course(&seen)))),
            other => panic!("unknown command: {other}"),
        }
    }
    played
}

#[test]
fn scripted_clusters_give_the_recorded_steps() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/rolling");
    let mut scripts = 0;
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let script = fs::read_to_string(&path).unwrap();
        let played = play(&script);
        scripts += 1;
        if std::env::var_os("HACTL_BLESS").is_some() {
            fs::write(&path, &played).unwrap();
        } else {
            assert_eq!(script, played, "{}", path.display());
        }
    }
    assert!(scripts > 0, "there are no scripts in {}", dir.display());
}

#[test]
fn hindrance_that_waits_for_a_person_says_what_to_do() {
    let cluster = "pg".parse().unwrap();
    let all = [
        Hindrance::Paused,
        Hindrance::Scheduled("2026-11-30T20:00:00+00:00".to_owned()),
        Hindrance::Backup(key("node2"), 7),
        Hindrance::NoCandidate(key("node1")),
        Hindrance::Futile(key("node1"), "seen".to_owned()),
    ];
    for hindrance in all {
        assert!(!hindrance.passes() && !hindrance.hint(&cluster).contains("hactl status"), "{hindrance:?}");
    }
}
