//! Machines that exist are found before Terraform runs: moved to another hypervisor, hidden from the token, on another
//! Proxmox; and what strange machines use of what the cluster's are to have.

use std::net::Ipv4Addr;

use super::*;

const CLUSTER: uuid::Uuid = uuid::Uuid::from_u128(7);

/// One machine that Terraform's state has as 100 on pve1, where the cluster file has it as well.
fn made(machine: GuestRequest) -> ProxmoxRequest {
    let state = GuestRequest {
        made: true,
        vmid: Some(100),
        recorded_on: Some("pve1".to_owned()),
        held_as: Some(key("node1")),
        name: "pg-prod-node1".to_owned(),
        ..machine
    };
    ProxmoxRequest { cluster: Some(CLUSTER), known: [100].into(), ..wanted([state]) }
}

fn one(wanted: &mut ProxmoxRequest) -> &mut GuestRequest {
    wanted.machines.get_mut(&key("node1")).unwrap()
}

/// The cluster's machine on a hypervisor.
fn guest(kind: &'static str, node: &str) -> Guest {
    let mut guest = Guest::new(kind, node, "pg-prod-node1");
    guest.config.insert("tags".to_owned(), format!("hactl-{CLUSTER}").into());
    guest
}

fn with(id: u32, guest: Guest) -> Simulator {
    let simulator = Simulator::start(World::default());
    simulator.world().guests.insert(id, guest);
    simulator
}

/// Everything but one privilege.
fn all_but(world: &World, privilege: &str) -> BTreeSet<String> {
    world.acl["/"].iter().filter(|one| *one != privilege).cloned().collect()
}

#[test]
fn container_on_another_hypervisor_is_named_with_the_line_to_write() {
    let mut wanted = made(container("pve1", FILE));
    let simulator = with(100, guest("lxc", "pve2"));
    let error = check(&simulator, &wanted).unwrap_err();
    let said = error.to_string();
    assert_eq!(error.code, "proxmox-machine-moved", "{said}");
    assert!(said.contains("node1: container 100 (pg-prod-node1) is on hypervisor pve2, not on pve1"), "{said}");
    assert!(said.contains("Set `node: pve2` for node1") && said.contains("pct migrate 100 pve1"), "{said}");

    // With that line Terraform is to look for it there.
    one(&mut wanted).hypervisor = "pve2".to_owned();
    let surveyed = check(&simulator, &wanted).unwrap().surveyed;
    let moved = &surveyed.moved[0];
    assert_eq!((moved.key.as_str(), moved.vmid, moved.hypervisor.as_str()), ("node1", 100, "pve2"));
    // Once its state says so, too, nothing has moved.
    one(&mut wanted).recorded_on = Some("pve2".to_owned());
    assert!(check(&simulator, &wanted).unwrap().surveyed.moved.is_empty());
    // Another `node` in the file alone moves nothing: Terraform's plan shows what it would do.
    let mut elsewhere = made(container("pve2", FILE));
    one(&mut elsewhere).hypervisor = "pve2".to_owned();
    assert!(check(&with(100, guest("lxc", "pve1")), &elsewhere).unwrap().surveyed.moved.is_empty());
}

#[test]
fn virtual_machine_on_another_hypervisor_is_accepted_and_its_place_is_reported() {
    let simulator = with(100, guest("qemu", "pve2"));
    // Its former hypervisor may be off: that is why high availability moved it.
    simulator.world().nodes.get_mut("pve1").unwrap().online = false;
    let surveyed = check(&simulator, &made(machine("pve1", 9002))).unwrap().surveyed;
    let place = &surveyed.places[0];
    assert_eq!((place.machine.as_str(), place.vmid), ("node1", 100));
    assert_eq!((place.hypervisor.as_str(), place.file.as_deref()), ("pve2", Some("pve1")));
    assert!(surveyed.moved.is_empty());
    assert_eq!(surveyed.vm_ids, BTreeMap::from([(key("node1"), 100)]));
}

