//! Choosing a subnet that collides with nothing on this machine.
//!
//! The networks in use come in, a free /24 goes out. Pure, but for reading the kernel's routes.

use std::{fs, net::Ipv4Addr};

use ipnet::Ipv4Net;

/// A network in use, and by whom, for messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Used {
    pub(super) net: Ipv4Net,
    pub(super) by: String,
}

/// The networks that this machine's routes lead to; interfaces have theirs among them.
pub(super) fn routes() -> Vec<Used> {
    // Where the file cannot be read, the engine still refuses what it knows to overlap.
    parse_routes(&fs::read_to_string("/proc/net/route").unwrap_or_default())
}

/// Parses the kernel's table: destination and mask are hexadecimal in the machine's byte order.
fn parse_routes(table: &str) -> Vec<Used> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let address = |field: &str| u32::from_str_radix(field, 16).map(|bits| Ipv4Addr::from(bits.to_ne_bytes()));
        let net = Ipv4Net::with_netmask(address(fields.get(1)?).ok()?, address(fields.get(7)?).ok()?).ok()?;
        // The default route matches every address and does not occupy a subnet.
        (net.prefix_len() > 0).then(|| Used { net, by: format!("a route of interface {}", fields[0]) })
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// The /24 networks to try, in a fixed order.
pub(super) fn candidates() -> impl Iterator<Item = Ipv4Net> {
    let blocks = [[10, 89], [10, 213], [172, 29], [192, 168]];
    blocks.into_iter().flat_map(|[a, b]| (0..=255).map(move |c| Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), 24)))
}

/// Who uses a part of `net` already.
pub(super) fn collision(net: Ipv4Net, used: &[Used]) -> Option<&Used> {
    used.iter().find(|other| other.net.contains(&net.network()) || net.contains(&other.net.network()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
        tun0\t0000590A\t00000000\t0001\t0\t0\t0\t0000FEFF\t0\t0\t0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_are_read_without_the_default_route() {
        let used = parse_routes(TABLE);
        let nets: Vec<String> = used.iter().map(|used| used.net.to_string()).collect();
        assert_eq!(nets, ["172.17.0.0/16", "10.89.0.0/15"]);
        assert_eq!(used[1].by, "a route of interface tun0");
    }

    #[test]
    fn first_free_subnet_overlaps_no_used_network() {
        let used = |net: &str| Used { net: net.parse().unwrap(), by: "test".to_owned() };
        let first = |used: &[Used]| candidates().find(|net| collision(*net, used).is_none()).unwrap().to_string();
        assert_eq!(first(&[]), "10.89.0.0/24");
        assert_eq!(first(&[used("10.89.0.64/26")]), "10.89.1.0/24");
        assert_eq!(first(&[used("10.89.0.0/16")]), "10.213.0.0/24");
        assert_eq!(first(&[used("10.0.0.0/8")]), "172.29.0.0/24");
    }
}
