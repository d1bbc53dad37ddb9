//! The catalogue -> the page that describes every drill, for docs/drills.md.

use super::{
    catalogue::{Bound, CATALOGUE, Drill, Expect, Fault, Loss, Target, Tier, Until},
    expectation::{BASELINE, START_MS},
};
use crate::plan::{Durability, ELECTION};

const HEAD: &str = "\
# Failover drills

<!-- Generated from the table in src/verify/catalogue.rs: HACTL_BLESS=1 cargo test --lib verify writes it. -->

A drill strikes a healthy cluster with a real fault while clients write, takes the fault back, waits until every member
streams again, and then compares what was acknowledged with the rows that are there. Its way back is armed before the
fault strikes.

Destructive drills run only on clusters that are `disposable: true`, as local ones are by default, and only when they are
asked for, on the command line or in the cluster file. [Verify](verify.md) says how a round goes and what is measured.
";

const RULES: &str = "
An acknowledged commit that is not on the primary afterwards fails a round, unless the drill may lose some under the
cluster's durability: then it is counted and reported. Every round fails, too, where

- the fault was not injected, or its effect not seen;
- rows are there twice, were never written, or differ between primary and replicas;
- a node acknowledged a write on an older timeline after a newer one had acknowledged one, or two nodes on one timeline;
- writes stopped for longer than the bound, did not come back, or redundancy was not restored;
- leader, timeline or failsafe mode are not what the drill expects. Where there must not be a new leader, the primary must
  not have been in recovery for a moment, either;
";

/// The page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n| Drill | Tier | What is struck | Fault | New leader |\n|---|---|---|---|---|\n");
    for drill in CATALOGUE {
        let title = drill.title();
        let cells = [tier(drill.tier), target(drill.target), fault(drill.fault), expected(drill.new_leader)];
        page.push_str(&format!("| [{title}](#{}) | {} |\n", title.replace('/', ""), cells.join(" | ")));
    }
    page.push_str("\n## What fails a round\n");
    page.push_str(RULES);
    page.push_str(&format!(
        "- fewer than {BASELINE} writes were acknowledged on the application's path before the fault, or no client stayed on one of \
         the nodes.\n"
    ));
    for drill in CATALOGUE {
        page.push_str(&section(drill));
    }
    page
}

fn section(drill: &Drill) -> String {
    let rows = [
        ("Tier", tier(drill.tier).to_owned()),
        ("What is struck", target(drill.target).to_owned()),
        ("Fault", fault(drill.fault).to_owned()),
        ("Effect", drill.effect.to_owned()),
        ("Lasts", duration(drill.until).to_owned()),
        ("Undo, whatever becomes of hactl", drill.undo.to_owned()),
        ("New leader", expected(drill.new_leader).to_owned()),
        ("New timeline", expected(drill.new_timeline).to_owned()),
        ("Failsafe mode", if drill.failsafe { "must hold the primary" } else { "is not needed" }.to_owned()),
        ("Longest write gap", bound(drill.bound)),
        ("Acknowledged commits lost", losses(drill)),
        ("Needs", needs(drill)),
    ];
    let rows: String = rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
    format!("\n## {}\n\n| | |\n|---|---|\n{rows}", drill.title())
}

fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Gentle => "gentle",
        Tier::SingleFault => "single fault",
        Tier::Destructive => "destructive",
    }
}

fn target(target: Target) -> &'static str {
    match target {
        Target::Primary => "the primary",
        Target::Replica => "a replica",
        Target::Replicas => "every replica",
        Target::SyncReplica => "a replica that the primary waits for",
        Target::EtcdLeader => "etcd's leader",
        Target::EtcdMajority => "as many of etcd's voters as leave it without a quorum",
        Target::All => "every machine",
    }
}

fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Switchover => "a switchover is asked for",
        Fault::KillPostgres => "SIGKILL to the postmaster",
        Fault::KillPatroni => "SIGKILL to Patroni, whose unit starts it again",
        Fault::StopPatroniForGood => "SIGKILL to Patroni, which stays dead",
        Fault::HangPatroni => "SIGSTOP to Patroni",
        Fault::PowerOff => "the power goes",
        Fault::Isolate => "no packet to or from the other members; the clients' way stays open",
        Fault::CutFromEtcd => "Patroni reaches no etcd; everything else works",
        Fault::KillEtcd => "SIGKILL to etcd, which stays dead",
        Fault::SlowEtcd => "every request of Patroni and the lease guard to etcd arrives 1.5 s late",
        Fault::FillDisk => "the file system of PGDATA is filled, and PostgreSQL made to need more of it",
        Fault::LosePackets => "packets between the members are lost at random",
        Fault::DelayPackets => "packets between the members are late",
        Fault::CutReplication => "no packet passes between a replica and the server that it streams from",
        Fault::Asynchronous => "`synchronous_mode` is off in the DCS",
        Fault::StopGuard => "the lease guard is stopped",
    }
}

fn expected(expect: Expect) -> &'static str {
    match expect {
        Expect::Must => "must",
        Expect::May => "may",
        Expect::MustNot => "must not",
    }
}

fn duration(until: Until) -> &'static str {
    match until {
        Until::Once => "an instant",
        Until::Failover => "until another node acknowledges writes",
        Until::LockExpiry => "ttl + loop_wait + 5 s",
        Until::Moment => "5 s",
        Until::Succession => "until 5 s after the leader key names another member",
    }
}

fn bound(bound: Bound) -> String {
    match bound {
        Bound::Planned(fault) => format!("the bound of {fault} that `hactl plan` shows"),
        Bound::NoInterruption => {
            format!("loop_wait + {ELECTION} s: nothing may interrupt writes but an election of etcd")
        }
        Bound::Unmeasured => "none".to_owned(),
        Bound::Held(fault) => format!("as long as the fault stays, and the bound of {fault} that `hactl plan` shows"),
        Bound::Restart => format!("{} s for the machines' own start, and the bound of node-loss", START_MS / 1000),
    }
}

fn losses(drill: &Drill) -> String {
    let told = |durability: Durability| match drill.loss(durability) {
        Loss::None => format!("none under {durability}"),
        Loss::Reported => format!("reported under {durability}"),
    };
    [Durability::QuorumStrict, Durability::Quorum, Durability::Async].map(told).join(", ")
}

fn needs(drill: &Drill) -> String {
    let count = |number: usize, one: &str, more: &str| format!("{number} {}", if number == 1 { one } else { more });
    let (data_nodes, voters) = (drill.data_nodes, drill.voters);
    let disk = if drill.fault == Fault::FillDisk { ", PGDATA on a file system that holds nothing else" } else { "" };
    format!("{}, {} of etcd{disk}", count(data_nodes, "data node", "data nodes"), count(voters, "voter", "voters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_catalogue_says() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/drills.md");
        if std::env::var_os("HACTL_BLESS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(reference(), written, "HACTL_BLESS=1 cargo test writes {}", path.display());
    }
}
