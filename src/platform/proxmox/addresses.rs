//! What uses the fixed addresses that new machines are to have: guests by their configuration, and whatever answers there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use futures_util::{StreamExt, future::join_all, stream};
use serde_json::Value;

use super::{
    Api,
    facts::{AddressUser, Facts, Guest},
    knock,
    needs::ProxmoxRequest,
};

/// How long the configurations of all guests may take. A guest that was not asked by then is found if it answers.
const WITHIN: Duration = Duration::from_secs(3);

/// Guests asked at once.
const AT_ONCE: usize = 8;

/// The users of the addresses that are in use.
pub(super) async fn users(api: &Api, wanted: &ProxmoxRequest, facts: &Facts) -> BTreeMap<Ipv4Addr, AddressUser> {
    let new = wanted.machines.values().filter(|machine| !machine.made);
    let addresses: BTreeSet<Ipv4Addr> = new.filter_map(|machine| machine.address).collect();
    if addresses.is_empty() {
        return BTreeMap::new();
    }
    let answering = join_all(addresses.iter().map(async |address| {
        knock::is_used(*address, wanted.ssh_port).await.then_some((*address, AddressUser::Unknown))
    }));
    let (answering, mut users) = tokio::join!(answering, configured(api, wanted, facts));
    users.retain(|address, _| addresses.contains(address));
    for (address, user) in answering.into_iter().flatten() {
        users.entry(address).or_insert(user);
    }
    users
}

/// The addresses that the configurations of strange guests have.
async fn configured(api: &Api, wanted: &ProxmoxRequest, facts: &Facts) -> BTreeMap<Ipv4Addr, AddressUser> {
    let strange = facts.guests.iter().filter(|(id, guest)| {
        !guest.template && !wanted.known.contains(id) && facts.nodes.get(&guest.hypervisor) == Some(&true)
    });
    let asked = stream::iter(strange)
        .map(async |(id, guest): (&u32, &Guest)| {
            let kind = if guest.container { "lxc" } else { "qemu" };
            let answer = api.get(&["nodes", &guest.hypervisor, kind, &id.to_string(), "config"], &[]).await;
            answer.map(|config| (*id, addresses_in(&config))).unwrap_or_default()
        })
        .buffer_unordered(AT_ONCE);
    let mut found = BTreeMap::new();
    let collect = asked.for_each(|(id, addresses)| {
        found.extend(addresses.into_iter().map(|address| (address, AddressUser::Guest(id))));
        std::future::ready(())
    });
    // What has answered by then is known.
    let _ = tokio::time::timeout(WITHIN, collect).await;
    found
}

/// The fixed addresses in a guest's configuration: `ipconfig0: ip=10.0.0.1/24,gw=...` of a virtual machine, and
/// `net0: name=eth0,...,ip=10.0.0.1/24` of a container.
fn addresses_in(config: &Value) -> Vec<Ipv4Addr> {
    let settings = config.as_object().into_iter().flatten();
    let network = settings.filter(|(key, _)| key.starts_with("ipconfig") || key.starts_with("net"));
    let parts = network.filter_map(|(_, value)| value.as_str()).flat_map(|text| text.split(','));
    parts.filter_map(|part| part.trim().strip_prefix("ip=")?.split('/').next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fixed_addresses_are_read_from_both_kinds_of_configuration() {
        let config = json!({
            "ipconfig0": "ip=192.168.1.21/24,gw=192.168.1.1", "ipconfig1": "ip=dhcp", "memory": 2048,
            "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:07,ip=192.168.1.31/24,type=veth",
            "net1": "virtio=BC:24:11:00:00:08,bridge=vmbr0", "description": "ip=192.168.1.99",
        });
        assert_eq!(addresses_in(&config), [Ipv4Addr::new(192, 168, 1, 21), Ipv4Addr::new(192, 168, 1, 31)]);
        assert!(addresses_in(&Value::Null).is_empty());
    }
}
