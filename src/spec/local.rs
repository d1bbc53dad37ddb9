//! Local nodes in the file -> their image and their network.

use ipnet::Ipv4Net;

use super::{checker::Checker, file::LocalFile};
use crate::model::{Distribution, Local};

const DEFAULT_IMAGE: &str = "debian:12";

/// hactl assigns addresses from .10 to .254 of the local network.
const FIRST_ADDRESS: u32 = 10;
const LAST_ADDRESS: u32 = 254;
pub(super) fn local(checker: &mut Checker<'_, '_>, local: LocalFile, instances: usize) -> Local {
    let base_image = local.image.unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
    let release = base_image.parse::<Distribution>().unwrap_or_else(|message| {
        checker.say(&["platform", "local", "image"], message);
        Distribution::Debian12
    });
    let addresses = LAST_ADDRESS - FIRST_ADDRESS + 1;
    if instances > addresses as usize {
        checker.say(
            &["instances"],
            format!("{instances} instances are too many: a local network has addresses for {addresses}"),
        );
    }
    let subnet = local.subnet.and_then(|text| subnet(checker, &text, instances));
    Local { base_image, release, subnet }
}

pub(super) fn subnet(checker: &mut Checker<'_, '_>, text: &str, instances: usize) -> Option<Ipv4Net> {
    let path = ["platform", "local", "subnet"];
    let Ok(net) = text.parse::<Ipv4Net>() else {
        checker.say(&path, format!("`{text}` is not an IPv4 network in CIDR notation, such as 10.89.7.0/24"));
        return None;
    };
    if net.addr() != net.network() {
        checker.meant(&path, format!("`{text}` is an address within a network"), Some(net.trunc().to_string()));
        return None;
    }
    let first = net.network();
    if first.is_loopback()
        || first.is_link_local()
        || first.is_multicast()
        || first.octets()[0] == 0
        || first.octets()[0] >= 240
    {
        checker.say(&path, format!("{net} cannot be the network of machines; choose a network within 10.0.0.0/8"));
        return None;
    }
    // Addresses from .10 up, below the broadcast address.
    let needed = u64::from(FIRST_ADDRESS) + instances as u64;
    let size = 1_u64 << (32 - u32::from(net.prefix_len()));
    if net.prefix_len() < 8 || size < needed + 1 {
        let message =
            format!("{net} is too small for {instances} machines, which get addresses from the tenth up; use a /24");
        checker.say(&path, message);
        return None;
    }
    Some(net)
}
