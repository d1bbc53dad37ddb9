//! Packets between the members: dropped by a table of nftables that is hactl's alone, or delayed by a
//! queue. What is neither to nor from another member is never touched: SSH and clients stay connected.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4},
};

use super::{node_fault::NodeFault, target::FaultTarget};
use crate::{
    component::{etcd, patroni},
    fleet::FleetNode,
    plan::Dcs,
};

/// Of a hundred packets, how many are lost.
const LOST_PERCENT: u32 = 10;
/// The unit of the relay that delays requests to etcd; its directory in `/run` has the same name.
const RELAY: &str = "hactl-slow-etcd";

/// Succeeds when a rule has met a packet.
const DROPPED: &str = "nft list table inet hactl_drill | grep -q 'counter packets [1-9]'\n";

/// The other members, as one node sees them.
pub(super) struct Others {
    addresses: Vec<Ipv4Addr>,
    /// A port of each that answers while nothing is cut, as `address/port`.
    endpoints: Vec<String>,
    /// Every voter's client port, in the same form.
    etcd: Vec<String>,
    etcd_ports: BTreeSet<u16>,
}

impl Others {
    pub(super) fn of(node: &FleetNode, cluster: &FaultTarget<'_>) -> Self {
        let others: Vec<&FleetNode> = cluster.members().filter(|other| other.key() != node.key()).collect();
        let endpoint = |other: &&FleetNode| {
            let endpoint = if other.node.is_data_node() { patroni::endpoint(other) } else { etcd::endpoint(other) };
            format!("{}/{}", endpoint.host, endpoint.port)
        };
        let outside: &[SocketAddrV4] = match &cluster.plan.dcs {
            Dcs::Etcd { outside, .. } => outside,
            Dcs::Other(_) => &[],
        };
        let voters = cluster.fleet.voters().map(etcd::endpoint);
        let etcd = voters.map(|endpoint| (endpoint.host, endpoint.port));
        let etcd: BTreeSet<(String, u16)> =
            etcd.chain(outside.iter().map(|voter| (voter.ip().to_string(), voter.port()))).collect();
        let addresses = others.iter().flat_map(|other| other.addresses());
        let addresses: BTreeSet<Ipv4Addr> = addresses.chain(outside.iter().map(|voter| *voter.ip())).collect();
        Self {
            addresses: addresses.into_iter().collect(),
            endpoints: others.iter().map(endpoint).collect(),
            etcd_ports: etcd.iter().map(|(_, port)| *port).collect(),
            etcd: etcd.into_iter().map(|(host, port)| format!("{host}/{port}")).collect(),
        }
    }

    fn list(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        addresses.join(", ")
    }
}

/// No packet to or from another member.
pub(super) fn isolate(others: &Others) -> NodeFault {
    let list = others.list();
    let from = chain("input", &format!("ip saddr {{ {list} }} counter drop"));
    let to = chain("output", &format!("ip daddr {{ {list} }} counter drop"));
    filter(&format!("{from}{to}"), unreachable("", &others.endpoints))
}

/// No packet of the user whose processes are Patroni and PostgreSQL to etcd's client port anywhere, its own
/// node included.
pub(super) fn cut_from_etcd(user: &str, others: &Others) -> NodeFault {
    let rule = chain("output", &format!("{} counter drop", to_etcd(user, others)));
    let fault = filter(&rule, unreachable(&format!("runuser -u {user} -- "), &others.etcd));
    NodeFault { possible: apart(user) + &fault.possible, ..fault }
}

/// The packets of `user` to etcd.
fn to_etcd(user: &str, others: &Others) -> String {
    format!("meta skuid \"{user}\" tcp dport {}", ports(others))
}

/// The client ports of etcd, as nftables writes them.
fn ports(others: &Others) -> String {
    let ports: Vec<String> = others.etcd_ports.iter().map(ToString::to_string).collect();
    if let [port] = &ports[..] { port.clone() } else { format!("{{ {} }}", ports.join(", ")) }
}

/// Tests that the packets of `user` are only those of Patroni, PostgreSQL and the lease guard.
fn apart(user: &str) -> String {
    format!(
        "[ \"$(id -u {user})\" != 0 ] || {{ echo 'Patroni runs as root, so its packets to etcd look like those of other programs'; exit 1; }}\n"
    )
}

