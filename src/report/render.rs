//! Values -> words. Pure, so that what people read is tested as text.

use std::fmt::Write;

use super::backups::backup_lines;
use crate::{
    deployment::for_psql,
    event::{Event, Outcome, ResourceState, Stage, Summary},
    health::Status,
    model::Endpoints,
    plan::Plan,
    ssh,
    verify::{Cost, Drill},
};

pub(super) const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Spec => "cluster file",
        Stage::Plan => "plan",
        Stage::Fetch => "fetch",
        Stage::Image => "image",
        Stage::Provision => "provision",
        Stage::Dns => "dns",
        Stage::Inventory => "inventory",
        Stage::Configure => "configure",
        Stage::Health => "health",
        Stage::Verify => "verify",
        Stage::Switchover => "switchover",
        Stage::Reinit => "reinit",
        Stage::Restart => "restart",
        Stage::Backup => "backup",
        Stage::Destroy => "destroy",
    }
}

/// Milliseconds in minutes and seconds.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    if seconds >= 60 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else {
        format!("{}.{} s", seconds, ms % 1000 / 100)
    }
}

/// The line of an event that both views for people show; none for those that only one of them shows.
pub(super) fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::StageFinished { stage: of, outcome, duration_ms, detail } => {
            let word = match outcome {
                Outcome::Ok => "done",
                Outcome::Failed => "failed",
                Outcome::Skipped => "skipped",
            };
            let detail = detail.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
            format!("{}: {word} in {}{detail}", stage(*of), duration(*duration_ms))
        }
        Event::Step { node, step, .. } => {
            let node = node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
            format!("  {node}{step}")
        }
        Event::Resource { address, action, state, elapsed_ms } => {
            let word = match state {
                ResourceState::Started => "started",
                ResourceState::Progress => "in progress",
                ResourceState::Done => "done",
                ResourceState::Failed => "failed",
            };
            let when = if *state == ResourceState::Progress { "after" } else { "in" };
            let elapsed = elapsed_ms.map(|ms| format!(" {when} {}", duration(ms))).unwrap_or_default();
            format!("  {address}: {action} {word}{elapsed}")
        }
        Event::Diagnostic { severity, summary, detail, address, file, line } => {
            let place = match (file, line) {
                (Some(file), Some(line)) => format!(" at {file}:{line}"),
                (Some(file), None) => format!(" at {file}"),
                _ => String::new(),
            };
            let address = address.as_ref().map(|address| format!(" {address}")).unwrap_or_default();
            let detail: String = detail.lines().map(|line| format!("\n    {line}")).collect();
            format!("  Terraform {severity}{address}{place}: {summary}{}", detail.trim_end())
        }
        Event::Planned { durability, fencing, bounds } => {
            let gaps: Vec<String> = bounds.iter().map(|gap| format!("{} {:.0} s", gap.fault, gap.seconds)).collect();
            format!("durability: {durability}\nfencing: {fencing}\nlongest write gap: {}", gaps.join(", "))
        }
        Event::SwitchedOver { from, to, timeline, without_primary_ms } => {
            let without = duration(*without_primary_ms);
            format!(
                "  {to} is the primary instead of {from}, on timeline {timeline}, after {without} without a primary"
            )
        }
        Event::Reinitialized { node, bytes, kept } => {
            let kept = kept.as_ref().map(|kept| format!("; the old data is in {kept}")).unwrap_or_default();
            format!("  {node}: {} MiB copied{kept}", bytes / 1_048_576)
        }
        Event::Restarted { node, handed_over, duration_ms } => {
            let how = if *handed_over { " as a replica" } else { "" };
            format!("  {node}: PostgreSQL serves again{how}, {} after the request", duration(*duration_ms))
        }
        Event::Download { what, source, reason } => format!("  {what}: from {source} ({reason})"),
        Event::Warning { code, message, hint } => {
            let hint = hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
            format!("warning [{code}]: {message}{hint}")
        }
        _ => return None,
    })
}

