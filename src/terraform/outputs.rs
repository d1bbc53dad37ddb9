//! The machines in Terraform's state: the output `vms`, the contract of every stack.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    error::{Error, Result},
    model::{InstanceKey, Outputs},
};

/// The outputs that hactl reads.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) vms: Outputs,
    /// The image of each node, on platforms that have images.
    pub(super) images: BTreeMap<InstanceKey, String>,
    /// What hactl keeps there for its runs on other machines.
    pub(super) record: Option<String>,
}

/// Reads the JSON of `terraform output -json`.
///
/// # Errors
/// When `vms` has another shape.
pub(super) fn parse_outputs(json: &str) -> Result<Read> {
    #[derive(Deserialize)]
    struct Output<T> {
        value: T,
    }
    #[derive(Deserialize)]
    struct All {
        vms: Option<Output<Outputs>>,
        images: Option<Output<BTreeMap<InstanceKey, String>>>,
        record: Option<Output<Option<String>>>,
    }
    let all: All = serde_json::from_str(json).map_err(|error| {
        Error::failed("terraform-output", "read", "Terraform's output `vms`").source(&error).hint(
            "Correct the output to a map { key = { id = string, name = string, ipv4 = string or null, ssh_host, ssh_port, host_key } }",
        )
    })?;
    Ok(Read {
        vms: all.vms.map(|output| output.value).unwrap_or_default(),
        images: all.images.map(|output| output.value).unwrap_or_default(),
        record: all.record.and_then(|output| output.value).filter(|record| !record.is_empty()),
    })
}

/// The outputs `vms` and `record` of a user's own module, which may have other outputs of any shape; `vms` is `None` if
/// it does not fit the contract.
///
/// # Errors
/// When it is not what Terraform prints.
pub(super) fn parse_a_modules(json: &str) -> Result<(Option<Outputs>, Option<String>)> {
    let mut all: serde_json::Value = serde_json::from_str(json)
        .map_err(|error| Error::failed("terraform-output", "read", "Terraform's outputs").source(&error))?;
    let vms = match all.get_mut("vms") {
        Some(vms) => serde_json::from_value(vms["value"].take()).ok(),
        None => Some(Outputs::new()),
    };
    let record = all["record"]["value"].as_str().filter(|record| !record.is_empty());
    Ok((vms, record.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_as_the_contract_defines_them() {
        let json = r#"{"vms":{"sensitive":false,"type":["object",{}],"value":{"node1":{"id":"1","name":"pg-node1",
            "ipv4":"10.89.0.10","ssh_host":"127.0.0.1","ssh_port":22201,"host_key":"ssh-ed25519 AAAA"}}},
            "images":{"value":{"node1":"debian:12"}},"other":{"value":1}}"#;
        let read = parse_outputs(json).unwrap();
        let machine = &read.vms[&"node1".parse().unwrap()];
        assert_eq!((machine.ipv4.unwrap().to_string().as_str(), machine.ssh_port), ("10.89.0.10", Some(22_201)));
        assert_eq!(read.images.len(), 1);
        assert!(parse_outputs("{}").unwrap().vms.is_empty());
        assert_eq!(parse_outputs(r#"{"vms":{"value":[1]}}"#).unwrap_err().code, "terraform-output");
    }

    #[test]
    fn other_outputs_of_a_user_module_are_ignored() {
        let read = |text: &str| parse_a_modules(text).unwrap();
        assert_eq!(read("{}"), (Some(Outputs::new()), None));
        assert_eq!(
            read(r#"{"images":{"value":[1]},"record":{"value":"r"},"vms":{"value":{}}}"#),
            (Some(Outputs::new()), Some("r".to_owned()))
        );
        let number = r#"{"record":{"value":"r"},"vms":{"value":{"a":{"id":100,"name":"a","ipv4":null}}}}"#;
        assert_eq!(read(number), (None, Some("r".to_owned())));
    }
}
