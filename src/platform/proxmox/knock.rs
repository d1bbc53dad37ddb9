//! Whether a machine is at an address: a connection tells it without the API.

use std::{fs, net::Ipv4Addr, time::Duration};

use tokio::net::TcpStream;

/// How long a machine may take to accept a connection. In a local network it is a millisecond.
const WITHIN: Duration = Duration::from_secs(1);

/// Whether something accepts connections there.
pub(super) async fn accepts(host: &str, port: u16) -> bool {
    matches!(tokio::time::timeout(WITHIN, TcpStream::connect((host, port))).await, Ok(Ok(_)))
}

/// Whether something has this address: it accepts connections, or the kernel has learnt its hardware address from the
/// attempt, which a firewall on it does not hide.
pub(super) async fn is_used(address: Ipv4Addr, port: u16) -> bool {
    if accepts(&address.to_string(), port).await {
        return true;
    }
    let table = fs::read_to_string("/proc/net/arp").unwrap_or_default();
    is_neighbour(&table, address)
}

/// Whether the kernel's table of neighbours has the hardware address of `address`.
fn is_neighbour(table: &str, address: Ipv4Addr) -> bool {
    /// The flag of an entry that an answer has completed.
    const COMPLETE: u8 = 0x2;
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_whitespace();
        let (ip, flags) = (columns.next(), columns.nth(1));
        let flags = flags.and_then(|flags| u8::from_str_radix(flags.trim_start_matches("0x"), 16).ok());
        ip.and_then(|ip| ip.parse().ok()) == Some(address) && flags.is_some_and(|flags| flags & COMPLETE != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbour_is_known_only_once_it_has_answered() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     192.168.1.21     0x1         0x2         bc:24:11:00:00:07     *        eth0\n\
                     192.168.1.22     0x1         0x0         00:00:00:00:00:00     *        eth0\n\
                     192.168.1.23     0x1         0x6         bc:24:11:00:00:08     *        eth0\n";
        let found = [21, 22, 23, 24].map(|last| is_neighbour(table, Ipv4Addr::new(192, 168, 1, last)));
        assert_eq!(found, [true, false, true, false]);
        assert!(!is_neighbour("", Ipv4Addr::LOCALHOST));
    }
}
