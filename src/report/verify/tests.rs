//! A verification as it may come out, and what the reports make of it.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use super::{
    HISTORY, HTML, JSON, JUNIT, MARKDOWN, RestoreCase, junit, junit_of_restore, markdown, read, text, write_all,
};
use crate::{
    error::Error,
    model::InstanceKey,
    verify::{
        history::{Attempt, Client, History, LeaderKey, Micros, Outcome, RowId, Rows, Sample, Server},
        history_file,
        verdict::{
            Counts, DrillOutcome, DrillReport, Phases, PooledClients, Recovery, RoundOutcome, RoundReport, Spread,
            VERSION, Verdict,
        },
    },
};

const HOSTILE: &str = "server said <script>alert(1)</script> & \"bye\" | `x`\n\u{1b}[31msecond line";

const SECOND: Micros = 1_000_000;

/// When what happened in the round that `history` is of.
const STRUCK: Micros = 15 * SECOND;
const SEEN: Micros = STRUCK + 400_000;
const RESUMED: Micros = STRUCK + 21_300_000;
const HEALED: Micros = STRUCK + 23 * SECOND;
const REDUNDANT: Micros = STRUCK + 47 * SECOND;
const ENDED: Micros = STRUCK + 50 * SECOND;

/// A pseudorandom number from 0 to 1.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as f64 / f64::from(1_u32 << 31)
}

/// Twenty clients, three of them pinned, while node1 loses its power and node2 takes over.
fn history() -> History {
    let nodes = ["node1", "node2", "node3"].map(|name| InstanceKey::new(name).unwrap()).to_vec();
    let clients = (1..=20).map(|id| Client { id, pinned: (id <= 3).then(|| id - 1) }).collect::<Vec<_>>();
    let mut history = History {
        nodes,
        struck: Some(STRUCK),
        seen: Some(SEEN),
        healed: Some(HEALED),
        redundant: Some(REDUNDANT),
        ended: ENDED,
        ..History::default()
    };
    let mut state = 7;
    for client in &clients {
        let (mut now, mut seq) = (u64::from(client.id) * 3000, 0);
        while now < ENDED {
            seq += 1;
            let attempt =
                attempt(*client.pinned.as_ref().unwrap_or(&9), RowId { client: client.id, seq }, now, &mut state);
            now = attempt.done + 20_000;
            history.attempts.push(attempt);
        }
    }
    history.clients = clients;
    history.attempts.sort_by_key(|attempt| attempt.done);
    for at in (0..ENDED).step_by(250_000) {
        history.samples.extend((0..3).map(|node| sample(at, node)));
        history.leader_keys.push(LeaderKey { at, holder: holder(at).map(str::to_owned) });
    }
    history
}

/// What comes of an attempt at a moment; `pinned` is a node, or 9 for a client that follows the primary.
fn attempt(pinned: u16, row: RowId, now: Micros, state: &mut u64) -> Attempt {
    let latency = (1800.0 * (1.0 + 6.0 * random(state).powi(6)) * (1.0 + 40.0 * random(state).powi(60))) as Micros;
    let on = |node, timeline| Some(Server { node, timeline });
    let primary = if now < STRUCK { (0, 1) } else { (1, 2) };
    let answer = |server, lasted, outcome, reason: Option<&str>| Attempt {
        row,
        sent: now,
        done: now + lasted,
        server,
        outcome,
        reason: reason.map(Into::into),
    };
    let serves = !(STRUCK - 4000..=RESUMED).contains(&now);
    match pinned {
        // It went to the primary, which is alive.
        9 if serves => answer(on(primary.0, primary.1), latency, Outcome::Acknowledged, None),
        node if serves && node == primary.0 => answer(on(node, primary.1), latency, Outcome::Acknowledged, None),
        // The machine lost its power during the request.
        9 | 0 if now < STRUCK => answer(on(0, 1), 2 * SECOND, Outcome::InDoubt, Some("no answer within 2 s")),
        9 => answer(None, 250_000, Outcome::Failed, Some("connection refused")),
        0 if now < HEALED + 8 * SECOND => answer(None, SECOND, Outcome::Failed, Some("no route to host")),
        node => {
            answer(on(node, 1), latency + 200_000, Outcome::Failed, Some("cannot write in a read-only transaction"))
        }
    }
}

