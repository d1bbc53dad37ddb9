//! The catalogue -> the page that describes every drill, for docs/drills.md.

use super::{
    catalogue::{Bound, CATALOGUE, Drill, Expect, Fault, Loss, Target, Tier, Until},
    expectation::{BASELINE, BEHIND_MS, START_MS},
    pooled::START,
};
use crate::{
    component::{haproxy, pgbouncer},
    plan::{Durability, ELECTION},
};

const HEAD: &str = "\
# Failover drills

<!-- Generated from the table in src/verify/catalogue.rs: HACTL_BLESS=1 cargo test --lib verify writes it. -->

A drill injects a real fault into a healthy cluster while clients write, reverts the fault, and waits until every member
streams again. Then it compares the acknowledged commits with the rows in the database. Before hactl injects a fault, it sets
and tests an automatic revert, the undo, which also runs if hactl dies.

Destructive drills run only on clusters with `disposable: true`, the default on the local platform, and only if you name
them on the command line or in the cluster file. [Verify](verify.md) explains how a round works and what hactl measures.
";

const RULES: &str = "
An acknowledged commit that is not on the primary afterwards fails a round, unless the drill may lose commits under the
cluster's durability: then hactl counts and reports it. A round also fails in each of these cases:

- The fault was not injected, or its effect did not show.
- Rows are duplicated, were never attempted, or differ between the primary and a replica.
- A server acknowledged a write on an older timeline after a newer timeline had acknowledged one, or two servers acknowledged
  writes on the same timeline.
- Writes stopped for longer than the bound or than `verify.limits` in the cluster file, or did not resume, or redundancy was not restored.
- The primary, the timeline or the failsafe mode is not what the drill expects. If the primary must not change, it must
  never be in recovery, its postmaster must not be replaced, and it must not end a session of a client.
- psql with the connection string that `hactl status` prints did not write again.
- In a drill of the [entry point](endpoint.md), a client of the poolers waited for longer than the bound, did not write through
  the pooler in question before the fault, or a transaction that it has acknowledged is not committed on the primary. While a
  pool is exhausted, such a client gets an error, or a new one is served.
";

/// The page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n| Drill | Tier | Target | Fault | New primary |\n|---|---|---|---|---|\n");
    for drill in CATALOGUE {
        let title = drill.title();
        let cells = [tier(drill.tier), target(drill.target), &faults(drill), expected(drill.new_leader)];
        page.push_str(&format!("| [{title}](#{}) | {} |\n", title.replace('/', ""), cells.join(" | ")));
    }
    page.push_str("\n## What fails a round\n");
    page.push_str(RULES);
    page.push_str(&format!(
        "- Fewer than {BASELINE} writes were acknowledged on the application's path before the fault, or no client was pinned to one \
         of the machines.\n"
    ));
    for drill in CATALOGUE {
        page.push_str(&section(drill));
    }
    page
}

fn section(drill: &Drill) -> String {
    let rows = [
        ("Tier", tier(drill.tier).to_owned()),
        ("Target", target(drill.target).to_owned()),
        ("Fault", faults(drill)),
        ("Effect", drill.effect.to_owned()),
        ("Lasts", duration(drill.until).to_owned()),
        ("Undo, even if hactl dies", drill.undo.to_owned()),
        ("New primary", expected(drill.new_leader).to_owned()),
        ("New timeline", expected(drill.new_timeline).to_owned()),
        ("Failsafe mode", if drill.failsafe { "must keep the primary in its role" } else { "not needed" }.to_owned()),
        ("Longest write gap", bound(drill.bound)),
        ("Longest wait through the poolers", wait(drill)),
        ("Acknowledged commits lost", losses(drill)),
        ("Needs", needs(drill)),
    ];
    let rows: String = rows
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("| {name} | {value} |\n"))
        .collect();
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
        Target::PrimaryAndSyncReplica => "the primary and a replica that it waits for",
        Target::EtcdLeader => "etcd's leader",
        Target::EtcdMajority => "enough etcd voters to leave etcd without a quorum",
        Target::All => "every machine",
        Target::Pooler => "the machine whose pooler clients connect to first",
    }
}

/// The fault, after those that come before it.
fn faults(drill: &Drill) -> String {
    drill.before.iter().chain([drill]).map(|part| fault(part.fault)).collect::<Vec<_>>().join(", then ")
}

fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Switchover => "a requested switchover",
        Fault::KillPostgres => "SIGKILL to the postmaster",
        Fault::KillNewPrimary => {
            "a requested switchover, then SIGKILL to the postmaster of the new primary once it accepts writes"
        }
        Fault::KillPatroni => "SIGKILL to Patroni; its unit restarts it",
        Fault::StopPatroniForGood => "SIGKILL to Patroni; its unit cannot start again",
        Fault::HangPatroni => "SIGSTOP to Patroni",
        Fault::PowerOff => "loss of power",
        Fault::Isolate => "no packets to or from the other members; clients stay connected",
        Fault::CutFromEtcd => "Patroni cannot reach etcd; everything else works",
        Fault::KillEtcd => "SIGKILL to etcd; its unit cannot start again",
        Fault::SlowEtcd => "every request from Patroni and the lease guard to etcd arrives 1.5 s late",
        Fault::FreezeEtcd => "SIGSTOP to every etcd, 1.5 s of every 3 s",
        Fault::ExpireCertificates => {
            "every certificate of the machine expires: those of etcd, its peers, Patroni and PostgreSQL"
        }
        Fault::ExhaustRest => "ten connections to the REST API of each replica's Patroni that send nothing",
        Fault::ExhaustMemory => "a backend allocates more memory than its limit, and the kernel kills it",
        Fault::FillDisk => "the file system of PGDATA is full, and PostgreSQL needs more space",
        Fault::LosePackets => "10 % of the packets between the members are lost",
        Fault::DelayPackets => "every packet between the members is delayed by 200 ms, so a round trip by 400 ms",
        Fault::CutReplication => "no packets between a replica and the server that it streams from",
        Fault::BulkLoad => "a COPY of more rows than the replicas receive",
        Fault::KillPooler => "SIGKILL to PgBouncer; its unit restarts it",
        Fault::KillProxy => "SIGKILL to every process of HAProxy; its unit restarts it",
        Fault::HoldPool => "open transactions of clients hold every connection of the pool",
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
        Until::Failover => "until another machine acknowledges writes",
        Until::LockExpiry => "ttl + loop_wait + 5 s",
        Until::Moment => "5 s",
        Until::Succession => "until 5 s after the leader key names another member",
        Until::Undo => "until the automatic undo reverts it",
    }
}

fn bound(bound: Bound) -> String {
    match bound {
        Bound::Planned(fault) => format!("the bound of {fault} in `hactl plan`"),
        Bound::NoInterruption => {
            format!("loop_wait + {ELECTION} s: only an election of etcd may interrupt writes")
        }
        Bound::Sum(first, second) => format!("the bounds of {first} and {second} in `hactl plan`, added up"),
        Bound::Unmeasured => "none".to_owned(),
        Bound::Held(fault) => format!("the time that the fault stays, plus the bound of {fault} in `hactl plan`"),
        Bound::Behind(fault) => {
            format!("{} s for the replicas to fall behind, plus the bound of {fault} in `hactl plan`", BEHIND_MS / 1000)
        }
        Bound::Restart => format!("{} s for the machines to start, plus the bound of node-loss", START_MS / 1000),
    }
}

/// The bound of the clients of the poolers; empty where the drill is not about them.
fn wait(drill: &Drill) -> String {
    let from_start = format!("{START} s until clients write again");
    match drill.fault {
        Fault::KillPooler => format!("{} s until its unit starts it again, and {from_start}", pgbouncer::RESTART),
        Fault::KillProxy => format!(
            "{} s until its unit starts it again, {} s for its checks, {} s until PgBouncer connects again, and {from_start}",
            haproxy::RESTART,
            haproxy::CHECKS,
            pgbouncer::LOGIN_RETRY
        ),
        Fault::HoldPool => format!(
            "{} s for the effect to show, the time that the fault stays, and {from_start}; `query_wait_timeout` of PgBouncer is longer",
            drill.effect_within().as_secs()
        ),
        _ => String::new(),
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
    let more = match drill.fault {
        Fault::FillDisk => ", PGDATA on its own file system",
        Fault::ExhaustMemory => {
            ", a memory controller that the unit of Patroni may use (cgroup v2), or a container with a limit of at most 4 GiB"
        }
        Fault::PowerOff => {
            ", power that hactl can cut: the local platform, [Proxmox](proxmox.md#drills), or hosts with \
             [`power`](hosts.md#power)"
        }
        _ if drill.is_through_poolers() => ", an [entry point](endpoint.md), psql beside hactl",
        _ => "",
    };
    format!(
        "{}, {}{more}",
        count(data_nodes, "machine with PostgreSQL", "machines with PostgreSQL"),
        count(voters, "etcd voter", "etcd voters")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drills_page_matches_the_catalogue() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/drills.md");
        if std::env::var_os("HACTL_BLESS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(reference(), written, "HACTL_BLESS=1 cargo test writes {}", path.display());
    }
}
