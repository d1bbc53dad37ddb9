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
/// How late a packet is; every member delays what it sends, so a round trip is late by twice as much.
const DELAY_MS: u32 = 200;
/// How late a request to etcd is: later than the first lease guard waited for, and within what Patroni waits for.
const SLOW_SECONDS: &str = "1.5";
/// The unit of the relay, whose directory in /run has the same name. It ends by itself, should the undo fail.
const RELAY: &str = "hactl-slow-etcd";
const LONGEST_SECONDS: u32 = 600;
/// The handle of the queue, by which the undo finds it.
const HANDLE: &str = "7a5d:";

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
    NodeFault { possible: fault.possible + &apart(user), ..fault }
}

/// The packets of `user` to etcd.
fn to_etcd(user: &str, others: &Others) -> String {
    let ports: Vec<String> = others.etcd_ports.iter().map(ToString::to_string).collect();
    let ports = if let [port] = &ports[..] { port.clone() } else { format!("{{ {} }}", ports.join(", ")) };
    format!("meta skuid \"{user}\" tcp dport {ports}")
}

/// Tests that packets of `user` are only those of Patroni, PostgreSQL and the lease guard.
fn apart(user: &str) -> String {
    format!(
        "[ \"$(id -u {user})\" != 0 ] || {{ echo 'Patroni runs as root: its packets to etcd are not told from others'; exit 1; }}\n"
    )
}

/// Connections of that user to etcd go through a relay, whose own packets are root's. Those that were open before are
/// reset, so that they are made again.
pub(super) fn slow_etcd(user: &str, others: &Others) -> NodeFault {
    let rule = to_etcd(user, others);
    let chains = |port: &str| {
        let hook = |kind: &str, priority: i32, rule: &str| {
            format!("    type {kind} hook output priority {priority}; policy accept;\n    {rule}\n")
        };
        let detour = hook("nat", -100, &format!("{rule} counter redirect to :{port}"));
        let output = hook("filter", 0, &format!("{rule} counter reject with tcp reset"));
        format!("table inet hactl_drill {{\n  chain detour {{\n{detour}  }}\n  chain output {{\n{output}  }}\n}}\n")
    };
    let (possible, table) = (chains("1"), chains("$port"));
    let fault = filter("", String::new());
    NodeFault {
        possible: format!(
            "command -v nft >/dev/null || {{ echo 'nft is not installed'; exit 1; }}\n\
             command -v python3 >/dev/null || {{ echo 'python3 is not installed'; exit 1; }}\n\
             nft --check -f - <<'END'\n{possible}END\n{}",
            apart(user)
        ),
        inject: format!(
            "mkdir -p /run/{RELAY}\ncat >/run/{RELAY}/relay.py <<'RELAY'\n{}RELAY\n\
             systemd-run --quiet --collect --unit={RELAY} --property=RuntimeMaxSec={LONGEST_SECONDS} \
             python3 /run/{RELAY}/relay.py {SLOW_SECONDS} /run/{RELAY}\n\
             for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do [ ! -e /run/{RELAY}/port ] || break; sleep 0.2; done\n\
             port=$(cat /run/{RELAY}/port)\n\
             nft -f - <<END\n{table}END\n",
            include_str!("slow_etcd.py")
        ),
        effect: format!("[ -e /run/{RELAY}/late ]\n"),
        // The table first: what is redirected needs the relay. Its connections end with it, and are made again.
        revert: format!(
            "{}! systemctl is-active --quiet {RELAY} || systemctl stop {RELAY}\nrm -rf /run/{RELAY}\n",
            fault.revert
        ),
    }
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
            "upstream=$(runuser -u postgres -- psql -XAtq -c \"SELECT sender_host FROM pg_stat_wal_receiver\")\n\
             [ -n \"$upstream\" ] || {{ echo 'it streams from nowhere' >&2; exit 1; }}\n\
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
        "[ -z \"$(for door in {}; do\n  {user}timeout 1 bash -c \"exec 3<>/dev/tcp/$door\" 2>/dev/null && echo \"$door\" &\n\
         done; wait)\" ]\n",
        endpoints.join(" ")
    )
}

