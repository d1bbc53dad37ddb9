//! Roles that the machines of a running cluster cannot lose: a member is taken out of a cluster by its own procedure.

use std::collections::BTreeSet;

use super::{
    Plan, PlannedInstance, Settled,
    refusal::{Refusal, field},
};
use crate::model::{InstanceKey, Role};

/// Whether every machine of the cluster file still has the roles that it has in the cluster. A machine that the file no
/// longer has is not looked at: the plan of the machines decides about it.
pub(super) fn kept(plan: &Plan, runs: &Settled) -> Result<(), Refusal> {
    for (role, machines) in [(Role::Patroni, &runs.data_nodes), (Role::Etcd, &runs.voters)] {
        let lost = plan.nodes.values().find(|node| was(plan, node, machines) && !node.roles.contains(&role));
        if let Some(node) = lost {
            return Err(refusal(node, role));
        }
    }
    Ok(())
}

/// Whether the machine is one of `machines`, perhaps by its former key.
fn was(plan: &Plan, node: &PlannedInstance, machines: &BTreeSet<InstanceKey>) -> bool {
    let former = plan.platform.renamed_from(&node.key).unwrap_or(&node.key);
    machines.contains(&node.key) || machines.contains(former)
}

fn refusal(node: &PlannedInstance, role: Role) -> Refusal {
    let key = node.key.as_str();
    let what = match role {
        Role::Patroni => "a data node of the cluster: its PostgreSQL would continue to run, unmanaged",
        Role::Etcd => "a voter of etcd: its member would stay in etcd",
    };
    let role = role.as_str();
    Refusal {
        code: "role-lost",
        what: "change the roles of a machine of",
        field: field(["instances", key, "roles"]),
        message: format!("{key} is {what}, and this version of hactl cannot take the role {role} from a machine"),
        hint: format!("Add `{role}` to the roles of {key}, or restore the former line"),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        model::Choices,
        plan::{decide, moves},
        spec,
    };

    #[test]
    fn machine_of_a_running_cluster_keeps_its_roles() {
        let plan = |instances: &str, choices: &Choices| {
            let text = format!("instances: {{{instances}}}");
            decide(&spec::load("t", text.as_bytes(), "t").unwrap(), choices).unwrap()
        };
        let runs = plan("a: {}, b: {}, c: {}, d: {roles: [patroni]}", &Choices::default());
        let choices = Choices {
            voters: runs.voters().map(|node| node.key.clone()).collect(),
            settled: Some(runs.settled()),
            ..Choices::default()
        };
        let table = [
            ("a: {}, b: {}, c: {}, d: {roles: [patroni]}", None),
            // A role more, and a machine less.
            ("a: {}, b: {}, c: {}, d: {roles: [etcd, patroni]}, e: {roles: [etcd]}", None),
            ("a: {}, b: {}, c: {}", None),
            ("a: {}, b: {}, c: {roles: [etcd]}, d: {}", Some("instances.c.roles: c is a data node")),
            (
                "a: {roles: [etcd]}, b: {roles: [etcd]}, c: {roles: [etcd]}, d: {roles: [etcd]}",
                Some("instances.a.roles: a is a data node"),
            ),
            ("a: {}, b: {roles: [patroni]}, c: {}, d: {}", Some("instances.b.roles: b is a voter of etcd")),
            ("a: {}, b: {}, c: {roles: []}, d: {}", Some("instances.c.roles: c is a data node")),
        ];
        for (instances, refused) in table {
            let refusal = moves(&plan(instances, &choices), &runs.settled()).err();
            let said = refusal.map(|refusal| format!("{}: {}", refusal.field.join("."), refusal.message));
            match refused {
                None => assert_eq!(said, None, "{instances}"),
                Some(words) => {
                    assert!(said.as_ref().is_some_and(|said| said.starts_with(words)), "{instances}: {said:?}")
                }
            }
        }
    }
}
