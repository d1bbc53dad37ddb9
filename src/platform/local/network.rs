//! A cluster's bridge network: made on a free subnet, found again by its labels, removed.

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};
use ipnet::Ipv4Net;
use uuid::Uuid;

use super::{
    engine::{Engine, labels, require_made_by_hactl, require_ours, uuid_of},
    refusal::{Refusal, fault, is_absent, optional},
    subnet::{Used, candidates, collision, routes},
};
use crate::{
    error::{Error, Result},
    model::ClusterName,
};

/// Another program may take a subnet between our look and our request; so often it is tried again.
const ATTEMPTS: usize = 5;

/// The network of a cluster that is to be.
#[derive(Clone, Debug)]
pub struct NetworkRequest {
    pub cluster: ClusterName,
    pub uuid: Uuid,
    /// None: a /24 that collides with nothing is chosen.
    pub subnet: Option<Ipv4Net>,
}

impl NetworkRequest {
    /// The network's name, `hactl-CLUSTER`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("hactl-{}", self.cluster)
    }
}

/// A network of the engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Network {
    pub id: String,
    pub name: String,
    pub subnet: Ipv4Net,
    pub gateway: Ipv4Addr,
    /// None when hactl did not make it.
    pub uuid: Option<Uuid>,
}

impl Engine {
    /// Makes the cluster's network, or returns the one that carries the cluster's UUID.
    ///
    /// # Errors
    /// When another owner has the name, when the subnet asked for is in use (the error names
    /// its user) or differs from the one that the network has, or when no subnet is free.
    pub async fn create_network(&self, request: &NetworkRequest) -> Result<Network> {
        let name = request.name();
        if let Some(found) = self.inspect_network(&name).await? {
            let remove = format!("docker network rm {name}");
            require_ours(&found.labels.clone().unwrap_or_default(), request.uuid, "network", &name, &remove)?;
            let network = to_network(&found)?;
            return match request.subnet {
                Some(subnet) if subnet.trunc() != network.subnet => {
                    Err(Error::failed("subnet-differs", "change the subnet of network", &name)
                        .cause(format!("it is {}, but the cluster file sets {subnet}", network.subnet))
                        .hint(format!("Run `hactl down {}` first", request.cluster)))
                }
                _ => Ok(network),
            };
        }
        let mut used = self.used_subnets().await?;
        if let Some(subnet) = request.subnet.map(|subnet| subnet.trunc()) {
            if let Some(other) = collision(subnet, &used) {
                return Err(taken(&name, subnet, other));
            }
            return match self.try_create(request, subnet).await? {
                Some(network) => Ok(network),
                None => Err(taken(&name, subnet, &refused(subnet))),
            };
        }
        for _ in 0..ATTEMPTS {
            let Some(subnet) = candidates().find(|candidate| collision(*candidate, &used).is_none()) else { break };
            if let Some(network) = self.try_create(request, subnet).await? {
                return Ok(network);
            }
            // The engine knows of an overlap that we do not see, or another program was faster.
            used.push(refused(subnet));
        }
        Err(Error::failed("no-subnet", "find a free subnet for network", &name)
            .cause("every candidate overlaps with a route or network of this machine")
            .hint("Set a free subnet in the cluster file: `platform: {local: {subnet: 10.1.2.0/24}}`"))
    }

    /// The network called `name`, made by hactl or not.
    ///
    /// # Errors
    /// When the engine does not answer or the network has no IPv4 subnet.
    pub async fn find_network(&self, name: &str) -> Result<Option<Network>> {
        self.inspect_network(name).await?.as_ref().map(to_network).transpose()
    }

    /// Removes the network called `name`; one that is not there is fine.
    ///
    /// # Errors
    /// When hactl did not make it, or when containers are connected to it (they are named).
    pub async fn remove_network(&self, name: &str) -> Result<()> {
        let Some(found) = self.inspect_network(name).await? else { return Ok(()) };
        require_made_by_hactl(found.labels.as_ref(), "network", name)?;
        match self.docker.remove_network(name).await {
            Err(error) if !is_absent(&error) => {
                let mut failed = fault("remove network", name, &error);
                let mut connected: Vec<String> =
                    found.containers.into_iter().flatten().filter_map(|(_, endpoint)| endpoint.name).collect();
                connected.sort();
                if !connected.is_empty() {
                    failed = failed
                        .cause(format!("connected to it: {}", connected.join(", ")))
                        .hint(format!("Remove them first: `docker rm -f {}`", connected.join(" ")));
                }
                Err(failed)
            }
            _ => Ok(()),
        }
    }

