//! Who votes in etcd: a choice once made sticks, what `roles` says counts, and the rest is picked.

use std::collections::BTreeSet;

use super::{Choices, Warning};
use crate::{
    error::{Error, Result},
    model::{InstanceKey, Role},
    spec::Spec,
};

/// Voters for so many data nodes: one cannot survive its own loss, and two are no better than one.
const fn voter_count(data_nodes: usize) -> usize {
    match data_nodes {
        0 => 0,
        1 | 2 => 1,
        _ => 3,
    }
}

/// The voters of the cluster.
pub(super) fn pick(spec: &Spec, choices: &Choices, warnings: &mut Vec<Warning>) -> Result<BTreeSet<InstanceKey>> {
    let data_nodes = spec.data_nodes();
    let wanted = voter_count(data_nodes);
    let mut voters: BTreeSet<InstanceKey> = spec
        .instances
        .iter()
        .filter(|(_, instance)| instance.roles.as_ref().is_some_and(Role::votes))
        .map(|(key, _)| key.clone())
        .collect();
    // Moving a voter costs a change of members, so it never happens by itself.
    let free = || spec.instances.iter().filter(|(_, instance)| instance.roles.is_none()).map(|(key, _)| key);
    // A machine that got another key is still the voter that it was.
    let chosen = |key: &InstanceKey| {
        let before = spec.platform.renamed_from(key);
        choices.voters.contains(key) || before.is_some_and(|before| choices.voters.contains(before))
    };
    voters.extend(free().filter(|key| chosen(key)).cloned());
    for key in free() {
        if voters.len() >= wanted {
            break;
        }
        voters.insert(key.clone());
    }

    let mut warn = |code: &str, message: String, hint: &str| {
        warnings.push(Warning { code: code.into(), message, hint: Some(hint.into()) });
    };
    match voters.len() {
        0 if data_nodes > 0 => {
            return Err(Error::usage("plan-voters", "pick etcd's voters of", &spec.name)
                .cause("every instance has `roles`, and none has etcd")
                .hint("add `etcd` to the roles of one instance, or of three"));
        }
        count if count > 0 && count % 2 == 0 => warn(
            "even-voters",
            format!("{count} etcd voters survive no more failures than {}, and there is one more to fail", count - 1),
            "make it an odd number by `roles`",
        ),
        1 if data_nodes > 1 => warn(
            "single-voter",
            match voters.first() {
                Some(key) => format!("one etcd voter: while {key} is down there is no failover"),
                None => String::new(),
            },
            "three instances, or a third with `roles: [etcd]` and voters fixed by `roles`, survive the loss of one",
        ),
        _ => {}
    }
    Ok(voters)
}