fn sample(at: Micros, node: u16) -> Sample {
    let down = node == 0 && (SEEN..HEALED + 8 * SECOND).contains(&at);
    let primary = if node == 0 { at < STRUCK } else { node == 1 && at > RESUMED - 600_000 };
    let timeline = if at > RESUMED { 2 } else { 1 };
    Sample {
        at,
        node,
        in_recovery: (!down).then_some(!primary),
        timeline: (!down).then_some(timeline),
        ..Sample::default()
    }
}

fn holder(at: Micros) -> Option<&'static str> {
    match at {
        _ if at < STRUCK + 19 * SECOND => Some("node1"),
        _ if at < STRUCK + 20 * SECOND => None,
        _ => Some("node2"),
    }
}

fn counts(acknowledged: u64, lost: u64) -> Counts {
    Counts { attempted: acknowledged + 40, acknowledged, in_doubt: 17, recovered: 3, lost, ..Counts::default() }
}

fn round(n: u32, outcome: RoundOutcome, gap: u64, counts: Counts, reasons: &[&str]) -> RoundReport {
    RoundReport {
        n,
        drill: None,
        outcome,
        reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
        write_gap_ms: Some(gap),
        bound_ms: Some(28_000),
        limit_ms: None,
        target: Some("node1".into()),
        primary_node: "node1".into(),
        new_primary_node: Some("node2".into()),
        etcd_leader_node: Some("node3".into()),
        journals: (outcome == RoundOutcome::Failed).then(|| "journals/node-loss-1".into()),
        timeline: [Some(1), Some(2)],
        phases_ms: Phases {
            effect: Some(400),
            lock_lost: Some(19_000),
            promoted: Some(20_700),
            first_write: Some(gap),
            healed: Some(23_000),
            redundant: Some(47_000),
        },
        recovered_ms: Recovery { last: Some(gap + 900), libpq: Some(gap + 400), idle: Some(gap + 100), pooled: None },
        pooled: Some(PooledClients { attempted: 1412, failed: 3, lost: Some(0), gap_ms: 2_500, bound_ms: Some(6_000) }),
        rate: 775.4,
        counts,
    }
}

fn drill(name: &str, outcome: DrillOutcome, rounds: Vec<RoundReport>, reason: Option<&str>) -> DrillReport {
    let mut gaps: Vec<u64> = rounds.iter().filter_map(|round| round.write_gap_ms).collect();
    gaps.sort_unstable();
    let sum = |of: fn(&Counts) -> u64| rounds.iter().map(|round| of(&round.counts)).sum();
    DrillReport {
        name: name.into(),
        variant: None,
        outcome,
        reason: reason.map(str::to_owned),
        write_gap_ms: (!gaps.is_empty()).then(|| Spread {
            min: gaps[0],
            median: gaps[gaps.len() / 2],
            max: gaps[gaps.len() - 1],
            p95: None,
        }),
        counts: Counts {
            attempted: sum(|counts| counts.attempted),
            acknowledged: sum(|counts| counts.acknowledged),
            in_doubt: sum(|counts| counts.in_doubt),
            recovered: sum(|counts| counts.recovered),
            lost: sum(|counts| counts.lost),
            split_brain: sum(|counts| counts.split_brain),
            ..Counts::default()
        },
        rounds,
    }
}

fn verdict(drills: Vec<DrillReport>) -> Verdict {
    Verdict {
        version: VERSION,
        cluster: "patroni-3node".into(),
        started: "2026-11-22T07:17:39Z".into(),
        hactl: "0.1.0".into(),
        platform: "local".into(),
        stamps: vec!["shared kernel".into()],
        durability: "quorum-strict".into(),
        fencing: "nothing: no watchdog device; a primary whose Patroni hangs stays".into(),
        timers: BTreeMap::from([("ttl".into(), 20), ("loop_wait".into(), 3), ("retry_timeout".into(), 7)]),
        seed: 4_711,
        path: "direct".into(),
        libpq: "psql (PostgreSQL) 15.18".into(),
        drills,
    }
}

