//! Plays the scripts beside this file: each command changes the situation, and `next` writes the step that follows.
//! `HACTL_BLESS=1 cargo test --lib plan::steps` rewrites the expected lines.

use std::{fs, path::Path};

use super::*;

/// Reads `KEY:ROLE+ROLE` into a member.
fn member(word: &str) -> (InstanceKey, BTreeSet<Role>) {
    let (key, roles) = word.split_once(':').unwrap_or((word, ""));
    let roles = roles.split('+').filter(|role| !role.is_empty());
    let role = |word: &str| serde_json::from_value(serde_json::json!(word)).unwrap();
    (key.parse().unwrap(), roles.map(role).collect())
}

/// The script with the answer that each `next` has now.
fn play(script: &str) -> String {
    let mut situation = Situation::default();
    let mut played = String::new();
    for line in script.lines().filter(|line| !line.starts_with("> ")) {
        played.push_str(line);
        played.push('\n');
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let keys = || rest.split_whitespace().map(|key| key.parse::<InstanceKey>().unwrap());
        match command {
            "" | "#" => {}
            "members" => situation.members = rest.split_whitespace().map(member).collect(),
            "plan-restarts" => situation.restarts = keys().collect(),
            "allow-restart" => situation.agreed.extend(keys()),
            "problem" => situation.problems.push(rest.to_owned()),
            "healed" => situation.problems.clear(),
            "next" => {
                let answer = match next_step(&situation) {
                    Ok(None) => "nothing is left to do".to_owned(),
                    Ok(Some(step)) => step.to_string(),
                    Err(blocked) => blocked.to_string(),
                };
                played.push_str(&format!("> {answer}\n"));
            }
            "done" => keys().for_each(|key| _ = situation.restarts.remove(&key)),
            other => panic!("unknown command: {other}"),
        }
    }
    played
}

#[test]
fn scripted_situations_give_the_recorded_steps() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/steps");
    let mut scripts = 0;
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let script = fs::read_to_string(&path).unwrap();
        let played = play(&script);
        if std::env::var_os("HACTL_BLESS").is_some() {
            fs::write(&path, &played).unwrap();
        }
        assert_eq!(script, played, "{}", path.display());
        scripts += 1;
    }
    assert!(scripts > 0, "there are no scripts in {}", dir.display());
}

/// Whatever the situation: a step stops one member of a cluster without a problem, and only with the user's consent.
#[test]
fn every_step_stops_a_single_agreed_member_of_a_healthy_cluster() {
    use proptest::{prelude::*, sample::subsequence};

    let keys: Vec<InstanceKey> = ["a", "b", "c", "d"].iter().map(|key| key.parse().unwrap()).collect();
    let some = || subsequence(keys.clone(), 0..=4).prop_map(|keys| keys.into_iter().collect::<BTreeSet<_>>());
    proptest!(|(plain in some(), restarts in some(), agreed in some(), degraded in any::<bool>())| {
        let role = |key: &InstanceKey| if plain.contains(key) { BTreeSet::new() } else { [Role::Patroni].into() };
        let members: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), role(key))).collect();
        let problems = if degraded { vec!["node3: PostgreSQL does not answer".to_owned()] } else { Vec::new() };
        let due: Vec<_> = restarts.iter().filter(|key| !plain.contains(*key)).collect();
        let situation = Situation { members, restarts: restarts.clone(), agreed: agreed.clone(), problems };
        match next_step(&situation) {
            Ok(None) => prop_assert!(due.is_empty()),
            Ok(Some(Step::Restart(key))) => {
                prop_assert!(due == [&key] && agreed.contains(&key) && !degraded);
            }
            Err(_) => prop_assert!(due.len() > 1 || degraded || !agreed.contains(due[0])),
        }
    });
}