/// Connections of that user to etcd go through a relay that delays requests.
pub(super) fn slow_etcd(user: &str, others: &Others) -> NodeFault {
    let script = include_str!("slow_etcd.sh")
        .replace("@USER@", user)
        .replace("@PORTS@", &ports(others))
        .replace("@UNIT@", RELAY);
    let steps = NodeFault::of_steps(&script);
    let relay = include_str!("slow_etcd.py");
    let write = format!("mkdir -p /run/{RELAY}\ncat >/run/{RELAY}/relay.py <<'RELAY'\n{relay}RELAY\n");
    NodeFault { possible: apart(user) + &steps.possible, inject: write + &steps.inject, ..steps }
}

/// No packet to or from the server that this node streams from: what that acknowledges from now on is
/// not here. Only that one address: the next primary is another, and has to be followed at once.
pub(super) fn cut_replication() -> NodeFault {
    let chains = [
        chain("input", "ip saddr $upstream tcp sport 5432 counter drop"),
        chain("output", "ip daddr $upstream tcp dport 5432 counter drop"),
    ];
    NodeFault {
        inject: format!(
            "upstream=$(runuser -u postgres -- psql -XAtq -c \"SELECT sender_host FROM pg_catalog.pg_stat_wal_receiver\")\n\
             [ -n \"$upstream\" ] || {{ echo 'the replica does not stream from any server' >&2; exit 1; }}\n\
             nft -f - <<END\ntable inet hactl_drill {{\n{}}}\nEND\n",
            chains.concat()
        ),
        effect: DROPPED.to_owned(),
        ..filter("", String::new())
    }
}

/// Some packets from other members never arrive. Every member is struck, so each packet meets the rule once.
pub(super) fn lose(others: &Others) -> NodeFault {
    let rule = format!("ip saddr {{ {} }} numgen random mod 100 < {LOST_PERCENT} counter drop", others.list());
    filter(&chain("input", &rule), DROPPED.to_owned())
}

fn chain(hook: &str, rule: &str) -> String {
    // Before whatever the machine filters itself, connection tracking included.
    format!("  chain {hook} {{\n    type filter hook {hook} priority -310; policy accept;\n    {rule}\n  }}\n")
}

fn filter(chains: &str, effect: String) -> NodeFault {
    let table = |check: &str| format!("nft{check} -f - <<'END'\ntable inet hactl_drill {{\n{chains}}}\nEND\n");
    NodeFault {
        possible: format!(
            "command -v nft >/dev/null || {{ echo 'nft is not installed'; exit 1; }}\n{}",
            table(" --check")
        ),
        inject: table(""),
        effect,
        // A table that is not there cannot be deleted, but adding one that is there is fine.
        revert: "nft add table inet hactl_drill '; delete table inet hactl_drill'\n".to_owned(),
    }
}

/// Succeeds when no connection can be made to any of `endpoints`, which are tried at once.
fn unreachable(user: &str, endpoints: &[String]) -> String {
    format!(
        "[ -z \"$(for endpoint in {}; do\n  {user}timeout 1 bash -c \"exec 3<>/dev/tcp/$endpoint\" 2>/dev/null && \
         echo \"$endpoint\" &\ndone; wait)\" ]\n",
        endpoints.join(" ")
    )
}

