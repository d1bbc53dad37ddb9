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
    component::{self, NodeView, OpenTo, postgres},
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
        let ports = fleet.nodes.values().flat_map(|node| component::ports(&node.node));
        let ports = ports.map(|(component, port)| PortRule {
            number: port.number,
            component: component.title,
            // nftables refuses networks that overlap.
            networks: IpNet::aggregate(&networks(port.open_to)),
        });
        let mut ports: Vec<PortRule> = ports.collect();
        ports.sort_by_key(|port| port.number);
        // Most machines have the same.
        ports.dedup_by_key(|port| port.number);
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

    /// The members' addresses, as nftables lists them.
    pub(crate) fn members(&self) -> String {
        self.members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        component::FirewallView,
        fleet::{FleetNode, Outputs},
        model::Machine,
        plan::{self, Choices},
        spec,
    };

    fn cluster(file: &str) -> (Plan, Fleet) {
        let text = format!("{file}\ninstances: {{a: {{}}, b: {{}}, plain: {{roles: []}}}}\n");
        let plan = plan::decide(&spec::load("t.yaml", text.as_bytes(), "t").unwrap(), &Choices::default()).unwrap();
        let machine = |address: &str| Machine {
            id: address.to_owned(),
            name: address.to_owned(),
            ipv4: address.parse().ok(),
            ..Machine::default()
        };
        let outputs = [("a", "10.0.0.10"), ("b", "10.0.0.11"), ("plain", "10.0.0.12")];
        let outputs: Outputs =
            outputs.into_iter().map(|(key, address)| (key.parse().unwrap(), machine(address))).collect();
        let fleet = Fleet::new(&plan, &outputs).unwrap();
        (plan, fleet)
    }

    fn rules(file: &str) -> Rules {
        let (plan, fleet) = cluster(file);
        Rules::of(&plan, &fleet).unwrap()
    }

    const NETWORKS: &str = "postgres: {own_network: false, access: [10.1.0.0/16, 10.1.2.0/24, 'fd00:1::/64'], \
                            monitoring: [192.0.2.5/32, 'fd00:2::5/128'], load_balancers: [192.0.2.6/32]}";

    #[test]
    fn port_of_the_poolers_is_open_to_the_networks_of_clients() {
        let text = rules(&format!("{NETWORKS}\nendpoint: {{pooler: {{port: 7000}}}}")).text();
        let of = |port: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| line.contains(&format!("tcp dport {port} ")));
            lines.map(|line| line.replace(port, "PORT")).collect()
        };
        assert!(of("7000").len() > 1 && of("7000") == of("5432"), "{text}");
        assert!(text.contains("tcp dport { 2379, 2380, 5432, 7000, 8008 } "), "{text}");
    }

    #[test]
    fn rules_accept_members_and_named_networks_and_refuse_new_connections_of_others() {
        assert_eq!(
            rules(NETWORKS).text(),
            r#"table inet hactl
delete table inet hactl
table inet hactl {
  chain input {
    type filter hook input priority filter; policy accept;
    iif "lo" accept
    tcp flags & (fin | syn | rst | ack) != syn accept
    ip saddr { 10.0.0.10, 10.0.0.11 } accept
    tcp dport 5432 ip saddr { 10.1.0.0/16, 192.0.2.6 } accept
    tcp dport 5432 ip6 saddr { fd00:1::/64 } accept
    tcp dport 8008 ip saddr { 192.0.2.5, 192.0.2.6 } accept
    tcp dport 8008 ip6 saddr { fd00:2::5 } accept
    tcp dport { 2379, 2380, 5432, 8008 } counter reject with tcp reset
  }
}
"#
        );
    }

    #[test]
    fn rules_refuse_exactly_the_sources_that_their_text_does_not_accept() {
        let rules = rules(NETWORKS);
        let table: [(&str, [u16; 4], &[u16]); 10] = [
            ("127.0.0.1", [2379, 2380, 5432, 8008], &[]),
            ("::1", [2379, 2380, 5432, 8008], &[]),
            ("10.0.0.11", [2379, 2380, 5432, 8008], &[]),
            ("::ffff:10.0.0.11", [2379, 2380, 5432, 8008], &[]),
            ("10.1.2.3", [2379, 2380, 5432, 8008], &[2379, 2380, 8008]),
            ("fd00:1::7", [2379, 2380, 5432, 8008], &[2379, 2380, 8008]),
            ("192.0.2.5", [2379, 2380, 5432, 8008], &[2379, 2380, 5432]),
            ("fd00:2::5", [2379, 2380, 5432, 8008], &[2379, 2380, 5432]),
            ("192.0.2.6", [2379, 2380, 5432, 8008], &[2379, 2380]),
            // The plain machine is no member, and SSH is no declared port.
            ("10.0.0.12", [22, 2379, 5432, 8008], &[2379, 5432, 8008]),
        ];
        for (source, ports, refused) in table {
            let found: Vec<u16> =
                ports.into_iter().filter(|port| rules.refuses(source.parse().unwrap(), *port).is_some()).collect();
            assert_eq!(found, refused, "{source}");
        }
    }

    #[test]
    fn own_network_reaches_postgresql_only() {
        let rules = rules("postgres: {access: [10.0.0.0/8]}");
        assert!(rules.text().contains("tcp dport 5432 ip saddr { 10.0.0.0/8 } accept\n"), "{}", rules.text());
        let refused = |port| rules.refuses("10.0.0.1".parse().unwrap(), port);
        assert_eq!((refused(5432), refused(8008)), (None, Some("Patroni")));
    }

    #[test]
    fn plan_without_a_firewall_has_no_rules() {
        let (plan, fleet) = cluster("firewall: false");
        assert!(Rules::of(&plan, &fleet).is_none());
    }

    #[test]
    fn connected_sources_are_listed_once_and_only_for_machines_without_these_rules() {
        let (plan, fleet) = cluster("postgres: {own_network: false}");
        let rules = Rules::of(&plan, &fleet).unwrap();
        let connected: Vec<(u16, IpAddr)> = ["10.0.0.11", "192.0.2.9", "::ffff:192.0.2.9", "fd00::9"]
            .into_iter()
            .map(|source| (8008, source.parse().unwrap()))
            .collect();
        let view = |node: &FleetNode, firewall| {
            (node.key().clone(), NodeView { firewall, ..NodeView::new(node.node.roles.clone(), Ok(())) })
        };
        let without = FirewallView { connected: connected.clone(), ..FirewallView::default() };
        let digest = Some(rules.digest());
        let with = FirewallView { connected, digest, loaded: true, enabled: true, ..FirewallView::default() };
        let nodes: Vec<&FleetNode> = fleet.nodes.values().collect();
        let seen = [view(nodes[0], Some(without)), view(nodes[1], Some(with)), view(nodes[2], None)];
        let listed: Vec<String> = refused_sources(&rules, seen.iter().map(|(key, view)| (key, view)))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(listed, ["a: 192.0.2.9 to port 8008 (Patroni)", "a: fd00::9 to port 8008 (Patroni)"]);
    }
}