/// A drill that passed, with two rounds and a void one.
fn node_loss() -> DrillReport {
    let void =
        round(3, RoundOutcome::Void, 5_000, Counts::default(), &["the fault was reverted before its planned end"]);
    let rounds = vec![
        round(1, RoundOutcome::Passed, 21_300, counts(25_432, 0), &[]),
        round(2, RoundOutcome::Passed, 24_100, counts(386_913, 0), &[]),
        void,
    ];
    drill("node-loss", DrillOutcome::Passed, rounds, None)
}

fn hang() -> DrillReport {
    let lost = Counts { split_brain: 2, ..counts(1_000, 3) };
    let rounds = vec![round(1, RoundOutcome::Failed, 31_000, lost, &["3 acknowledged commits are lost", HOSTILE])];
    let reason = rounds[0].complaint();
    drill("patroni-hang", DrillOutcome::Failed, rounds, Some(&reason))
}

fn skipped() -> DrillReport {
    let skipped = drill("slow-network", DrillOutcome::Skipped, Vec::new(), Some("the kernel has no netem"));
    DrillReport { variant: Some("loss".into()), ..skipped }
}

fn refused() -> DrillReport {
    drill("disk-full", DrillOutcome::Refused, Vec::new(), Some("the cluster is not declared `disposable: true`"))
}

/// Writes the reports of a verdict with a history for the first rounds of its first two drills.
fn written(dir: &Path, verdict: &Verdict) {
    let path = dir.join(HISTORY);
    let mut writer = history_file::Writer::create(&path).unwrap();
    for title in ["node-loss", "patroni-hang"] {
        writer.round(title, 1, &history(), &Rows::default()).unwrap();
    }
    write_all(dir, verdict, &path).unwrap();
}

