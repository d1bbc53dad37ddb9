//! `hactl_network`: the bridge network of a cluster of local nodes.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    resource::{Call, Failed, Resource, ResourceProblem, check_text, parse, state},
    schema::{Attribute, Kind, Mode, Schema},
    value::{Object, State, Value},
};
use crate::{
    error::{Error, Result, codes},
    model::ClusterName,
    platform::local,
};

pub(super) struct Network;

#[derive(Debug, Serialize, Deserialize)]
struct Attributes {
    cluster: ClusterName,
    cluster_uuid: Uuid,
    subnet: Option<Ipv4Net>,
    gateway: Option<Ipv4Addr>,
    name: Option<String>,
}

impl Attributes {
    fn request(&self) -> local::NetworkRequest {
        local::NetworkRequest { cluster: self.cluster.clone(), uuid: self.cluster_uuid, subnet: self.subnet }
    }

    fn of(cluster: ClusterName, uuid: Uuid, network: local::Network) -> Self {
        Self {
            cluster,
            cluster_uuid: uuid,
            subnet: Some(network.subnet),
            gateway: Some(network.gateway),
            name: Some(network.name),
        }
    }
}

#[tonic::async_trait]
impl Resource for Network {
    fn type_name(&self) -> &'static str {
        "hactl_network"
    }

    fn schema(&self) -> Schema {
        use {Kind::Text, Mode::*};
        Schema {
            description: "The network of a cluster of local nodes.",
            attributes: vec![
                Attribute::new("cluster", Text, Required, "Name of the cluster, for example `pg-prod`.").replaces(),
                Attribute::new("cluster_uuid", Text, Required, "UUID of the cluster that owns the network.").replaces(),
                Attribute::new(
                    "subnet",
                    Text,
                    OptionalComputed,
                    "Subnet in CIDR form, for example `10.89.0.0/24`. By default, hactl chooses a subnet that is free.",
                )
                .replaces(),
                Attribute::new("gateway", Text, Computed, "This machine's address in the network."),
                Attribute::new("name", Text, Computed, "Name of the network."),
            ],
        }
    }

    fn validate(&self, config: &Object) -> Vec<ResourceProblem> {
        let mut problems = check_owner(config);
        check_text(config, "subnet", &mut problems, |text| {
            let subnet: Option<Ipv4Net> = text.parse().ok();
            match subnet.filter(|subnet| subnet.trunc().to_string() == text && subnet.prefix_len() <= 28) {
                Some(_) => Ok(()),
                None => {
                    Err(format!("`{text}` is not an IPv4 subnet of at least 16 addresses, for example 10.89.0.0/24."))
                }
            }
        });
        problems
    }

    fn plan(&self, prior: Option<&Object>, planned: &mut Object) {
        // The name follows from the cluster's name, so nodes that refer to it do not wait for the apply.
        if prior.is_none()
            && let Some(cluster) = planned.get("cluster").and_then(Value::text).and_then(|text| text.parse().ok())
        {
            let request = local::NetworkRequest { cluster, uuid: Uuid::nil(), subnet: None };
            planned.insert("name".to_owned(), Value::Text(request.name()));
        }
    }

    async fn create(&self, call: &Call<'_>, planned: State) -> Result<State, Failed> {
        let planned: Attributes = parse(planned)?;
        let created = call.engine().await?.create_network(&planned.request()).await;
        let network = created.map_err(|error| with_import_hint(error, planned.cluster.as_str()))?;
        Ok(state(&Attributes::of(planned.cluster, planned.cluster_uuid, network)))
    }

    async fn read(&self, call: &Call<'_>, known: State) -> Result<Option<State>> {
        let known: Attributes = parse(known)?;
        let found = call.engine().await?.find_network(&known.request().name()).await?;
        // A network with that name and another UUID is not the one that hactl created.
        let ours = found.filter(|network| network.uuid == Some(known.cluster_uuid));
        Ok(ours.map(|network| state(&Attributes::of(known.cluster, known.cluster_uuid, network))))
    }

    async fn update(&self, _: &Call<'_>, _: State, planned: State) -> Result<State, Failed> {
        // A change of any attribute that the user sets replaces the network.
        Ok(planned)
    }

    async fn delete(&self, call: &Call<'_>, known: State) -> Result<()> {
        let known: Attributes = parse(known)?;
        let (engine, name) = (call.engine().await?, known.request().name());
        match engine.find_network(&name).await? {
            Some(network) if network.uuid == Some(known.cluster_uuid) => engine.remove_network(&name).await,
            _ => Ok(()),
        }
    }

    async fn import(&self, call: &Call<'_>, id: &str) -> Result<State> {
        let cluster: ClusterName = id.parse().map_err(|error| not_importable("network", id).source(&error))?;
        let name = local::NetworkRequest { cluster: cluster.clone(), uuid: Uuid::nil(), subnet: None }.name();
        let found = call.engine().await?.find_network(&name).await?;
        match found.and_then(|network| Some((network.uuid?, network))) {
            Some((uuid, network)) => Ok(state(&Attributes::of(cluster, uuid, network))),
            None => Err(not_importable("network", id)
                .cause(format!("hactl has not created a network {name}"))
                .hint("Import the network by the name of its cluster, for example pg-prod")),
        }
    }
}

/// Checks the two attributes that name the owner of an object.
pub(super) fn check_owner(config: &Object) -> Vec<ResourceProblem> {
    let mut problems = Vec::new();
    check_text(config, "cluster", &mut problems, |text| text.parse::<ClusterName>().map(|_| ()));
    check_text(config, "cluster_uuid", &mut problems, |text| {
        let uuid: Option<Uuid> = text.parse().ok();
        // Only the canonical form: the state has it, and another spelling would be a change.
        match uuid.filter(|uuid| uuid.to_string() == text) {
            Some(_) => Ok(()),
            None => {
                Err(format!("`{text}` is not a UUID in lower case, for example 4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11."))
            }
        }
    });
    problems
}

pub(super) fn not_importable(kind: &str, id: &str) -> Error {
    Error::failed("terraform-import", format!("import {kind}"), id)
}

/// Adds the command that takes over an existing object with the name `id`.
pub(super) fn with_import_hint(error: Error, id: &str) -> Error {
    if error.code != codes::NAME_TAKEN {
        return error;
    }
    let hint = error.hint.clone().unwrap_or_default();
    error.hint(format!("{hint}; to use the existing object instead, run `terraform import ADDRESS {id}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Object {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::Text((*value).to_owned()))).collect()
    }

    #[test]
    fn invalid_network_is_reported_at_its_attributes_except_unknown_values() {
        let bad = config(&[("cluster", "A"), ("cluster_uuid", "1"), ("subnet", "10.0.0.5/24")]);
        let at: Vec<_> = Network.validate(&bad).into_iter().filter_map(|problem| problem.attribute).collect();
        assert_eq!(at, ["cluster", "cluster_uuid", "subnet"]);
        let mut good = config(&[("cluster", "pg"), ("subnet", "10.0.0.0/24")]);
        good.insert("cluster_uuid".to_owned(), Value::Unknown);
        assert!(Network.validate(&good).is_empty());
    }

    #[test]
    fn network_name_is_known_before_apply() {
        let mut planned = config(&[("cluster", "pg")]);
        Network.plan(None, &mut planned);
        assert_eq!(planned["name"], Value::Text("hactl-pg".to_owned()));
    }
}
