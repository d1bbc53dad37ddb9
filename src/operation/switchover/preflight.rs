//! Whether the primary may move now: pure.

use std::collections::BTreeMap;

use crate::{
    component::{
        Problem,
        patroni::Member,
        postgres::{Activity, Reader, Standby},
    },
    model::{Durability, InstanceKey, Slot},
    operation::obstacle::{Obstacle, grave},
};

/// The age from which a transaction is too old to be cut off, in seconds.
pub(super) const OLDEST: f64 = 10.0;

/// The WAL that a standby may still have to receive or to replay, in bytes.
const LAG: i64 = 16 * 1024 * 1024;

/// How long a standby that streams may say nothing of itself, in seconds: it reports every second.
const SILENCE: f64 = 5.0;

/// The longest `max_standby_streaming_delay` that a switchover takes without a look at the queries of standbys, in seconds.
const DELAY: i64 = 5;

/// What is known of a cluster before its primary moves.
pub(super) struct Seen<'a> {
    pub(super) leader: &'a InstanceKey,
    pub(super) members: &'a [Member],
    pub(super) problems: &'a [Problem],
    pub(super) durability: Durability,
    pub(super) activity: &'a Activity,
}

/// Whether nothing that may pass by itself speaks against a switchover, to `to` if one is wished for.
pub(super) fn is_settled(
    problems: &[Problem],
    members: &[Member],
    durability: Durability,
    to: Option<&InstanceKey>,
) -> bool {
    let joins = |member: &Member| {
        to.is_some_and(|to| member.name == to.as_str()) && member.role == "replica" && !member.acknowledges(durability)
    };
    grave(problems).next().is_none() && !members.iter().any(joins)
}

/// Everything that speaks against a switchover, to `to` if one is wished for.
pub(super) fn obstacles(seen: &Seen<'_>, to: Option<&InstanceKey>) -> Vec<Obstacle> {
    let mut found: Vec<Obstacle> = grave(seen.problems).map(Obstacle::from).collect();
    if let Some(to) = to {
        found.extend(unfit(seen, to));
    }
    if seen.activity.standbys.is_empty() {
        found.push(Obstacle::new("no replica streams from the primary", "Wait until a replica streams"));
    }
    let behind = seen.activity.standbys.iter().filter_map(|(key, standby)| behind(key, standby));
    found.extend(behind.map(|cause| Obstacle::new(cause, "Wait until the replica has caught up")));
    for old in seen.activity.transactions.iter().filter(|transaction| transaction.seconds >= OLDEST) {
        let cause = format!(
            "process {} of user {} in database {} has had a transaction open for {:.0} s, which the switchover would roll \
             back",
            old.pid, old.user, old.database, old.seconds
        );
        let hint =
            format!("Wait until the transaction has ended, or end it with `SELECT pg_terminate_backend({})`", old.pid);
        found.push(Obstacle::new(cause, hint));
    }
    let readers = seen.activity.readers.iter().filter(|reader| to.is_none_or(|to| to.as_str() == reader.standby));
    found.extend(readers.filter_map(holds_up));
    for pid in &seen.activity.backups {
        let cause = format!("process {pid} takes a base backup from the primary, which the switchover would abort");
        found.push(Obstacle::new(cause, "Wait until the backup has ended"));
    }
    found
}

/// Why `to` cannot become the primary.
fn unfit(seen: &Seen<'_>, to: &InstanceKey) -> Option<Obstacle> {
    if to == seen.leader {
        return Some(Obstacle::new(format!("{to} is already the primary"), "Name a replica with --to"));
    }
    let Some(member) = seen.members.iter().find(|member| member.name == to.as_str()) else {
        return Some(Obstacle::new(format!("{to} is not a member of the cluster"), "Name a replica with --to"));
    };
    if !member.may_lead() {
        return Some(Obstacle::new(
            format!("the tags of {to} keep it from becoming the primary"),
            "Name another replica with --to",
        ));
    }
    (!member.acknowledges(seen.durability)).then(|| {
        let cause =
            format!("{to} is not one of the replicas whose acknowledgement counts: Patroni calls it {}", member.role);
        Obstacle::new(cause, "Wait until `hactl status` shows it as a synchronous replica, or name another with --to")
    })
}

/// How a standby is behind, when it is too far.
fn behind(key: &str, standby: &Standby) -> Option<String> {
    if standby.silent > SILENCE {
        return Some(format!("{key} has not acknowledged any WAL for {:.0} s", standby.silent));
    }
    if standby.not_flushed > LAG {
        return Some(format!("{key} has not yet received {} MiB of WAL", standby.not_flushed / 1_048_576));
    }
    (standby.not_replayed > LAG)
        .then(|| format!("{key} has not yet replayed {} MiB of WAL", standby.not_replayed / 1_048_576))
}

/// How a transaction on a standby could hold up the promotion, which replays all WAL first. A standby ends a query that
/// conflicts with replay after `max_standby_streaming_delay`.
fn holds_up(Reader { standby, delay, transaction }: &Reader) -> Option<Obstacle> {
    let longest = match *delay {
        _ if transaction.seconds < OLDEST => return None,
        Some(delay) if delay <= DELAY => return None,
        Some(delay) => format!("for up to {delay} s"),
        None => "without a limit".to_owned(),
    };
    let cause = format!(
        "process {} of user {} in database {} on {standby} has had a transaction open for {:.0} s; it can hold up the \
         promotion of {standby} {longest} (`max_standby_streaming_delay`)",
        transaction.pid, transaction.user, transaction.database, transaction.seconds
    );
    let hint = format!(
        "Wait until the transaction has ended, or set `max_standby_streaming_delay: {DELAY}s` in `postgres.parameters`: \
         standbys then cancel such queries"
    );
    Some(Obstacle::new(cause, hint))
}

/// What the switchover changes for others, and does not refuse. Patroni keeps the slots of `kept` on every member.
pub(super) fn notes(activity: &Activity, kept: Option<&BTreeMap<String, Slot>>) -> Vec<String> {
    let prepared = activity
        .prepared
        .iter()
        .map(|name| format!("prepared transaction {name} stays prepared on the new primary, with its locks"));
    let is_kept = |name: &&String| kept.is_some_and(|kept| kept.contains_key(*name));
    let slots = activity.logical_slots.iter().filter(|name| !is_kept(name)).map(|name| {
        format!("logical slot {name} is on the old primary only: its consumer cannot continue from the new one")
    });
    prepared.chain(slots).collect()
}

#[cfg(test)]
mod tests;