/// The end of an acting command.
#[must_use]
pub fn summary_text(summary: &Summary) -> String {
    let mut text = format!("\n{}\n", summary.message);
    match (&summary.endpoints, &summary.dsn) {
        (Some(endpoints), _) => text.push_str(&ways_in(endpoints)),
        (None, Some(dsn)) => drop(write!(text, "\n  psql {}\n", argument(&for_psql(dsn)))),
        (None, None) => {}
    }
    if !summary.stages.is_empty() {
        text.push('\n');
        for time in &summary.stages {
            let skipped = if time.outcome == Outcome::Skipped { "  (skipped)" } else { "" };
            let _ = writeln!(text, "  {:<10} {:>12}{skipped}", stage(time.stage), duration(time.duration_ms));
        }
        let total: u64 = summary.stages.iter().map(|time| time.duration_ms).sum();
        let _ = writeln!(text, "  {:<10} {:>12}", "total", duration(total));
    }
    if !summary.next.is_empty() {
        text.push_str("\nNext:\n");
        for command in &summary.next {
            let _ = writeln!(text, "  {command}");
        }
    }
    text
}

/// `hactl status` for people.
#[must_use]
pub fn status_text(status: &Status) -> String {
    let word = match (status.healthy, status.plain) {
        (true, true) => "machines without roles",
        (true, false) => "healthy",
        (false, _) => "NOT HEALTHY",
    };
    let mut text = format!("{}: {word}\n", status.name);
    if !status.plain {
        let _ = writeln!(text, "  durability  {}", status.durability);
        let _ = writeln!(text, "  fencing     {}", status.fencing);
    }
    if let Some(kernel) = status.kernel {
        let _ = writeln!(text, "  kernel      {kernel}");
    }
    let watchdogs = status.members.iter().filter_map(|member| Some((&member.name, member.watchdog?.in_words()?)));
    let watchdogs: Vec<String> = watchdogs.map(|(name, state)| format!("{state} on {name}")).collect();
    if !watchdogs.is_empty() {
        let _ = writeln!(text, "  watchdog    {}", watchdogs.join(", "));
    }
    if let Some(end) = &status.earliest_end {
        let _ = writeln!(text, "  certificates the first expires on {end}");
    }
    if let Some(backup) = &status.backup {
        text.push_str(&backup_lines(backup));
    }
    if !status.members.is_empty() {
        let _ = writeln!(
            text,
            "\n  {:<16} {:<15} {:<12} {:>8} {:>12} {:>20}",
            "PATRONI", "ROLE", "STATE", "TIMELINE", "LAG", "REPLAY LAG"
        );
        for member in &status.members {
            let timeline = member.timeline.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let lag = member.lag_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes} B"));
            let seconds = member.replay_lag_seconds.map(|seconds| format!(", {seconds:.1} s")).unwrap_or_default();
            let replay = member.replay_lag_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes} B{seconds}"));
            let _ = writeln!(
                text,
                "  {:<16} {:<15} {:<12} {timeline:>8} {lag:>12} {replay:>20}",
                member.name, member.role, member.state
            );
        }
    }
    if !status.etcd.members.is_empty() {
        let _ = writeln!(text, "\n  {:<16} {:<15} ID", "ETCD", "ROLE");
        for member in &status.etcd.members {
            let role = match (member.leader, member.learner) {
                (true, _) => "leader",
                (_, true) => "learner",
                _ => "follower",
            };
            let name = if member.name.is_empty() { "(not started)" } else { &member.name };
            let _ = writeln!(text, "  {name:<16} {role:<15} {}", member.id);
        }
    }
    if !status.poolers.is_empty() {
        let _ = writeln!(
            text,
            "\n  {:<16} {:<15} {:<12} {:>8} {:>12} {:<16} REPLICAS",
            "POOLER", "STATE", "CLIENTS", "WAITING", "CONNECTIONS", "PRIMARY"
        );
        for one in &status.poolers {
            let list = |keys: &[String]| if keys.is_empty() { "-".to_owned() } else { keys.join(",") };
            let _ = writeln!(
                text,
                "  {:<16} {:<15} {:<12} {:>8} {:>12} {:<16} {}",
                one.node,
                one.pooler,
                one.clients,
                one.waiting,
                one.servers,
                list(&one.primary),
                list(&one.replicas)
            );
        }
    }
    if !status.slots.is_empty() {
        let _ = writeln!(text, "\n  {:<16} {:<15} {:<12} {:<12} {:>8}", "SLOT", "TYPE", "CLIENT", "WAL", "HELD");
        for slot in &status.slots {
            let client = if slot.active { "connected" } else { "absent" };
            let held = slot.retained_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
            let wal = slot.wal_status.as_deref().unwrap_or("-");
            let _ = writeln!(text, "  {:<16} {:<15} {client:<12} {wal:<12} {held:>8}", slot.name, slot.kind);
        }
    }
    for (heading, problems) in [("Problems", &status.problems), ("Notices", &status.notices)] {
        if problems.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{heading}:");
        for problem in problems {
            let node = problem.node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
            let lines: Vec<String> = problem.message.lines().map(|line| shortened(line, WIDEST)).collect();
            let _ = writeln!(text, "  [{}] {node}{}", problem.code, lines.join("\n    "));
            if let Some(hint) = &problem.hint {
                let _ = writeln!(text, "    hint: {hint}");
            }
        }
    }
    match &status.endpoints {
        Some(endpoints) => text.push_str(&ways_in(endpoints)),
        None if status.plain => {}
        None => drop(write!(text, "\n  psql {}", argument(&for_psql(&status.dsn)))),
    }
    text.truncate(text.trim_end().len());
    text
}