#[test]
fn terminal_report_has_table_reasons_and_loss_statement() {
    let text = text(&verdict(vec![node_loss(), hang(), skipped(), refused()]));
    let expected = r#"patroni-3node: NOT PROVED: 1 of 2 drills failed, 2 not run
  durability  quorum-strict
  fencing     nothing: no watchdog device; a primary whose Patroni hangs stays
  machines    local, shared kernel
  libpq       psql (PostgreSQL) 15.18

  DRILL             OUTCOME  ROUNDS  GAP MIN   MEDIAN      MAX    BOUND LAST CLIENT   LOST IN DOUBT
  node-loss         passed        3    5.0 s   21.3 s   24.1 s   28.0 s      25.0 s      0       34
  patroni-hang      FAILED        1   31.0 s   31.0 s   31.0 s   28.0 s      31.9 s      3       17
  slow-network/loss skipped       -        -        -        -        -           -      -        -
  disk-full         refused       -        -        -        -        -           -      -        -

Failed:
  patroni-hang: round 1 FAILED: 3 acknowledged commits are lost
  patroni-hang: round 1 FAILED: server said <script>alert(1)</script> & "bye" | `x`
    [31msecond line

Passed, with remarks:
  node-loss: round 3 void: the fault was reverted before its planned end

Refused:
  disk-full: the cluster is not declared `disposable: true`

Skipped:
  slow-network/loss: the kernel has no netem

3 of 413,345 acknowledged commits lost in 3 rounds (1 more round void)."#;
    assert_eq!(text, expected);
}

#[test]
fn terminal_report_without_loss_states_the_bound_on_its_chance() {
    let text = text(&verdict(vec![node_loss()]));
    assert!(text.starts_with("patroni-3node: proved: 1 drill passed\n"), "{text}");
    let end = "0 of 412,345 acknowledged commits lost in 2 rounds (1 more round void). \
               At 95 % confidence, the chance that a round loses one is at most 78 %.";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn report_without_any_round_proves_nothing() {
    let verdict = verdict(vec![skipped()]);
    let text = text(&verdict);
    assert!(text.starts_with("patroni-3node: nothing proved: no drill ran, 1 not run\n"), "{text}");
    assert!(text.ends_with("No round ran that could show lost commits."), "{text}");
    assert!(markdown(&verdict).contains("| slow-network/loss | skipped | 0 | - | - |"));
}

#[test]
fn junit_report_has_a_suite_per_drill_and_a_case_per_round() {
    let xml = junit(&verdict(vec![node_loss(), hang(), skipped(), refused()])).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    let all = document.root_element();
    let numbers = |node: roxmltree::Node<'_, '_>| {
        ["tests", "failures", "errors", "skipped", "time"].map(|name| node.attribute(name).unwrap().to_owned())
    };
    assert_eq!(numbers(all), ["6", "1", "1", "2", "188.000"]);
    let suites: Vec<_> = all.children().filter(roxmltree::Node::is_element).collect();
    assert_eq!(numbers(suites[0]), ["3", "0", "0", "1", "141.000"]);
    assert_eq!(suites[0].attribute("timestamp"), Some("2026-11-22T07:17:39"));
    let failure = suites[1].descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert_eq!(failure.attribute("message"), Some("3 acknowledged commits are lost"));
    let said = failure.text().unwrap();
    assert!(said.contains("<script>alert(1)</script> & \"bye\" | `x`\n[31msecond line"), "{said}");
    assert!(suites[2].descendants().any(|node| node.attribute("message") == Some("skipped: the kernel has no netem")));
    assert!(suites[3].descendants().any(|node| node.has_tag_name("error")));
}

#[test]
fn junit_report_counts_a_drill_that_failed_as_a_whole() {
    let passed = round(1, RoundOutcome::Passed, 1_200, counts(10, 0), &[]);
    let failed = drill("switchover", DrillOutcome::Failed, vec![passed], Some("the cluster did not heal"));
    let xml = junit(&verdict(vec![failed])).unwrap();
    assert!(xml.contains("failures=\"1\"") && xml.contains("message=\"the cluster did not heal\""), "{xml}");
}

#[test]
fn junit_report_of_a_restore_has_its_steps_or_why_it_failed() {
    let step = |name, seconds| RestoreCase { name, seconds, output: "31 MiB".to_owned() };
    let started = "2026-11-30T10:00:00.123Z";
    let xml = junit_of_restore("pg", started, Ok(vec![step("restore", 4), step("recovery", 2)])).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    let all = document.root_element();
    assert_eq!((all.attribute("name"), all.attribute("time")), (Some("hactl backup verify pg"), Some("6.000")));
    assert_eq!((all.attribute("tests"), all.attribute("failures")), (Some("2"), Some("0")));
    for (code, failures, errors) in [("restore-test-failed", "1", "0"), ("restore-test-refused", "0", "1")] {
        let error = Error::failed(code, "restore the backups of", "pg").cause("rows <differ>");
        let xml = junit_of_restore("pg", started, Err(&error)).unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let all = document.root_element();
        assert_eq!((all.attribute("failures"), all.attribute("errors")), (Some(failures), Some(errors)), "{xml}");
        assert!(xml.contains("cannot restore the backups of pg") && xml.contains("rows &lt;differ&gt;"), "{xml}");
    }
}

#[test]
fn markdown_table_escapes_cell_text() {
    let markdown = markdown(&verdict(vec![node_loss(), hang(), skipped()]));
    let row = "| node-loss | passed | 3 | 21.3 s (5.0 s to 24.1 s) | 28.0 s | 412,345 | 0 | 34 | 0 |\n";
    assert!(markdown.contains(row), "{markdown}");
    let hostile =
        r"- **patroni-hang** (FAILED): round 1 FAILED: server said &lt;script&gt;alert(1)&lt;/script&gt; &amp; ";
    assert!(markdown.contains(hostile), "{markdown}");
    assert!(markdown.contains(r#""bye" \| \`x\` \[31msecond line"#), "{markdown}");
}

#[test]
fn html_page_is_well_formed_self_contained_and_small() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), &verdict(vec![node_loss(), hang(), skipped(), refused()]));
    let html = fs::read_to_string(dir.path().join(HTML)).unwrap();
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let page = roxmltree::Document::parse_with_options(&html, options).unwrap();
    assert_eq!(page.descendants().filter(|node| node.attribute("role") == Some("img")).count(), 2);
    let ids: Vec<&str> = page.descendants().filter_map(|node| node.attribute("id")).collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    for node in page.descendants() {
        assert!(!["script", "link", "img", "iframe"].iter().any(|name| node.tag_name().name() == *name));
        for name in ["href", "src"] {
            assert!(node.attribute(name).is_none_or(|to| to.starts_with('#')), "{node:?}");
        }
    }
    assert!(!html.contains("@import") && !html.contains("url(http"));
    assert!(html.contains("&lt;script&gt;alert(1)"), "hostile words are shown as words");
    assert!(html.contains("3 of 1,412 transactions failed, 0 lost; longest wait 2.5 s, bound 6.0 s"));
    assert!(html.len() < 2 * 100_000, "{} bytes", html.len());
    assert!(page.descendants().count() < 2 * 3000, "{} nodes", page.descendants().count());
}

#[test]
fn html_size_of_a_round_is_bounded_with_many_attempts() {
    let mut state = 11;
    let nodes: Vec<InstanceKey> = (1..=7).map(|n| InstanceKey::new(format!("node{n}")).unwrap()).collect();
    let mut history = History { nodes, struck: Some(STRUCK), ended: ENDED, ..history() };
    history.attempts = (0..50_000)
        .map(|seq| {
            let outcomes = [Outcome::Acknowledged, Outcome::InDoubt, Outcome::Failed];
            let at = (random(&mut state) * ENDED as f64) as Micros;
            Attempt {
                row: RowId { client: (seq % 20) as u16, seq },
                sent: at,
                done: at + (10_f64.powf(random(&mut state) * 7.0)) as Micros,
                server: Some(Server { node: (random(&mut state) * 7.0) as u16, timeline: 1 }),
                outcome: outcomes[(random(&mut state) * 3.0) as usize],
                reason: None,
            }
        })
        .collect();
    history.samples = (0..20_000)
        .map(|index| Sample {
            at: index * ENDED / 20_000,
            node: (index % 7) as u16,
            in_recovery: Some(random(&mut state) < 0.7),
            timeline: Some((random(&mut state) * 9.0) as u32),
            ..Sample::default()
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(HISTORY);
    history_file::Writer::create(&path).unwrap().round("node-loss", 1, &history, &Rows::default()).unwrap();
    write_all(dir.path(), &verdict(vec![node_loss()]), &path).unwrap();
    let size = fs::metadata(dir.path().join(HTML)).unwrap().len();
    assert!(size < 300_000, "{size} bytes");
}

#[test]
fn report_files_are_private_and_read_back_equal() {
    let dir = tempfile::tempdir().unwrap();
    let verdict = verdict(vec![node_loss(), hang(), skipped()]);
    written(dir.path(), &verdict);
    assert_eq!(read(dir.path()).unwrap(), verdict);
    for name in [JSON, HTML, JUNIT, MARKDOWN, HISTORY] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn truncated_history_is_noted_and_the_rest_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let verdict = verdict(vec![node_loss()]);
    written(dir.path(), &verdict);
    let path = dir.path().join(HISTORY);
    let length = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 5).unwrap();
    write_all(dir.path(), &verdict, &path).unwrap();
    let html = fs::read_to_string(dir.path().join(HTML)).unwrap();
    assert!(
        html.contains("Some timelines are missing, because history.jsonl could not be read: line")
            && html.contains("the file ends within a round.")
    );
    assert!(html.contains("node-loss, round 1</title>"), "the whole round before is shown");
    write_all(dir.path(), &verdict, &dir.path().join("none")).unwrap();
    let html = fs::read_to_string(dir.path().join(HTML)).unwrap();
    assert!(html.contains("The timelines are missing, because history.jsonl could not be read"));
}

/// Writes all files of a report, to look at.
#[test]
#[ignore = "a tool: `HACTL_EXAMPLE_REPORT=DIR cargo test --lib example_report -- --ignored` writes into DIR"]
fn example_report() {
    let dir = std::env::var_os("HACTL_EXAMPLE_REPORT").expect("HACTL_EXAMPLE_REPORT names a directory");
    let crash = round(1, RoundOutcome::Passed, 640, counts(31_221, 0), &[]);
    let crash = RoundReport { new_primary_node: None, timeline: [Some(2), Some(2)], bound_ms: Some(311_000), ..crash };
    let switchover = drill("postgres-crash", DrillOutcome::Passed, vec![crash], None);
    fs::create_dir_all(&dir).unwrap();
    written(Path::new(&dir), &verdict(vec![switchover, node_loss(), hang(), skipped(), refused()]));
}
