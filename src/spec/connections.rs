//! The limits of connections in `postgres.parameters`, against each other and against what hactl itself uses.

use std::collections::BTreeMap;

use super::{Instance, checker::Checker};
use crate::model::{EntryPoint, InstanceKey, Patroni, Postgres, default_max_connections};

const MOST: &str = "max_connections";
const FOR_SUPERUSERS: &str = "superuser_reserved_connections";
const RESERVED: &str = "reserved_connections";
const SENDERS: &str = "max_wal_senders";
const SLOTS: &str = "max_replication_slots";

/// Patroni keeps two connections on each server, and hactl's own commands open one.
const OF_SUPERUSERS: u32 = 3;
/// What drills and `pg_rewind` open with roles that get no reserved connection.
const OF_OTHERS: u32 = 20;
/// What the roles set for replication where the file does not.
const FOR_REPLICATION: u32 = 10;

/// Each limit covers what uses it, also while members are copied and rewound.
pub(super) fn connections(
    checker: &mut Checker<'_, '_>,
    postgres: &Postgres,
    patroni: &Patroni,
    entry: Option<&EntryPoint>,
    instances: &BTreeMap<InstanceKey, Instance>,
) {
    let data_nodes: Vec<&Instance> = instances.values().filter(|instance| instance.is_data_node()).collect();
    let memory = postgres.memory_mib.or_else(|| data_nodes.iter().map(|one| one.memory_mib).min());
    let members = u32::try_from(data_nodes.len()).unwrap_or(u32::MAX);
    if members == 0 {
        return;
    }
    sessions(checker, postgres, entry, members, default_max_connections(memory.unwrap_or_default()));
    let slots = patroni.slots.as_ref().map_or(0, |slots| u32::try_from(slots.len()).unwrap_or(u32::MAX));
    // A copy uses two senders, and one member at a time is copied while the others stream.
    let senders = members + slots;
    let text = format!("{members} data nodes and {slots} entries of `patroni.slots` need {senders}");
    replication(checker, postgres, SENDERS, senders, &text);
    let kept = members - 1 + slots;
    let text = format!("{} replicas and {slots} entries of `patroni.slots` need {kept}", members - 1);
    replication(checker, postgres, SLOTS, kept, &text);
}

fn sessions(
    checker: &mut Checker<'_, '_>,
    postgres: &Postgres,
    entry: Option<&EntryPoint>,
    members: u32,
    default: u32,
) {
    let limits = [(MOST, default), (FOR_SUPERUSERS, OF_SUPERUSERS), (RESERVED, 0)];
    let numbers = limits.map(|(name, default)| postgres.count(name, default));
    // A value that is no number is refused by the server that tries it.
    let [Some(most), Some(for_superusers), Some(reserved)] = numbers else { return };
    if for_superusers < OF_SUPERUSERS {
        let message = format!(
            "Patroni needs two connections on each server and hactl one, also when applications use all others: set at \
             least {OF_SUPERUSERS}"
        );
        checker.meant(&path(FOR_SUPERUSERS), message, Some(OF_SUPERUSERS.to_string()));
    }
    let kept = for_superusers.saturating_add(reserved);
    let written = |names: &[&'static str]| names.iter().copied().find(|name| postgres.parameters.contains_key(*name));
    let Some(at) = written(&[FOR_SUPERUSERS, RESERVED, MOST]) else { return };
    let left = most.saturating_sub(kept);
    if left < OF_OTHERS {
        let message = format!(
            "`{MOST}` is {most}, and {kept} of them are reserved ({FOR_SUPERUSERS} {for_superusers}, {RESERVED} \
             {reserved}): {left} are left, and hactl's drills and `pg_rewind` need {OF_OTHERS}"
        );
        let enough = kept.saturating_add(OF_OTHERS);
        let field = if at == MOST { String::new() } else { format!("{MOST}: ") };
        checker.meant(&path(at), message, Some(format!("{field}{enough}")));
        return;
    }
    let (Some(_), Some(at)) = (entry, written(&[FOR_SUPERUSERS, RESERVED])) else { return };
    // Each other member may rewind at once, and a direct client gets in.
    let needed = kept.saturating_add(members);
    let reserve = EntryPoint::reserve(most);
    if reserve < needed {
        let enough = (most..).step_by(10).find(|more| EntryPoint::reserve(*more) >= needed);
        let message = format!(
            "the poolers may open {} of {most} connections, and {kept} are reserved: {} are left for direct clients and \
             `pg_rewind`, which need {members}",
            most - reserve,
            reserve.saturating_sub(kept)
        );
        checker.meant(&path(at), message, enough.map(|enough| format!("{MOST}: {enough}")));
    }
}

fn replication(checker: &mut Checker<'_, '_>, postgres: &Postgres, name: &str, needed: u32, why: &str) {
    let Some(limit) = postgres.count(name, FOR_REPLICATION).filter(|limit| *limit < needed) else { return };
    let given = postgres.parameters.contains_key(name);
    let message = format!("`{name}` is {limit}{}, and {why}", if given { "" } else { " by default" });
    if given {
        checker.meant(&path(name), message, Some(needed.to_string()));
    } else {
        let suggestion = format!("parameters: {{{name}: {needed}}}");
        checker.meant(&["postgres"], message, Some(suggestion));
    }
}

const fn path(name: &str) -> [&str; 3] {
    ["postgres", "parameters", name]
}
