//! Whether etcd keeps a majority when a plan creates some of its voters again: pure, before the plan is applied.

use std::collections::BTreeSet;

use super::changes::{Action, Changes, ResourceChange};
use crate::{error::Error, model::InstanceKey, plan::Plan};

/// Voters that are gone, and voters that are left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    pub gone: BTreeSet<InstanceKey>,
    pub left: BTreeSet<InstanceKey>,
}

/// Whether so many voters have vanished that etcd lost its majority.
///
/// `created` are the nodes that an earlier run created. A voter is gone when it is one of them and the plan would
/// create it again. While a majority is left, the voters that are gone come back as learners; without a majority, the
/// last agreed state of the cluster is lost. If no data volume is left either, creating everything again is a new
/// start.
#[must_use]
pub fn voters_gone(plan: &Plan, changes: &Changes, created: &BTreeSet<InstanceKey>) -> Option<Refusal> {
    let made = |is_kind: fn(&ResourceChange) -> bool| -> BTreeSet<&InstanceKey> {
        let made = changes.resources.iter().filter(|change| is_kind(change) && change.makes());
        made.filter_map(|change| change.node.as_ref()).collect()
    };
    let (nodes, volumes) = (made(ResourceChange::is_machine), made(|change| change.kind == "hactl_volume"));
    let voters = plan.voters().map(|node| &node.key).filter(|key| created.contains(*key));
    let (gone, left): (BTreeSet<_>, BTreeSet<_>) = voters.cloned().partition(|key| nodes.contains(key));
    let majority = (gone.len() + left.len()) / 2 + 1;
    if gone.is_empty() || left.len() >= majority {
        return None;
    }
    let data_left = changes
        .resources
        .iter()
        .any(|change| change.kind == "hactl_volume" && change.node.as_ref().is_some_and(|key| !volumes.contains(key)));
    (!left.is_empty() || data_left).then_some(Refusal { gone, left })
}

/// Whether this plan creates every voter of an earlier run again, and none of their data is left: a new start. If it is
/// interrupted, what it has created is not what the earlier run left.
#[must_use]
pub(super) fn starts_anew(plan: &Plan, changes: &Changes, created: &BTreeSet<InstanceKey>) -> bool {
    let made = |key: &InstanceKey| {
        let again = |change: &&ResourceChange| change.is_machine() && change.action == Action::Create;
        changes.resources.iter().filter(again).any(|change| change.node.as_ref() == Some(key))
    };
    let mut voters = plan.voters().map(|node| &node.key).filter(|key| created.contains(*key)).peekable();
    voters.peek().is_some() && voters.all(made) && voters_gone(plan, changes, created).is_none()
}

impl Refusal {
    /// The refusal as an error for `plan`'s cluster.
    #[must_use]
    pub fn error(&self, plan: &Plan) -> Error {
        let list = |keys: &BTreeSet<InstanceKey>| keys.iter().map(InstanceKey::as_str).collect::<Vec<_>>().join(", ");
        let voters = self.gone.len() + self.left.len();
        let left = if self.left.is_empty() { "none is left".to_owned() } else { format!("left: {}", list(&self.left)) };
        Error::failed("voters-gone", "recreate the machines of", &plan.cluster)
            .cause(format!(
                "{} of {voters} etcd voters are gone with their data ({}; {left}), so etcd has no majority",
                self.gone.len(),
                list(&self.gone)
            ))
            .cause(
                "creating them again would start an empty etcd, which does not know the last primary: a replica that lacks \
                 acknowledged commits could become primary",
            )
            .hint(format!(
                "Copy the remaining volumes if you need their data; then run `hactl down {0}` and `hactl up {0}` to start \
                 again without the data",
                plan.cluster
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::fixture::{change, changes, keys, plan_of};

    /// Three voters, of which `gone` are made again; with or without volumes that are still there.
    fn three(gone: &[&str], volumes: Action) -> Option<Refusal> {
        let all = ["node1", "node2", "node3"];
        let action = |key: &str| if gone.contains(&key) { Action::Create } else { Action::NoOp };
        let mut resources: Vec<_> = all.iter().map(|key| change("hactl_node", key, action(key))).collect();
        resources.extend(all.iter().map(|key| change("hactl_volume", key, volumes)));
        voters_gone(&plan_of(&all), &changes(resources), &keys(&all))
    }

    #[test]
    fn loss_of_two_of_three_voters_is_refused() {
        assert_eq!(three(&[], Action::NoOp), None);
        assert_eq!(three(&["node1"], Action::NoOp), None);
        let refusal = three(&["node1", "node3"], Action::NoOp).unwrap();
        assert_eq!((refusal.gone.clone(), refusal.left.clone()), (keys(&["node1", "node3"]), keys(&["node2"])));
        let error = refusal.error(&plan_of(&["node1", "node2", "node3"]));
        assert!(error.to_string().contains("2 of 3 etcd voters are gone"), "{error}");
        assert!(three(&["node1", "node2"], Action::Create).is_some());
    }

    #[test]
    fn loss_of_all_voters_is_a_new_start_only_without_data() {
        let all = ["node1", "node2", "node3"];
        assert!(three(&all, Action::NoOp).is_some());
        assert_eq!(three(&all, Action::Create), None);

        let made = |volume| {
            let nodes = all.iter().map(|key| change("hactl_node", key, Action::Create));
            changes(nodes.chain(all.iter().map(|key| change("hactl_volume", key, volume))).collect())
        };
        assert!(starts_anew(&plan_of(&all), &made(Action::Create), &keys(&all)));
        assert!(!starts_anew(&plan_of(&all), &made(Action::NoOp), &keys(&all)), "their data is still there");
        assert!(!starts_anew(&plan_of(&all), &made(Action::Create), &BTreeSet::new()), "none was there before");
        let one = vec![change("hactl_node", "node1", Action::Create), change("hactl_volume", "node1", Action::Create)];
        assert!(!starts_anew(&plan_of(&all), &changes(one), &keys(&all)), "two voters live");
    }

    #[test]
    fn nodes_that_were_never_made_are_not_lost_voters() {
        let plan = plan_of(&["node1", "node2", "node3"]);
        let all = plan.nodes.keys().map(|key| change("hactl_node", key.as_str(), Action::Create)).collect();
        assert_eq!(voters_gone(&plan, &changes(all), &BTreeSet::new()), None);
        // One voter was made before; the other two are added now.
        let grown = ["node2", "node3"].map(|key| change("hactl_node", key, Action::Create)).to_vec();
        assert_eq!(voters_gone(&plan, &changes(grown), &keys(&["node1"])), None);
    }

    #[test]
    fn loss_of_the_only_voter_with_data_left_is_refused() {
        let resources =
            vec![change("hactl_node", "node1", Action::Create), change("hactl_volume", "node1", Action::NoOp)];
        let refusal = voters_gone(&plan_of(&["node1"]), &changes(resources), &keys(&["node1"])).unwrap();
        assert!(refusal.error(&plan_of(&["node1"])).to_string().contains("none is left"));
    }
}
