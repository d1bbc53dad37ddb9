//! What `up` refuses to do with a module of the user's own: pure decisions over a plan, before it is applied.

use super::{
    asked::missing,
    changes::{Action, Changes},
    consent::Consent,
    guard::{Disruption, RefusedPlan, said},
};
use serde_json::Value as Json;

use crate::{error::Result, model::InstanceKey, plan::Plan};

/// Says of each resource which instance of the last run it belongs to: the one whose `id` in the output `vms` it has, or
/// the one whose key is in its address.
pub(super) fn assign(changes: &mut Changes, consent: &Consent, vms: Option<&Json>) {
    let id = |vm: &Json| vm["id"].as_str().map(str::to_owned);
    let keys: Vec<&InstanceKey> = consent.ran.keys().collect();
    for change in &mut changes.resources {
        let has_id = |key: &&&InstanceKey| {
            change.machine_id.is_some() && vms.and_then(|vms| id(&vms[key.as_str()])) == change.machine_id
        };
        let is_in_address = |key: &&&InstanceKey| change.address.contains(&format!("[\"{key}\"]"));
        let found = keys.iter().find(has_id).or_else(|| keys.iter().find(is_in_address));
        if let Some(key) = found {
            change.node = Some((*key).clone());
        }
    }
}

/// Refuses a plan of a module that is not hactl's. hactl does not know which resources hold data, so the user must name
/// the address of every resource that is destroyed, replaced or forgotten. It does not know either which changes in place
/// stop a machine, so the user must name each attribute of a resource that belongs to a member.
///
/// # Errors
/// Names every such resource, and the option that would allow it.
pub(super) fn guard_module(plan: &Plan, changes: &Changes, consent: &Consent) -> Result<()> {
    let mut refusal = RefusedPlan::default();
    for change in &changes.resources {
        let verb = match change.action {
            Action::NoOp | Action::Create | Action::Read | Action::Import => continue,
            Action::Update => {
                let ran = |key: &&InstanceKey| consent.ran.get(*key).is_some_and(|roles| !roles.is_empty());
                if let Some(key) = change.node.as_ref().filter(ran) {
                    if change.restarts && !consent.restart.contains(key) {
                        refusal.ask(said(change, Disruption::Restart), format!("--allow-restart {key}"));
                    }
                    let what = format!("a resource of the member {key}");
                    refusal.ask_for(missing(change, key, &what, consent));
                }
                continue;
            }
            Action::Replace => "replace",
            Action::Delete => "destroy",
            Action::Forget => "forget",
            Action::Unknown => {
                refusal.never(said(change, Disruption::Unknown));
                continue;
            }
        };
        let address = change.by_address();
        if !consent.addresses.contains(&address) {
            refusal.ask(format!("the plan would {verb} {address}"), format!("--allow-destroy '{address}'"));
        }
    }
    for (key, _) in consent.ran.iter().filter(|(key, roles)| !roles.is_empty() && !plan.nodes.contains_key(*key)) {
        refusal.never(format!(
            "instance {key} is a member of the cluster, and this version of hactl cannot remove a member from a running cluster"
        ));
    }
    let down = format!("To take the whole cluster down, run `hactl down {}`", plan.cluster);
    refusal.error(plan, "the change in the module or the cluster file", &down)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        model::Role,
        terraform::{
            changes::ResourceChange,
            fixture::{change, changes, plan_of},
        },
    };

    #[test]
    fn destructive_changes_of_a_user_module_are_refused_with_their_addresses() {
        let plan = plan_of(&["node1"]);
        let resource = |address: &str, action| ResourceChange {
            address: address.to_owned(),
            kind: "aws_instance".to_owned(),
            ..change("aws_instance", "node1", action)
        };
        let harmless = [Action::NoOp, Action::Create, Action::Read, Action::Update, Action::Import];
        let harmless = harmless.map(|action| resource("aws_instance.a", action)).to_vec();
        assert!(guard_module(&plan, &changes(harmless), &Consent::default()).is_ok());

        let gone = changes(vec![
            resource("aws_instance.node[\"a\"]", Action::Replace),
            resource("aws_eip.b", Action::Delete),
            resource("module.x.random_id.c", Action::Forget),
        ]);
        let error = guard_module(&plan, &gone, &Consent::default()).unwrap_err();
        assert_eq!(error.causes.len(), 3, "{error}");
        assert!(error.hint.unwrap().contains("--allow-destroy 'aws_instance.node[\"a\"]'"));
        let addresses = gone.resources.iter().map(|change| change.address.clone()).collect();
        assert!(guard_module(&plan, &gone, &Consent { addresses, ..Consent::default() }).is_ok());

        // What no address allows.
        let unknown = changes(vec![resource("aws_instance.a", Action::Unknown)]);
        let named = Consent { addresses: ["aws_instance.a".to_owned()].into(), ..Consent::default() };
        assert!(guard_module(&plan, &unknown, &named).unwrap_err().causes[0].contains("does not know"));
        let ran = [("node2".parse().unwrap(), BTreeSet::from([Role::Patroni]))].into();
        let error = guard_module(&plan, &changes(Vec::new()), &Consent { ran, ..Consent::default() }).unwrap_err();
        assert!(error.causes[0].contains("instance node2 is a member"), "{error}");
    }

    #[test]
    fn update_of_a_resource_of_a_member_needs_consent_by_instance_and_attribute() {
        let plan = plan_of(&["node1", "node2", "web"]);
        let update = |address: &str, index: &str, id: &str, attribute: &str| {
            let (before, after) =
                (serde_json::json!({"id": id, attribute: 1}), serde_json::json!({"id": id, attribute: 2}));
            serde_json::json!({"address": address, "type": address.split('.').rev().nth(1).unwrap(), "index": index,
                "change": {"actions": ["update"], "before": before, "after": after}})
        };
        let resources = serde_json::json!({"resource_changes": [
            update("hcloud_server.first", "", "i-1", "server_type"),
            update("module.node[\"node2\"].hcloud_volume.data", "", "v-2", "size"),
            update("hcloud_server.web", "web", "i-3", "server_type"),
            update("hcloud_firewall.all", "", "f-1", "rule"),
            update("terraform_data.note", "node1", "n-1", "input"),
        ]});
        let mut all = Changes::parse(&resources.to_string()).unwrap();
        let roles = |plain| if plain { BTreeSet::new() } else { BTreeSet::from([Role::Patroni]) };
        let ran = ["node1", "node2", "web"].map(|key| (key.parse().unwrap(), roles(key == "web"))).into();
        let consent = Consent { ran, ..Consent::default() };
        let vms = serde_json::json!({"node1": {"id": "i-1"}, "node2": {"id": "i-2"}, "web": {"id": "i-3"}});
        assign(&mut all, &consent, Some(&vms));
        let keys: Vec<_> = all.resources.iter().map(|change| change.node.as_ref().map(ToString::to_string)).collect();
        let key = |key: &str| Some(key.to_owned());
        assert_eq!(keys, [key("node1"), key("node2"), key("web"), None, key("node1")]);
        let error = guard_module(&plan, &all, &consent).unwrap_err();
        assert_eq!((error.code, error.causes.len()), ("consent-missing", 2), "{error}");
        assert!(
            error.causes[0].contains("change server_type of a resource of the member node1, which may stop"),
            "{error}"
        );
        let hint = error.hint.unwrap();
        assert!(hint.contains("--allow-change node1:server_type --allow-change node2:size"), "{hint}");
        let allowed = [("node1", "server_type"), ("node2", "size")];
        let change = allowed.map(|(key, name)| (key.parse().unwrap(), BTreeSet::from([name.to_owned()]))).into();
        assert!(guard_module(&plan, &all, &Consent { change, ..consent }).is_ok());
        // Before the first run there is no member.
        assert!(guard_module(&plan, &all, &Consent::default()).is_ok());
    }

    #[test]
    fn deposed_object_of_a_user_module_is_destroyed_only_by_its_address_and_key() {
        let plan = plan_of(&["node1"]);
        let old =
            ResourceChange { deposed: Some("1a2b".to_owned()), ..change("aws_instance", "node1", Action::Delete) };
        let by = |address: String| Consent { addresses: [address].into(), ..Consent::default() };
        let (alone, with_key) = (by(old.address.clone()), by(format!("{}#1a2b", old.address)));
        assert!(guard_module(&plan, &changes(vec![old.clone()]), &alone).is_err());
        assert!(guard_module(&plan, &changes(vec![old]), &with_key).is_ok());
    }
}