/// The ways into a cluster with an entry point, each with what it is for.
fn ways_in(endpoints: &Endpoints) -> String {
    let mut text = String::new();
    let mut add = |what: &str, dsn: &str| {
        let _ = write!(text, "\n  {what}:\n  psql {}\n", argument(&for_psql(dsn)));
    };
    add("Applications, through the poolers", &endpoints.pooled);
    if let Some(replicas) = &endpoints.replicas {
        add("Applications that only read, on the replicas", replicas);
    }
    add("Schema changes, LISTEN, advisory locks and temporary tables, on the servers themselves", &endpoints.direct);
    text
}

/// `text` as one argument in a command that the user pastes into a shell.
fn argument(text: &str) -> String {
    // A shell replaces these within double quotes.
    if text.contains(['$', '`', '"', '\\', '!']) { ssh::quoted(text) } else { format!("\"{text}\"") }
}

/// How many characters of a line of a problem are shown: services log lines of any length.
const WIDEST: usize = 200;

fn shortened(line: &str, widest: usize) -> String {
    match line.char_indices().nth(widest) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

/// `hactl plan` for people: the planned cluster, without Terraform's own changes.
#[must_use]
pub fn plan_text(plan: &Plan) -> String {
    let mut text = format!("{} (app {}, env {})\n", plan.cluster, plan.app, plan.env);
    if !plan.is_plain() {
        let _ = writeln!(
            text,
            "  PostgreSQL {}, Patroni {}, etcd {}",
            plan.postgres.major, plan.patroni.version, plan.etcd
        );
        let timers = &plan.patroni.timers;
        let _ = writeln!(
            text,
            "  durability {}, ttl {} s, loop_wait {} s, retry_timeout {} s",
            plan.patroni.durability.as_str(),
            timers.ttl,
            timers.loop_wait,
            timers.retry_timeout
        );
        let _ = writeln!(text, "  fencing: {}", plan.fencing);
    }
    if let Some(backend) = &plan.backend {
        let _ = writeln!(text, "  state: {backend}");
    }
    let _ =
        writeln!(text, "\n  {:<16} {:<24} {:<16} {:>10} {:>6}", "INSTANCE", "HOST NAME", "ROLES", "MEMORY", "CORES");
    for node in plan.nodes.values() {
        let roles: Vec<&str> = node.roles.iter().map(|role| role.as_str()).collect();
        let disk = node.disk_gb.map(|gb| format!("  disk of {gb} GiB")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {:<16} {:<24} {:<16} {:>6} MiB {:>6}{disk}",
            node.key,
            node.hostname,
            roles.join(","),
            node.memory_mib,
            node.cores
        );
    }
    if let Some(dns) = &plan.dns {
        let _ = writeln!(text, "\n  DNS: HOST NAME.{} at {}, TTL {} s", dns.zone, dns.endpoint(), dns.ttl);
    }
    if !plan.bounds.is_empty() {
        text.push_str("\n  Longest write gap to expect:\n");
    }
    for bound in &plan.bounds {
        let _ = writeln!(text, "    {:<24} {:>6.1} s  {}", bound.fault, bound.seconds, bound.formula);
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "\n  warning [{}]: {}", warning.code, warning.message);
    }
    text.truncate(text.trim_end().len());
    text
}

/// `hactl verify --list`: the drills in their order.
#[must_use]
pub fn catalogue_text(drills: &[Drill]) -> String {
    let mut text = format!("{:<24} {:<13} {:<14} {:<12} EFFECT\n", "DRILL", "TIER", "TARGET", "NEW PRIMARY");
    for drill in drills {
        let (tier, target) = (word(&drill.tier), word(&drill.target));
        let leader = word(&drill.new_leader).replace('-', " ");
        let _ = writeln!(text, "{:<24} {tier:<13} {target:<14} {leader:<12} {}", drill.title(), drill.effect);
    }
    text.truncate(text.trim_end().len());
    text
}