/// What is sent to other members goes through a band of its own, which is late.
pub(super) fn delay(others: &Others) -> NodeFault {
    let to: Vec<String> = others.addresses.iter().map(ToString::to_string).collect();
    let to = to.join(" ");
    let first = others.addresses.first().map_or_else(String::new, ToString::to_string);
    NodeFault {
        possible: "command -v tc >/dev/null || { echo 'tc is not installed'; exit 1; }\n\
                   if ! said=$(tc qdisc add dev lo root netem delay 0ms 2>&1); then\n  \
                   echo \"its kernel delays no packets: netem: $said\"\n  exit 1\nfi\n\
                   tc qdisc del dev lo root\n"
            .to_owned(),
        inject: format!(
            "device=$(ip -o route get {first} | sed -n 's/.* dev \\([^ ]*\\) .*/\\1/p')\n\
             tc qdisc add dev \"$device\" root handle {HANDLE} prio bands 4\n\
             tc qdisc add dev \"$device\" parent {HANDLE}4 netem delay {DELAY_MS}ms\n\
             for to in {to}; do\n\
             tc filter add dev \"$device\" parent {HANDLE} protocol ip u32 match ip dst \"$to/32\" flowid {HANDLE}4\n\
             done\n"
        ),
        effect: format!(
            "start=$(date +%s%3N)\nfor to in {}; do\n  timeout 5 bash -c \"exec 3<>/dev/tcp/$to\" 2>/dev/null\ndone\n\
             [ $(($(date +%s%3N) - start)) -ge {DELAY_MS} ]\n",
            others.endpoints.join(" ")
        ),
        revert: format!(
            "for device in $(tc qdisc show | sed -n 's/^qdisc prio {HANDLE} dev \\([^ ]*\\) root.*/\\1/p'); do\n\
             tc qdisc del dev \"$device\" root\ndone\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn isolated_is_whatever_goes_to_or_comes_from_other_members() {
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
            "[ -z \"$(for door in 10.0.0.11/8008 10.0.0.12/2379; do\n  \
             timeout 1 bash -c \"exec 3<>/dev/tcp/$door\" 2>/dev/null && echo \"$door\" &\ndone; wait)\" ]\n"
        );
        assert_eq!(fault.revert, "nft add table inet hactl_drill '; delete table inet hactl_drill'\n");
    }

    #[test]
    fn cut_from_etcd_is_the_user_of_patroni_on_every_way() {
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
            fault.effect.contains("for door in 10.0.0.10/2379 10.0.0.11/2379; do\n  runuser -u postgres -- timeout")
        );
    }

    #[test]
    fn slow_etcd_redirects_new_connections_and_resets_open_ones() {
        let fault = slow_etcd("postgres", &others());
        let table = "table inet hactl_drill {
  chain detour {
    type nat hook output priority -100; policy accept;
    meta skuid \"postgres\" tcp dport 2379 counter redirect to :$port
  }
  chain output {
    type filter hook output priority 0; policy accept;
    meta skuid \"postgres\" tcp dport 2379 counter reject with tcp reset
  }
}
END
";
        assert!(fault.inject.ends_with(&format!("port=$(cat /run/hactl-slow-etcd/port)\nnft -f - <<END\n{table}")));
        assert_eq!(
            fault.revert,
            "nft add table inet hactl_drill '; delete table inet hactl_drill'\n\
             ! systemctl is-active --quiet hactl-slow-etcd || systemctl stop hactl-slow-etcd\n\
             rm -rf /run/hactl-slow-etcd\n"
        );
    }

    #[test]
    fn a_lost_packet_is_lost_where_it_arrives() {
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
    fn a_late_packet_is_one_to_another_member() {
        let fault = delay(&others());
        assert_eq!(
            fault.inject,
            r#"device=$(ip -o route get 10.0.0.11 | sed -n 's/.* dev \([^ ]*\) .*/\1/p')
tc qdisc add dev "$device" root handle 7a5d: prio bands 4
tc qdisc add dev "$device" parent 7a5d:4 netem delay 200ms
for to in 10.0.0.11 10.0.0.12; do
tc filter add dev "$device" parent 7a5d: protocol ip u32 match ip dst "$to/32" flowid 7a5d:4
done
"#
        );
        assert_eq!(
            fault.revert,
            r#"for device in $(tc qdisc show | sed -n 's/^qdisc prio 7a5d: dev \([^ ]*\) root.*/\1/p'); do
tc qdisc del dev "$device" root
done
"#
        );
    }
}