#[test]
fn machine_hidden_from_the_token_is_not_taken_for_gone() {
    let mut wanted = made(machine("pve1", 9002));
    let simulator = with(100, guest("qemu", "pve1"));
    let less = all_but(&simulator.world(), "VM.Audit");
    simulator.world().acl.insert("/vms/100".to_owned(), less.clone());
    let error = check(&simulator, &wanted).unwrap_err();
    assert_eq!(error.code, "proxmox-machine-invisible", "{error}");
    assert!(
        error.to_string().contains("machine 100 exists") && error.to_string().contains("lacks VM.Audit on /vms/100")
    );

    // The record of the last run is enough, where the state was lost.
    one(&mut wanted).made = false;
    assert_eq!(check(&simulator, &wanted).unwrap_err().code, "proxmox-machine-invisible");

    // A token with grants on a pool, out of which the machine was moved.
    let mut pooled = made(GuestRequest { pool: Some("db".to_owned()), ..machine("pve1", 9002) });
    let all = simulator.world().acl["/"].clone();
    for path in ["/pool/db", "/vms/9002"] {
        simulator.world().acl.insert(path.to_owned(), all.clone());
    }
    simulator.world().acl.insert("/vms".to_owned(), less);
    simulator.world().acl.remove("/vms/100");
    let error = check(&simulator, &pooled).unwrap_err();
    assert!(
        error.code == "proxmox-machine-invisible" && error.to_string().contains("not in that pool any more"),
        "{error}"
    );
    simulator.world().guests.get_mut(&100).unwrap().pool = Some("db".to_owned());
    check(&simulator, &pooled).unwrap();
    // One that is really gone is no longer in the pool, either.
    simulator.world().guests.remove(&100);
    check(&simulator, &pooled).unwrap();
    one(&mut pooled).made = false;
    simulator.world().pools.insert("db".to_owned());
    assert_eq!(check(&simulator, &pooled).unwrap().surveyed.vm_ids, BTreeMap::from([(key("node1"), 100)]));
}

#[test]
fn machine_that_answers_is_not_gone_because_this_proxmox_lacks_it() {
    let simulator = Simulator::start(World::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut wanted = made(machine("pve1", 9002));
    one(&mut wanted).was_at = Some(("127.0.0.1".to_owned(), port));
    let error = check(&simulator, &wanted).unwrap_err();
    assert_eq!(error.code, "proxmox-machine-invisible", "{error}");
    let said = error.to_string();
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("another Proxmox"), "{said}");
    drop(listener);
    assert_eq!(check(&simulator, &wanted).unwrap().surveyed.vm_ids[&key("node1")], 100);
}

/// A listener whose queue is full lets connections wait, as an address without a machine does.
#[test]
fn hundred_machines_that_are_gone_are_found_gone_within_the_time_of_the_check() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        socket.listen(0).unwrap()
    });
    let address = listener.local_addr().unwrap();
    let first = std::net::TcpStream::connect(address).unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100));
    assert!((0..5).any(|_| connect().is_err()), "the queue is never full");
    let gone = |n: u32| GuestRequest {
        made: true,
        vmid: Some(100 + n),
        recorded_on: Some("pve1".to_owned()),
        was_at: Some((address.ip().to_string(), address.port())),
        name: format!("pg-prod-node{}", n + 1),
        ..machine("pve1", 9002)
    };
    let wanted = ProxmoxRequest { cluster: Some(CLUSTER), known: (100..200).collect(), ..wanted((0..100).map(gone)) };
    let simulator = Simulator::start(World::default());
    // One after the other they would take longer than all of the check may.
    let surveyed = check(&simulator, &wanted).unwrap().surveyed;
    assert_eq!((surveyed.places.len(), surveyed.vm_ids.len()), (0, 100));
    drop(first);
}

#[test]
fn number_that_another_machine_has_now_is_not_changed() {
    let wanted = made(machine("pve1", 9002));
    let error = check(&with(100, Guest::new("qemu", "pve1", "mail")), &wanted).unwrap_err();
    assert_eq!(error.code, "proxmox-machine-other", "{error}");
    assert!(error.to_string().contains("virtual machine 100 (mail) on pve1"), "{error}");
    // Renamed in the web interface, it has the cluster's tag; without the tag it has its name.
    let mut renamed = guest("qemu", "pve1");
    renamed.config.insert("name".to_owned(), "database".into());
    check(&with(100, renamed), &wanted).unwrap();
    check(&with(100, Guest::new("qemu", "pve1", "pg-prod-node1")), &wanted).unwrap();
    // One that is to be imported has what others gave it.
    let mut imported = wanted.clone();
    one(&mut imported).imported = true;
    check(&with(100, Guest::new("qemu", "pve1", "mail")), &imported).unwrap();
    // The name that it had at the last apply is its own, also where the file has another one now.
    let mut other = wanted;
    one(&mut other).recorded_name = Some("pg-prod-old".to_owned());
    check(&with(100, Guest::new("qemu", "pve1", "pg-prod-old")), &other).unwrap();
}