/// What is sent to other members goes through a band of its own, which is late.
pub(super) fn delay(others: &Others) -> NodeFault {
    let addresses: Vec<String> = others.addresses.iter().map(ToString::to_string).collect();
    let script = include_str!("delay.sh")
        .replace("@ADDRESSES@", &addresses.join(" "))
        .replace("@ENDPOINTS@", &others.endpoints.join(" "));
    NodeFault::of_steps(&script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fault::tests::code;

    fn others() -> Others {
        let etcd = ["10.0.0.10/2379", "10.0.0.11/2379"].map(str::to_owned).to_vec();
        Others {
            addresses: vec![Ipv4Addr::new(10, 0, 0, 11), Ipv4Addr::new(10, 0, 0, 12)],
            endpoints: ["10.0.0.11/8008", "10.0.0.12/2379"].map(str::to_owned).to_vec(),
            etcd,
            etcd_ports: BTreeSet::from([2379]),
        }
    }

    #[test]
    fn isolation_drops_packets_to_and_from_other_members() {
        let fault = isolate(&others());
        let table = "\
table inet hactl_drill {
  chain input {
    type filter hook input priority -310; policy accept;
    ip saddr { 10.0.0.11, 10.0.0.12 } counter drop
  }
  chain output {
    type filter hook output priority -310; policy accept;
    ip daddr { 10.0.0.11, 10.0.0.12 } counter drop
  }
}
END
";
        assert_eq!(fault.inject, format!("nft -f - <<'END'\n{table}"));
        assert_eq!(
            fault.possible,
            format!(
                "command -v nft >/dev/null || {{ echo 'nft is not installed'; exit 1; }}\nnft --check -f - <<'END'\n{table}"
            )
        );
        assert_eq!(
            fault.effect,
            "[ -z \"$(for endpoint in 10.0.0.11/8008 10.0.0.12/2379; do\n  \
             timeout 1 bash -c \"exec 3<>/dev/tcp/$endpoint\" 2>/dev/null && echo \"$endpoint\" &\ndone; wait)\" ]\n"
        );
        assert_eq!(fault.revert, "nft add table inet hactl_drill '; delete table inet hactl_drill'\n");
    }

    #[test]
    fn cut_from_etcd_blocks_the_patroni_user_to_every_endpoint() {
        let fault = cut_from_etcd("postgres", &others());
        assert_eq!(
            fault.inject,
            "nft -f - <<'END'
table inet hactl_drill {
  chain output {
    type filter hook output priority -310; policy accept;
    meta skuid \"postgres\" tcp dport 2379 counter drop
  }
}
END
"
        );
        assert!(
            fault
                .effect
                .contains("for endpoint in 10.0.0.10/2379 10.0.0.11/2379; do\n  runuser -u postgres -- timeout")
        );
    }

    #[test]
    fn slow_etcd_writes_its_relay_before_it_redirects() {
        let fault = slow_etcd("postgres", &others());
        for (script, step) in [
            (&fault.possible, "possible"),
            (&fault.inject, "inject"),
            (&fault.effect, "effect"),
            (&fault.revert, "revert"),
        ] {
            let values = "user='postgres'\nports='2379'\n";
            assert!(script.contains(&format!("step='{step}'\n")) && script.contains(values), "{script}");
            assert!(!script.contains('@'), "{script}");
        }
        // The undo timer is written as a here document.
        assert!(!fault.revert.lines().any(|line| line == "END"), "{}", fault.revert);
        let writes = format!("mkdir -p /run/{RELAY}\ncat >/run/{RELAY}/relay.py <<'RELAY'\n");
        assert!(fault.inject.starts_with(&writes), "{}", fault.inject);
        assert_eq!(fault.inject.lines().filter(|line| *line == "RELAY").count(), 1);
    }

    #[test]
    fn packet_loss_applies_to_incoming_packets() {
        assert_eq!(
            lose(&others()).inject,
            "nft -f - <<'END'
table inet hactl_drill {
  chain input {
    type filter hook input priority -310; policy accept;
    ip saddr { 10.0.0.11, 10.0.0.12 } numgen random mod 100 < 10 counter drop
  }
}
END
"
        );
    }

    #[test]
    fn delay_applies_to_packets_to_other_members() {
        let fault = delay(&others());
        for (script, step) in [
            (&fault.possible, "possible"),
            (&fault.inject, "inject"),
            (&fault.effect, "effect"),
            (&fault.revert, "revert"),
        ] {
            let values = "addresses='10.0.0.11 10.0.0.12'\nendpoints='10.0.0.11/8008 10.0.0.12/2379'\n";
            assert!(script.contains(&format!("step='{step}'\n{values}")), "{script}");
            assert!(!script.contains('@'), "{script}");
        }
        let script = code(&fault.inject);
        let steps = [
            "delay=200\nhandle=7a5d:\n",
            r#"  inject)
    device=$(ip -o route get "${addresses%% *}" | sed -n 's/.* dev \([^ ]*\) .*/\1/p')
    tc qdisc add dev "$device" root handle "$handle" prio bands 4
    tc qdisc add dev "$device" parent "${handle}4" netem delay "${delay}ms"
    for to in $addresses; do
      tc filter add dev "$device" parent "$handle" protocol ip u32 match ip dst "$to/32" flowid "${handle}4"
    done
    ;;
"#,
            r#"  revert)
    for device in $(tc qdisc show | sed -n "s/^qdisc prio $handle dev \([^ ]*\) root.*/\1/p"); do
      tc qdisc del dev "$device" root
    done
    ;;
"#,
        ];
        for text in steps {
            assert!(script.contains(text), "{text} is not in {script}");
        }
    }
}