/// What drills interrupt, shown before the user confirms.
#[must_use]
pub fn costs_text(costs: &[Cost], rounds: Option<u32>) -> String {
    let times = match rounds {
        Some(1) => "once each".to_owned(),
        Some(rounds) => format!("{rounds} times each"),
        None => "one drill at random in each round".to_owned(),
    };
    let mut text = format!("These drills inject real faults, {times}. In each round, writes may stop for at most:\n");
    for cost in costs {
        let gap = cost.gap.map_or_else(|| "no bound".to_owned(), |gap| format!("{gap:>6.0} s"));
        let _ = writeln!(text, "  {:<24} {gap:>8}  {}", cost.drill.title(), word(&cost.drill.tier));
    }
    let gaps: Option<f64> = costs.iter().map(|cost| cost.gap).sum();
    if let (Some(rounds), Some(gaps)) = (rounds, gaps) {
        let all = gaps * f64::from(rounds);
        let _ = write!(text, "  {:<24} {all:>6.0} s", "all rounds");
    }
    text.truncate(text.trim_end().len());
    text
}

/// The word by which a value is written in JSON.
fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        health::{diagnose, status},
        model::Choices,
        plan, spec,
    };

    #[test]
    fn printed_argument_with_shell_characters_reaches_the_program_unchanged() {
        assert_eq!(argument("host=a passfile='/my dir/p'"), "\"host=a passfile='/my dir/p'\"");
        assert_eq!(argument("passfile='/e $HOME/p'"), r"'passfile='\''/e $HOME/p'\'''");
        for text in ["/a`id`/x", "/say \"hi\"/x", "/wow!/x", "/a\\b/x"] {
            assert_eq!(argument(text), format!("'{text}'"));
        }
    }

    #[test]
    fn diagnostic_without_detail_is_one_line() {
        let shown = |detail: &str| {
            let (severity, summary) = ("error".to_owned(), "execution halted".to_owned());
            let detail = detail.to_owned();
            line(&Event::Diagnostic { severity, summary, detail, address: None, file: None, line: None }).unwrap()
        };
        assert_eq!(shown(""), "  Terraform error: execution halted");
        assert_eq!(shown("a\nb\n"), "  Terraform error: execution halted\n    a\n    b");
    }

    #[test]
    fn machines_without_roles_are_planned_and_shown_without_a_cluster() {
        let file =
            b"name: web\nplatform: {proxmox: {pool: p}}\ndefaults: {roles: []}\ninstances: {web01: {}, db01: {}}\n";
        let plan = plan::decide(&spec::load("web.yaml", file, "web").unwrap(), &Choices::default()).unwrap();
        let text = plan_text(&plan);
        assert!(text.contains("web-prod-web01"), "{text}");
        for word in ["durability", "fencing", "PostgreSQL", "write gap"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
        let health = diagnose(&plan, &BTreeMap::new());
        let status = status(&plan, &health, "host=''".to_owned(), None);
        assert!(status.healthy && status.problems.is_empty(), "{:?}", status.problems);
        assert_eq!(status_text(&status), "web: machines without roles");
    }

    #[test]
    fn durations_are_formatted_in_seconds_and_minutes() {
        assert_eq!(duration(950), "0.9 s");
        assert_eq!(duration(61_000), "1 min 1 s");
    }

    #[test]
    fn long_line_is_shortened_between_characters() {
        assert_eq!(shortened("märz", 4), "märz");
        assert_eq!(shortened("märz 26", 2), "mä...");
    }

    #[test]
    fn costs_text_shows_the_gap_for_each_drill_and_all_rounds() {
        let drills = crate::verify::choose(&["switchover".to_owned(), "node-loss".to_owned()]).unwrap();
        let costs: Vec<Cost> =
            drills.into_iter().zip([Some(23.0), Some(28.0)]).map(|(drill, gap)| Cost { drill, gap }).collect();
        assert_eq!(
            costs_text(&costs, Some(3)),
            "These drills inject real faults, 3 times each. In each round, writes may stop for at most:\n  \
             switchover                   23 s  gentle\n  \
             node-loss                    28 s  single-fault\n  \
             all rounds                  153 s"
        );
        let unknown = [Cost { drill: costs[0].drill, gap: None }];
        assert!(costs_text(&unknown, Some(1)).ends_with("switchover               no bound  gentle"));
        let text = costs_text(&costs, None);
        assert!(text.contains("one drill at random in each round") && text.ends_with("single-fault"), "{text}");
    }
}
