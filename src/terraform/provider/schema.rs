//! The attributes of a resource, and what follows from them alone: the plan of a change, and how to read a state that
//! another version of hactl wrote.

use super::{
    value::{Object, Value},
    wire,
};

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Text,
    Number,
    Texts,
    /// Texts whose order does not matter.
    TextSet,
}

/// The source of the value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    Required,
    Optional,
    /// The user, else the provider; the value then stays.
    OptionalComputed,
    Computed,
}

/// What a changed value means for the object that exists.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    InPlace,
    Replace,
    /// As `Replace`, except that any value fits if the state has none (after an import).
    ReplaceIfRecorded,
}

#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    kind: Kind,
    mode: Mode,
    change: Change,
    description: &'static str,
}

impl Attribute {
    pub(super) const fn new(name: &'static str, kind: Kind, mode: Mode, description: &'static str) -> Self {
        Self { name, kind, mode, change: Change::InPlace, description }
    }

    /// A change replaces the object.
    pub(super) const fn replaces(mut self) -> Self {
        self.change = Change::Replace;
        self
    }

    /// A change replaces the object, unless the state has no value yet.
    pub(super) const fn replaces_if_recorded(mut self) -> Self {
        self.change = Change::ReplaceIfRecorded;
        self
    }

    const fn is_computed(&self) -> bool {
        matches!(self.mode, Mode::Computed | Mode::OptionalComputed)
    }

    fn to_wire(&self) -> wire::Attribute {
        let kind: &[u8] = match self.kind {
            Kind::Text => br#""string""#,
            Kind::Number => br#""number""#,
            Kind::Texts => br#"["list","string"]"#,
            Kind::TextSet => br#"["set","string"]"#,
        };
        wire::Attribute {
            name: self.name.to_owned(),
            r#type: kind.to_owned(),
            description: self.description.to_owned(),
            required: self.mode == Mode::Required,
            optional: matches!(self.mode, Mode::Optional | Mode::OptionalComputed),
            computed: self.is_computed(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Schema {
    pub(super) description: &'static str,
    pub(super) attributes: Vec<Attribute>,
}

impl Schema {
    pub(super) fn to_wire(&self) -> wire::Schema {
        wire::Schema {
            version: 0,
            block: Some(wire::Block {
                attributes: self.attributes.iter().map(Attribute::to_wire).collect(),
                description: self.description.to_owned(),
                ..Default::default()
            }),
        }
    }

    /// The state with the attributes of this version: unknown ones are dropped, new ones are null. So attributes can
    /// change without a new schema version.
    pub(super) fn conform(&self, mut state: Object) -> Object {
        self.attributes
            .iter()
            .map(|attribute| (attribute.name.to_owned(), state.remove(attribute.name).unwrap_or(Value::Null)))
            .collect()
    }

    /// Marks the values that the provider will set, and names the attributes whose change replaces the object.
    pub(super) fn plan(&self, prior: Option<&Object>, proposed: Object) -> (Object, Vec<&'static str>) {
        let mut planned = self.conform(proposed);
        let mut replacing = Vec::new();
        for attribute in &self.attributes {
            let Some(value) = planned.get_mut(attribute.name) else { continue };
            let Some(before) = prior.map(|prior| prior.get(attribute.name).unwrap_or(&Value::Null)) else {
                if attribute.is_computed() && *value == Value::Null {
                    *value = Value::Unknown;
                }
                continue;
            };
            let replaces = match attribute.change {
                Change::InPlace => false,
                Change::Replace => true,
                Change::ReplaceIfRecorded => *before != Value::Null,
            };
            if replaces && before != value {
                replacing.push(attribute.name);
            }
        }
        (planned, replacing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::provider::value::fixture::{object, text};

    fn schema() -> Schema {
        Schema {
            description: "",
            attributes: vec![
                Attribute::new("image", Kind::Text, Mode::Required, "").replaces(),
                Attribute::new("keys", Kind::Texts, Mode::Required, "").replaces_if_recorded(),
                Attribute::new("memory", Kind::Number, Mode::Required, ""),
                Attribute::new("subnet", Kind::Text, Mode::OptionalComputed, "").replaces(),
                Attribute::new("id", Kind::Text, Mode::Computed, ""),
            ],
        }
    }

    #[test]
    fn new_object_has_unknown_computed_attributes_and_keeps_given_values() {
        let (planned, replacing) = schema().plan(None, object(&[("image", text("a")), ("subnet", text("s"))]));
        assert_eq!(planned["id"], Value::Unknown);
        assert_eq!(planned["subnet"], text("s"));
        assert_eq!(planned["memory"], Value::Null);
        assert!(replacing.is_empty());
        let (planned, _) = schema().plan(None, object(&[]));
        assert_eq!(planned["subnet"], Value::Unknown);
    }

    #[test]
    fn only_attributes_marked_as_replacing_replace() {
        let prior = object(&[("image", text("a")), ("memory", Value::Number(1.0)), ("id", text("x"))]);
        let mut next = prior.clone();
        next.insert("memory".to_owned(), Value::Number(2.0));
        assert!(schema().plan(Some(&prior), next.clone()).1.is_empty());
        next.insert("image".to_owned(), Value::Unknown);
        assert_eq!(schema().plan(Some(&prior), next).1, ["image"]);
    }

    #[test]
    fn value_missing_after_import_does_not_replace() {
        let prior = object(&[("image", text("a"))]);
        let next = object(&[("image", text("a")), ("keys", Value::List(vec![text("k")]))]);
        assert!(schema().plan(Some(&prior), next.clone()).1.is_empty());
        let other = object(&[("image", text("a")), ("keys", Value::List(vec![text("l")]))]);
        assert_eq!(schema().plan(Some(&next), other).1, ["keys"]);
    }

    #[test]
    fn state_of_another_version_is_conformed_to_the_schema() {
        let state = schema().conform(object(&[("image", text("a")), ("gone", text("b"))]));
        assert_eq!(state.len(), 5);
        assert_eq!(state["id"], Value::Null);
        assert!(!state.contains_key("gone"));
    }
}
