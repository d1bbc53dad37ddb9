//! What a plan would do, as values: the JSON of `terraform show` in, [`Changes`] out.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    model::InstanceKey,
};

/// What happens to a resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    NoOp,
    Create,
    Read,
    Update,
    Replace,
    Delete,
    /// Leaves the object and its state goes.
    Forget,
    /// Takes an object that exists into the state, and changes nothing.
    Import,
    /// A word that this version of hactl does not know.
    Unknown,
}

/// One resource of a plan.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ResourceChange {
    pub address: String,
    /// The type, for example `hactl_node`.
    pub kind: String,
    /// The instance, for resources that are made one per instance.
    pub node: Option<InstanceKey>,
    pub action: Action,
    /// Replaced because its creation failed half-way: it never lived.
    pub unfinished: bool,
}

/// What a plan would do.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Changes {
    pub resources: Vec<ResourceChange>,
    /// Outputs differ from the state's, also where no resource changes.
    pub outputs: bool,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        let text = if counts.is_empty() { "no changes".to_owned() } else { counts.join(", ") };
        f.pad(&text)
    }
}

impl Changes {
    /// The resources with `action`, in Terraform's order.
    pub fn with(&self, action: Action) -> impl Iterator<Item = &ResourceChange> {
        self.resources.iter().filter(move |change| change.action == action)
    }

    /// Whether applying would do nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.outputs && self.resources.iter().all(|change| matches!(change.action, Action::NoOp | Action::Read))
    }

    /// Counts by action, in Terraform's words: `3 to create, 1 to update`.
    fn counts(&self) -> Vec<String> {
        const WORDS: [(Action, &str); 7] = [
            (Action::Import, "to import"),
            (Action::Create, "to create"),
            (Action::Update, "to update in place"),
            (Action::Replace, "to replace"),
            (Action::Delete, "to destroy"),
            (Action::Forget, "to forget"),
            (Action::Unknown, "unknown"),
        ];
        let count = |action| self.with(action).count();
        WORDS
            .iter()
            .filter(|(action, _)| count(*action) > 0)
            .map(|(action, word)| format!("{} {word}", count(*action)))
            .collect()
    }

    /// Reads the JSON of `terraform show -json PLAN`.
    ///
    /// # Errors
    /// When it is not that.
    pub(super) fn parse(json: &str) -> Result<Self> {
        let plan: Plan = serde_json::from_str(json)
            .map_err(|error| Error::failed("terraform-show", "read", "Terraform's plan").source(&error))?;
        let resources = plan.resource_changes.into_iter().filter(|change| change.mode != "data");
        Ok(Self {
            resources: resources.map(ResourceChange::from).collect(),
            outputs: plan.output_changes.values().any(|change| action(&change.actions) != Action::NoOp),
        })
    }
}

#[derive(Deserialize)]
struct Plan {
    #[serde(default)]
    resource_changes: Vec<Resource>,
    #[serde(default)]
    output_changes: std::collections::BTreeMap<String, Change>,
}

#[derive(Deserialize)]
struct Resource {
    address: String,
    #[serde(default)]
    mode: String,
    r#type: String,
    #[serde(default)]
    index: serde_json::Value,
    change: Change,
    #[serde(default)]
    action_reason: String,
}

#[derive(Deserialize)]
struct Change {
    actions: Vec<String>,
    #[serde(default)]
    importing: Option<serde_json::Value>,
}

impl From<Resource> for ResourceChange {
    fn from(resource: Resource) -> Self {
        let action = match action(&resource.change.actions) {
            Action::NoOp if resource.change.importing.is_some() => Action::Import,
            action => action,
        };
        Self {
            node: resource.index.as_str().and_then(|key| key.parse().ok()),
            unfinished: resource.action_reason == "replace_because_tainted",
            address: resource.address,
            kind: resource.r#type,
            action,
        }
    }
}

fn action(words: &[String]) -> Action {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["no-op"] => Action::NoOp,
        ["create"] => Action::Create,
        ["read"] => Action::Read,
        ["update"] => Action::Update,
        ["delete", "create"] | ["create", "delete"] => Action::Replace,
        ["delete"] => Action::Delete,
        ["forget"] => Action::Forget,
        _ => Action::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(actions: &str, more: &str) -> ResourceChange {
        let json = format!(
            r#"{{"format_version":"1.2","resource_changes":[{{"address":"module.nodes.hactl_node.this[\"node1\"]",
            "mode":"managed","type":"hactl_node","name":"this","index":"node1"{more},
            "change":{{"actions":{actions},"before":null,"after":{{}}}}}}]}}"#
        );
        Changes::parse(&json).unwrap().resources.remove(0)
    }

    #[test]
    fn every_action_is_read_and_a_new_word_is_unknown() {
        let known = [
            (r#"["no-op"]"#, Action::NoOp),
            (r#"["create"]"#, Action::Create),
            (r#"["update"]"#, Action::Update),
            (r#"["delete","create"]"#, Action::Replace),
            (r#"["create","delete"]"#, Action::Replace),
            (r#"["delete"]"#, Action::Delete),
            (r#"["forget"]"#, Action::Forget),
            (r#"["create","forget"]"#, Action::Unknown),
            (r#"["reboot"]"#, Action::Unknown),
            (r"[]", Action::Unknown),
        ];
        for (words, action) in known {
            let change = one(words, "");
            assert_eq!(change.action, action, "{words}");
            assert_eq!(change.node.unwrap().as_str(), "node1");
        }
    }

    #[test]
    fn a_tainted_resource_is_unfinished() {
        assert!(one(r#"["delete","create"]"#, r#","action_reason":"replace_because_tainted""#).unfinished);
        assert!(!one(r#"["delete","create"]"#, r#","action_reason":"replace_because_cannot_update""#).unfinished);
    }

    #[test]
    fn outputs_alone_are_a_change_too() {
        let json = r#"{"output_changes":{"vms":{"actions":["update"]}}}"#;
        assert!(!Changes::parse(json).unwrap().is_empty());
        assert!(Changes::parse(r#"{"output_changes":{"vms":{"actions":["no-op"]}}}"#).unwrap().is_empty());
        assert!(Changes::parse("x").is_err());
    }
}
