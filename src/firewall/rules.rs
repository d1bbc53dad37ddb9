//! Plan + Fleet -> the rules of the table, and which sources they refuse.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    assets,
    component::{COMPONENTS, NodeView, OpenTo, postgres},
    fleet::Fleet,
    model::InstanceKey,
    plan::Plan,
};

/// A source that is connected now, and whose next connection the firewall would refuse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct RefusedSource {
    /// The instance that it is connected to.
    pub node: InstanceKey,
    /// The port there.
    pub port: u16,
    /// The component that listens on the port.
    pub component: &'static str,
    /// The address of the source.
    #[schemars(with = "String")]
    pub source: IpAddr,
}

impl std::fmt::Display for RefusedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} to port {} ({})", self.node, self.source, self.port, self.component)
    }
}

/// A declared port.
#[derive(Debug)]
struct PortRule {
    number: u16,
    component: &'static str,
    /// The networks that may connect, in addition to the members.
    networks: Vec<IpNet>,
}

/// Which sources may open connections to the components' ports.
#[derive(Debug)]
pub(crate) struct Rules {
    members: BTreeSet<Ipv4Addr>,
    ports: Vec<PortRule>,
}

impl Rules {
    /// The rules of a cluster; none if its plan has no firewall.
    pub(crate) fn of(plan: &Plan, fleet: &Fleet) -> Option<Self> {
        if !plan.firewall {
            return None;
        }
        let postgres = &plan.postgres;
        let networks = |open_to: OpenTo| match open_to {
            OpenTo::Members => Vec::new(),
            OpenTo::Monitoring => [postgres.monitoring.as_slice(), &postgres.load_balancers].concat(),
            OpenTo::Clients => postgres::access(plan, fleet),
        };
        let ports = COMPONENTS.iter().flat_map(|component| {
            component.ports.iter().map(move |port| PortRule {
                number: port.number,
                component: component.title,
                // nftables refuses networks that overlap.
                networks: IpNet::aggregate(&networks(port.open_to)),
            })
        });
        let mut ports: Vec<PortRule> = ports.collect();
        ports.sort_by_key(|port| port.number);
        let members = fleet.nodes.values().filter(|node| !node.node.roles.is_empty());
        Some(Self { members: members.flat_map(|node| node.addresses()).collect(), ports })
    }

    /// The file that `nft -f` loads: it replaces the table in one transaction.
    pub(crate) fn text(&self) -> String {
        let mut text = "table inet hactl\ndelete table inet hactl\ntable inet hactl {\n  chain input {\n    \
                        type filter hook input priority filter; policy accept;\n    iif \"lo\" accept\n    \
                        tcp flags & (fin | syn | rst | ack) != syn accept\n"
            .to_owned();
        let members: Vec<IpNet> = self.members.iter().map(|address| IpNet::from(IpAddr::V4(*address))).collect();
        text += &sources("", &members);
        for port in &self.ports {
            text += &sources(&format!("tcp dport {} ", port.number), &port.networks);
        }
        let ports: Vec<String> = self.ports.iter().map(|port| port.number.to_string()).collect();
        let _ = write!(text, "    tcp dport {{ {} }} counter reject with tcp reset\n  }}\n}}\n", ports.join(", "));
        text
    }

    /// The SHA-256 of [`Rules::text`].
    pub(crate) fn digest(&self) -> String {
        assets::hexadecimal(&Sha256::digest(self.text()))
    }

    /// The port's component, if the firewall would refuse a new connection from `source` to `port`.
    fn refuses(&self, source: IpAddr, port: u16) -> Option<&'static str> {
        // IPv4 clients of a socket that serves both have such addresses.
        let source = source.to_canonical();
        let member = matches!(source, IpAddr::V4(address) if self.members.contains(&address));
        if source.is_loopback() || member {
            return None;
        }
        let rule = self.ports.iter().find(|rule| rule.number == port)?;
        (!rule.networks.iter().any(|network| network.contains(&source))).then_some(rule.component)
    }
}

/// Rules that accept packets with `matches` from `networks`, one for each IP version.
fn sources(matches: &str, networks: &[IpNet]) -> String {
    let mut text = String::new();
    for (family, of_family) in [("ip", true), ("ip6", false)] {
        let list = networks.iter().filter(|network| matches!(network, IpNet::V4(_)) == of_family);
        let list: Vec<String> = list.map(element).collect();
        if !list.is_empty() {
            let _ = writeln!(text, "    {matches}{family} saddr {{ {} }} accept", list.join(", "));
        }
    }
    text
}

/// A network as nftables writes it.
fn element(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

/// The sources that are connected to machines without these rules, and that the rules would refuse.
pub(crate) fn refused_sources<'a>(
    rules: &Rules,
    views: impl IntoIterator<Item = (&'a InstanceKey, &'a NodeView)>,
) -> Vec<RefusedSource> {
    let digest = rules.digest();
    let mut refused = BTreeSet::new();
    for (node, view) in views {
        let Some(firewall) = view.firewall.as_ref().filter(|firewall| !firewall.is_current(&digest)) else { continue };
        for (port, source) in &firewall.connected {
            if let Some(component) = rules.refuses(*source, *port) {
                let source = source.to_canonical();
                refused.insert(RefusedSource { node: node.clone(), port: *port, component, source });
            }
        }
    }
    refused.into_iter().collect()
}
