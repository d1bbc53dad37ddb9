//! Which instances vote in etcd: those with the role, those chosen earlier, and as many more as are needed.

use std::collections::BTreeSet;

use super::{Choices, Warning};
use crate::{
    error::{Error, Result},
    model::{InstanceKey, Role},
    spec::Spec,
};

/// The number of voters for so many data nodes: two voters survive no more failures than one, and five survive two.
const fn voter_count(data_nodes: usize) -> usize {
    match data_nodes {
        0 => 0,
        1 | 2 => 1,
        3 | 4 => 3,
        _ => 5,
    }
}

/// The voters of the cluster.
pub(super) fn pick(spec: &Spec, choices: &Choices, warnings: &mut Vec<Warning>) -> Result<BTreeSet<InstanceKey>> {
    let data_nodes = spec.data_nodes();
    let asked = spec.pinned.voters.map(usize::from);
    // A cluster that runs gets no voters that the file does not ask for, beyond those that every release gives it.
    let available = voter_count(data_nodes);
    let wanted = asked.unwrap_or(match choices.voters.is_empty() {
        true => available,
        false => available.min(3),
    });
    let mut voters: BTreeSet<InstanceKey> = spec
        .instances
        .iter()
        .filter(|(_, instance)| instance.roles.as_ref().is_some_and(Role::votes))
        .map(|(key, _)| key.clone())
        .collect();
    // Moving a voter changes etcd's members, so hactl never does it by itself.
    let free = || spec.instances.iter().filter(|(_, instance)| instance.roles.is_none()).map(|(key, _)| key);
    // A machine with a new key is still the same voter.
    let chosen = |key: &InstanceKey| {
        let before = spec.platform.renamed_from(key);
        choices.voters.contains(key) || before.is_some_and(|before| choices.voters.contains(before))
    };
    voters.extend(free().filter(|key| chosen(key)).cloned());
    // The next voter is on the hypervisor that has the fewest, so that etcd survives the loss of one where that is possible.
    while voters.len() < wanted {
        let together = |key: &InstanceKey| {
            let hypervisor = spec.platform.hypervisor(key);
            voters.iter().filter(|voter| hypervisor.is_some() && spec.platform.hypervisor(voter) == hypervisor).count()
        };
        let Some(next) = free().filter(|key| !voters.contains(*key)).min_by_key(|key| together(key)) else { break };
        voters.insert(next.clone());
    }

    let mut warn = |code: &str, message: String, hint: &str| {
        warnings.push(Warning { code: code.into(), message, hint: Some(hint.into()) });
    };
    if asked.is_none() && voters.len() < available && free().any(|key| !voters.contains(key)) {
        let count = voters.len();
        warn(
            "more-voters",
            format!("etcd has {count} voters for {data_nodes} data nodes, so it survives the loss of one of them"),
            &format!(
                "Set `etcd.voters: {available}` in the cluster file: etcd then survives the loss of {}, and its members \
                 join one at a time",
                (available - 1) / 2
            ),
        );
    }
    match voters.len() {
        0 if data_nodes > 0 => {
            return Err(Error::usage("plan-voters", "pick the etcd voters of", &spec.name)
                .cause("every instance sets `roles`, and none of them has the role etcd")
                .hint("Add `etcd` to the roles of one instance, or of three"));
        }
        count if count > 0 && count % 2 == 0 => warn(
            "even-voters",
            format!("{count} etcd voters survive no more failures than {} would", count - 1),
            "Set `roles` so that an odd number of instances has etcd",
        ),
        1 if data_nodes > 1 => warn(
            "single-voter",
            match voters.first() {
                Some(key) => format!("one etcd voter: the cluster cannot fail over while {key} is down"),
                None => String::new(),
            },
            "Use three instances to survive the loss of one; a third with `roles: [etcd]` is enough if `roles` makes \
             all three voters",
        ),
        _ => {}
    }
    Ok(voters)
}