#[test]
fn unknown_machine_with_the_tag_of_the_cluster_is_named_before_one_is_made() {
    let mut copy = guest("qemu", "pve3");
    copy.config.insert("name".to_owned(), "copy-of-node1".into());
    let simulator = with(104, copy);
    let new = ProxmoxRequest { cluster: Some(CLUSTER), ..wanted([machine("pve1", 9002)]) };
    let error = check(&simulator, &new).unwrap_err();
    assert_eq!(error.code, "proxmox-machine-there", "{error}");
    assert!(
        error.to_string().contains("virtual machine 104 (copy-of-node1) on pve3 has this cluster's tag"),
        "{error}"
    );
    // One that Terraform or the record knows is none, and where nothing is made, nothing is made twice.
    check(&simulator, &ProxmoxRequest { known: [104].into(), ..new }).unwrap();
    simulator.world().guests.insert(100, guest("qemu", "pve1"));
    check(&simulator, &made(machine("pve1", 9002))).unwrap();
}

#[test]
fn address_of_another_machine_is_named_before_one_is_made() {
    let address = |octets: [u8; 4]| edit(|machine| machine.address = Some(Ipv4Addr::from(octets)));
    let mut web = Guest::new("qemu", "pve2", "web");
    (web.running, web.kind) = (false, "qemu");
    web.config.insert("ipconfig0".to_owned(), "ip=192.0.2.21/24,gw=192.0.2.1".into());
    let mut mail = Guest::new("lxc", "pve3", "mail");
    mail.config.insert("net0".to_owned(), "name=eth0,bridge=vmbr0,ip=192.0.2.22/24,type=veth".into());
    let simulator = with(104, web);
    simulator.world().guests.insert(105, mail);
    for (last, words) in [(21, "virtual machine 104 (web) on pve2"), (22, "container 105 (mail) on pve3")] {
        let error = check(&simulator, &address([192, 0, 2, last])).unwrap_err();
        assert!(error.code == "proxmox-address-taken" && error.to_string().contains(words), "{error}");
    }
    check(&simulator, &address([192, 0, 2, 23])).unwrap();
    // That of a machine of the cluster may pass to another one of it.
    check(&simulator, &ProxmoxRequest { known: [104].into(), ..address([192, 0, 2, 21]) }).unwrap();

    // What Proxmox does not show may answer.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let knocked = ProxmoxRequest { ssh_port: port, ..address([127, 0, 0, 1]) };
    let error = check(&simulator, &knocked).unwrap_err();
    assert!(
        error.code == "proxmox-address-taken" && error.to_string().contains("127.0.0.1 and answers there"),
        "{error}"
    );
    drop(listener);
    check(&simulator, &knocked).unwrap();
}

/// A token with grants on single storages and bridges sees no others, and Proxmox does not tell it whether they exist.
#[test]
fn misspelt_storage_and_bridge_are_unknown_and_no_missing_privilege() {
    let least = |world: &mut World| {
        let all = world.acl.remove("/").unwrap();
        let paths = ["/vms", "/storage/local-lvm", "/storage/local", "/sdn/zones/localnetwork/vmbr0"];
        world.acl.extend(paths.map(|path| (path.to_owned(), all.clone())));
    };
    let storage = edit(|machine| machine.datastore = "local-lvn".to_owned());
    let words = ["no datastore local-lvn that the token may see", "did you mean local-lvm?", "on /storage/local-lvn"];
    refused(least, &storage, "proxmox-datastore", &words);
    let bridge = edit(|machine| machine.bridge = "vmbr00".to_owned());
    let words = ["no bridge vmbr00 that the token may see; it has vmbr0", "did you mean vmbr0?"];
    refused(least, &bridge, "proxmox-bridge", &words);
}

