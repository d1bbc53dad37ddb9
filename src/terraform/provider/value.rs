//! Terraform's values: each is known, absent or not yet known.
//!
//! In come msgpack or JSON from the wire, out go msgpack and, once everything is known, the plain
//! JSON that resources parse into their own types.

use std::collections::BTreeMap;

use rmpv::Value as Msgpack;
use serde_json::Value as Json;

use super::wire::DynamicValue;

/// The extension type by which msgpack marks a value that is not known yet: `d4 00 00`.
const UNKNOWN: i8 = 0;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    /// Known only after apply.
    Unknown,
    Bool(bool),
    /// Numbers of hactl's resources are counts and ports: whole numbers up to 2^53 are exact.
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Map(Object),
}

/// The attributes of a resource.
pub type Object = BTreeMap<String, Value>;

/// The attributes as JSON; an unknown value reads as null.
pub type State = serde_json::Map<String, Json>;

impl Value {
    /// Reads a value from the wire; an empty message is null.
    ///
    /// # Errors
    /// When the bytes are neither msgpack nor JSON as Terraform writes them.
    pub fn decode(wire: Option<&DynamicValue>) -> Result<Self, String> {
        let Some(wire) = wire else { return Ok(Self::Null) };
        if wire.msgpack.is_empty() {
            return if wire.json.is_empty() { Ok(Self::Null) } else { Self::from_json_bytes(&wire.json) };
        }
        let value = rmpv::decode::read_value(&mut wire.msgpack.as_slice()).map_err(|error| error.to_string())?;
        Self::from_msgpack(value)
    }

    /// Reads the JSON of a stored state.
    ///
    /// # Errors
    /// When it is not JSON.
    pub(super) fn from_json_bytes(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice::<Json>(bytes).map(Self::from_json).map_err(|error| error.to_string())
    }

    #[must_use]
    pub fn encode(&self) -> DynamicValue {
        let mut bytes = Vec::new();
        // INVARIANT: writing into memory does not fail.
        rmpv::encode::write_value(&mut bytes, &self.to_msgpack()).expect("a Vec takes every byte");
        DynamicValue { msgpack: bytes, json: Vec::new() }
    }

    fn from_msgpack(value: Msgpack) -> Result<Self, String> {
        Ok(match value {
            Msgpack::Nil => Self::Null,
            Msgpack::Boolean(value) => Self::Bool(value),
            Msgpack::Integer(value) => Self::Number(value.as_f64().unwrap_or(f64::NAN)),
            Msgpack::F32(value) => Self::Number(value.into()),
            Msgpack::F64(value) => Self::Number(value),
            Msgpack::String(value) => Self::Text(value.into_str().ok_or("a text is not UTF-8")?),
            Msgpack::Binary(_) => return Err("a value is binary".to_owned()),
            Msgpack::Array(items) => Self::List(items.into_iter().map(Self::from_msgpack).collect::<Result<_, _>>()?),
            Msgpack::Map(pairs) => Self::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| match key {
                        Msgpack::String(key) => {
                            Ok((key.into_str().ok_or("a key is not UTF-8")?, Self::from_msgpack(value)?))
                        }
                        key => Err(format!("a key is not text: {key}")),
                    })
                    .collect::<Result<_, String>>()?,
            ),
            // Extension 12 is an unknown value with a refinement, which hactl does not use.
            Msgpack::Ext(..) => Self::Unknown,
        })
    }

    fn to_msgpack(&self) -> Msgpack {
        match self {
            Self::Null => Msgpack::Nil,
            Self::Unknown => Msgpack::Ext(UNKNOWN, vec![0]),
            Self::Bool(value) => Msgpack::Boolean(*value),
            Self::Number(value) => match whole(*value) {
                Some(whole) => Msgpack::from(whole),
                None => Msgpack::F64(*value),
            },
            Self::Text(value) => Msgpack::from(value.as_str()),
            Self::List(items) => Msgpack::Array(items.iter().map(Self::to_msgpack).collect()),
            Self::Map(object) => Msgpack::Map(
                object.iter().map(|(key, value)| (Msgpack::from(key.as_str()), value.to_msgpack())).collect(),
            ),
        }
    }

    #[must_use]
    pub fn from_json(value: Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(value) => Self::Number(value.as_f64().unwrap_or(f64::NAN)),
            Json::String(value) => Self::Text(value),
            Json::Array(items) => Self::List(items.into_iter().map(Self::from_json).collect()),
            Json::Object(map) => Self::Map(map.into_iter().map(|(key, value)| (key, Self::from_json(value))).collect()),
        }
    }

    /// Plain JSON; what is unknown is null.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null | Self::Unknown => Json::Null,
            Self::Bool(value) => Json::from(*value),
            Self::Number(value) => whole(*value).map_or_else(|| Json::from(*value), Json::from),
            Self::Text(value) => Json::from(value.as_str()),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(object) => Json::Object(to_state(object)),
        }
    }

    /// The text, if the value is a known text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The number as an integer, if it is whole.
#[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
pub(super) fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

/// The attributes as plain JSON; unknown ones are null.
pub(super) fn to_state(object: &Object) -> State {
    object.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
}

#[cfg(test)]
pub(super) mod fixture {
    use super::{Object, Value};

    pub(in crate::terraform::provider) fn object(pairs: &[(&str, Value)]) -> Object {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    pub(in crate::terraform::provider) fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        Object::from([
            ("absent".to_owned(), Value::Null),
            ("cores".to_owned(), Value::Number(2.0)),
            ("half".to_owned(), Value::Number(0.5)),
            ("keys".to_owned(), Value::List(vec![Value::Text("a".to_owned())])),
            ("later".to_owned(), Value::Unknown),
            ("on".to_owned(), Value::Bool(true)),
        ])
    }

    #[test]
    fn value_encoded_and_decoded_is_equal() {
        let value = Value::Map(object());
        assert_eq!(Value::decode(Some(&value.encode())).unwrap(), value);
        assert_eq!(Value::decode(None).unwrap(), Value::Null);
    }

    #[test]
    fn unknown_value_uses_the_terraform_extension_and_refinements_are_unknown() {
        assert_eq!(Value::Unknown.encode().msgpack, [0xd4, 0, 0]);
        let refined = DynamicValue { msgpack: vec![0xc7, 3, 12, 0x81, 1, 0xc2], json: Vec::new() };
        assert_eq!(Value::decode(Some(&refined)).unwrap(), Value::Unknown);
    }

    #[test]
    fn unknown_value_in_state_is_null_and_integers_remain_integers() {
        let state = to_state(&object());
        assert_eq!(state["later"], Json::Null);
        assert_eq!(state["cores"].to_string(), "2");
        assert_eq!(state["half"].to_string(), "0.5");
    }

    #[test]
    fn invalid_bytes_are_an_error() {
        assert!(Value::decode(Some(&DynamicValue { msgpack: vec![0xa5, b'a'], json: Vec::new() })).is_err());
        assert!(Value::from_json_bytes(b"{").is_err());
    }
}
