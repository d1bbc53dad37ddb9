//! What machines are, and whether the file asks for it -> kernel settings of the machines with PostgreSQL.
//!
//! A container has the kernel of its hypervisor, so hactl sets nothing there. A machine that hactl did not make may serve others,
//! so hactl sets nothing there unasked.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::{Platform, ProxmoxKind};

/// A server with less takes little from huge pages.
const HUGE_FROM_MB: u64 = 2048;

/// What decides the kernel settings and the clock of a platform whose machines are containers, in words.
#[must_use]
pub fn of_containers(platform: &Platform) -> Option<&'static str> {
    match platform {
        Platform::Local(_) => Some("the machines are containers: their host decides the kernel settings and the clock"),
        Platform::Proxmox(proxmox) if proxmox.kind == ProxmoxKind::Lxc => {
            Some("the machines are containers: the hypervisor decides the kernel settings and the clock")
        }
        _ => None,
    }
}

/// The kernel settings, by their names for `sysctl`. `begins` says that the cluster had them from its first start on. Only then are
/// huge pages reserved: a server that runs without them would take its memory twice until it restarts.
pub(super) fn settings(
    platform: &Platform,
    asked: bool,
    begins: bool,
    derived: &BTreeMap<String, Value>,
) -> BTreeMap<String, u64> {
    let sets = match platform {
        _ if of_containers(platform).is_some() => false,
        Platform::Local(_) | Platform::Adopted(_) => false,
        Platform::Proxmox(_) => asked || begins,
        Platform::Hosts(_) | Platform::Terraform(_) => asked,
    };
    if !sets {
        return BTreeMap::new();
    }
    let mut settings = BTreeMap::from([
        // Memory of a server goes to the swap only when nothing else is left.
        ("vm.swappiness".to_owned(), 1),
        // Little is written late, so that a checkpoint does not stall on all of it.
        ("vm.dirty_background_bytes".to_owned(), 64 << 20),
        ("vm.dirty_bytes".to_owned(), 512 << 20),
    ]);
    let shared = derived.get("shared_buffers").and_then(Value::as_str).and_then(|text| text.strip_suffix("MB"));
    let shared = shared.and_then(|megabytes| megabytes.parse::<u64>().ok()).unwrap_or_default();
    let made_here = matches!(platform, Platform::Proxmox(_));
    if made_here && begins && shared >= HUGE_FROM_MB {
        // Pages of 2 MB, with a tenth for what the server shares beside its buffers.
        settings.insert("vm.nr_hugepages".to_owned(), shared * 11 / 20 + 32);
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Choices, plan::decide, spec};

    #[test]
    fn kernel_settings_are_for_virtual_machines_of_hactl_and_for_hosts_that_ask() {
        let vm = "platform: proxmox\ninstances: {a: {memory: MEMORY}}";
        let lxc = "platform: {proxmox: {kind: lxc}}\ninstances: {a: {memory: MEMORY}}";
        let local = "instances: {a: {memory: MEMORY}}";
        let hosts = "platform: {hosts: {ssh: {user: root}}}\ninstances: {a: {address: 10.0.0.1, memory: MEMORY}}";
        let asks = "\nmachine: {tune: true}";
        let own = "\npostgres: {parameters: {shared_buffers: 1GB}}";
        let table = [
            (vm.to_owned(), 4096, Some(0)),
            (vm.to_owned(), 16_384, Some(4032 * 11 / 20 + 32)),
            (format!("{vm}{own}"), 16_384, Some(0)),
            (lxc.to_owned(), 16_384, None),
            (local.to_owned(), 16_384, None),
            (hosts.to_owned(), 16_384, None),
            (format!("{hosts}{asks}"), 16_384, Some(0)),
            (format!("{hosts}{asks}"), 1024, Some(0)),
        ];
        for (text, decides) in [(lxc, Some("the hypervisor")), (local, Some("their host")), (vm, None), (hosts, None)] {
            let text = text.replace("MEMORY", "1024");
            let said = of_containers(&spec::load("t", text.as_bytes(), "t").unwrap().platform);
            assert!(
                said.is_some() == decides.is_some() && said.unwrap_or_default().contains(decides.unwrap_or_default())
            );
        }
        for (text, memory, pages) in table {
            let text = text.replace("MEMORY", &format!("{memory}"));
            let spec = spec::load("t", text.as_bytes(), "t").unwrap();
            let kernel = decide(&spec, &Choices::default()).unwrap().kernel;
            assert_eq!(kernel.get("vm.swappiness"), pages.map(|_| 1).as_ref(), "{text}");
            assert_eq!(kernel.get("vm.nr_hugepages").copied().unwrap_or_default(), pages.unwrap_or_default(), "{text}");
        }
    }

    #[test]
    fn running_servers_get_no_huge_pages() {
        let text = "platform: proxmox\ninstances: {a: {memory: 16384}}";
        let platform = spec::load("t", text.as_bytes(), "t").unwrap().platform;
        let derived = BTreeMap::from([("shared_buffers".to_owned(), Value::from("4032MB"))]);
        let names = |asked| settings(&platform, asked, false, &derived).into_keys().collect::<Vec<_>>();
        assert_eq!(names(false), [""; 0]);
        assert_eq!(names(true), ["vm.dirty_background_bytes", "vm.dirty_bytes", "vm.swappiness"]);
    }
}