    async fn inspect_network(&self, name: &str) -> Result<Option<NetworkInspect>> {
        let found = self.docker.inspect_network(name, None).await;
        let found = optional(found).map_err(|error| fault("inspect network", name, &error))?;
        // The engine also answers to the beginning of an id.
        Ok(found.filter(|network| network.name.as_deref() == Some(name)))
    }

    async fn used_subnets(&self) -> Result<Vec<Used>> {
        let networks = self.docker.list_networks(None).await;
        let networks = networks.map_err(|error| fault("list", "the engine's networks", &error))?;
        // Networks come first: a network says more precisely than a route what uses a subnet.
        let mut used = Vec::new();
        for network in networks {
            let by = format!("network {}", network.name.unwrap_or_default());
            for config in network.ipam.and_then(|ipam| ipam.config).unwrap_or_default() {
                if let Some(net) = config.subnet.and_then(|subnet| subnet.parse().ok()) {
                    used.push(Used { net, by: by.clone() });
                }
            }
        }
        used.extend(routes());
        Ok(used)
    }

    /// `None` when the engine says that the subnet overlaps with another.
    async fn try_create(&self, request: &NetworkRequest, subnet: Ipv4Net) -> Result<Option<Network>> {
        let name = request.name();
        match self.docker.create_network(create_body(request, subnet)).await {
            Ok(_) => self.find_network(&name).await?.map(Some).ok_or_else(|| {
                Error::failed("network-gone", "find network", &name)
                    .cause("another process removed it right after hactl created it")
            }),
            Err(error) if Refusal::of(&error) == Refusal::SubnetOverlaps => Ok(None),
            Err(error) => Err(fault("create network", &name, &error)),
        }
    }
}

fn create_body(request: &NetworkRequest, subnet: Ipv4Net) -> NetworkCreateRequest {
    let config = IpamConfig {
        subnet: Some(subnet.to_string()),
        gateway: first_host(subnet).map(|ip| ip.to_string()),
        ..Default::default()
    };
    NetworkCreateRequest {
        name: request.name(),
        driver: Some("bridge".to_owned()),
        ipam: Some(Ipam { config: Some(vec![config]), ..Default::default() }),
        labels: Some(labels(&request.cluster, request.uuid)),
        ..Default::default()
    }
}

fn first_host(subnet: Ipv4Net) -> Option<Ipv4Addr> {
    subnet.hosts().next()
}

fn to_network(found: &NetworkInspect) -> Result<Network> {
    let name = found.name.clone().unwrap_or_default();
    let configs = found.ipam.iter().flat_map(|ipam| ipam.config.iter().flatten());
    let config = configs.filter_map(|config| Some((config.subnet.as_ref()?.parse().ok()?, config.gateway.as_ref())));
    let Some((subnet, gateway)) = config.map(|(subnet, gateway): (Ipv4Net, _)| (subnet.trunc(), gateway)).next() else {
        return Err(Error::failed("network-without-subnet", "use network", name).cause("it has no IPv4 subnet"));
    };
    let gateway = gateway.and_then(|text| text.parse().ok()).or_else(|| first_host(subnet));
    Ok(Network {
        id: found.id.clone().unwrap_or_default(),
        subnet,
        gateway: gateway.unwrap_or_else(|| subnet.addr()),
        uuid: uuid_of(found.labels.as_ref().unwrap_or(&HashMap::new())),
        name,
    })
}

fn refused(subnet: Ipv4Net) -> Used {
    Used { net: subnet, by: "another network of the engine".to_owned() }
}

fn taken(name: &str, subnet: Ipv4Net, other: &Used) -> Error {
    Error::failed("subnet-taken", "create network", name)
        .cause(format!("its subnet {subnet} overlaps with {} of {}", other.net, other.by))
        .hint("Set another `subnet` in the cluster file, or remove it to let hactl choose a free one")
}