#[test]
fn container_with_tags_needs_a_grant_beside_that_of_its_pool() {
    let by_pool = |world: &mut World| {
        let all = world.acl.remove("/").unwrap();
        let paths = ["/pool/db", "/storage", "/sdn", "/vms/9002"];
        world.acl.extend(paths.map(|path| (path.to_owned(), all.clone())));
        world.pools.insert("db".to_owned());
    };
    let pooled = |machine: GuestRequest| wanted([GuestRequest { pool: Some("db".to_owned()), ..machine }]);
    let words = ["node1: the token hactl@pve!terraform lacks VM.Config.Options on /vms"];
    refused(by_pool, &pooled(container("pve1", FILE)), "proxmox-privileges", &words);
    let mut world = World::default();
    by_pool(&mut world);
    let simulator = Simulator::start(world);
    check(&simulator, &pooled(machine("pve1", 9002))).unwrap();
    simulator.world().acl.insert("/vms".to_owned(), BTreeSet::from(["VM.Config.Options".to_owned()]));
    check(&simulator, &pooled(container("pve1", FILE))).unwrap();
}

#[test]
fn proxmox_cluster_without_quorum_is_refused_before_an_apply() {
    let audited = |world: &mut World| {
        world.acl.get_mut("/").unwrap().insert("Sys.Audit".to_owned());
        world.quorate = false;
    };
    refused(audited, &edit(|_| {}), "proxmox-quorum", &["has lost its quorum and accepts no change"]);
    // Without Sys.Audit the list of hypervisors tells it.
    let alone = |world: &mut World| {
        for node in ["pve2", "pve3"] {
            world.nodes.get_mut(node).unwrap().online = false;
        }
    };
    refused(alone, &edit(|_| {}), "proxmox-quorum", &["1 of 3 hypervisors are online (offline: pve2, pve3)"]);
    let simulator = Simulator::start(World::default());
    simulator.world().nodes.get_mut("pve3").unwrap().online = false;
    check(&simulator, &edit(|_| {})).unwrap();
}

#[test]
fn tags_that_the_token_may_not_set_are_named_before_an_apply() {
    let restricted = |mode: &'static str, list: &[&str]| {
        let list = list.iter().map(|tag| (*tag).to_owned()).collect();
        move |world: &mut World| {
            world.acl.get_mut("/").unwrap().insert("Sys.Audit".to_owned());
            world.user_tags = Some((mode, list));
        }
    };
    let own = format!("hactl-{CLUSTER}");
    let tagged = ProxmoxRequest { cluster: Some(CLUSTER), ..edit(|machine| machine.tags = ["db".to_owned()].into()) };
    let words = ["`user-tag-access` is `list`", "and not hactl-00000000-0000-0000-0000-000000000007"];
    refused(restricted("list", &["db"]), &tagged, "proxmox-tags", &words);
    refused(restricted("none", &[]), &tagged, "proxmox-tags", &["and not db, hactl-"]);
    // Before the first apply the cluster has no UUID.
    refused(restricted("existing", &["db"]), &edit(|_| {}), "proxmox-tags", &["and not hactl-UUID"]);
    let pass = |change: &dyn Fn(&mut World)| {
        let mut world = World::default();
        change(&mut world);
        check(&Simulator::start(world), &tagged).unwrap();
    };
    pass(&|world| restricted("list", &["db", &own])(world));
    pass(&|world| {
        restricted("none", &[])(world);
        world.acl.get_mut("/").unwrap().insert("Sys.Modify".to_owned());
    });
}

#[test]
fn protection_that_an_apply_changes_needs_a_privilege_on_the_machine() {
    let mut wanted = made(machine("pve1", 9002));
    let simulator = with(100, guest("qemu", "pve1"));
    let less = all_but(&simulator.world(), "VM.Config.Options");
    simulator.world().acl.insert("/vms/100".to_owned(), less);
    check(&simulator, &wanted).unwrap();
    one(&mut wanted).protects = true;
    let error = check(&simulator, &wanted).unwrap_err();
    assert_eq!(error.code, "proxmox-privileges", "{error}");
    assert!(error.to_string().contains("node1: the token hactl@pve!terraform lacks VM.Config.Options on /vms/100"));
    simulator.world().acl.remove("/vms/100");
    check(&simulator, &wanted).unwrap();
}

#[test]
fn virtual_machine_with_a_start_order_needs_a_privilege_on_the_proxmox_cluster() {
    let ordered = edit(|machine| machine.startup = true);
    let words = ["node1: the token hactl@pve!terraform lacks Sys.Modify on /"];
    refused(|_| {}, &ordered, "proxmox-privileges", &words);
    let simulator = Simulator::start(World::default());
    simulator.world().acl.get_mut("/").unwrap().insert("Sys.Modify".to_owned());
    check(&simulator, &ordered).unwrap();
}
