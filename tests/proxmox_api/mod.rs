//! What hactl asks Proxmox itself, against a simulator of its API on loopback: TLS, tokens, privileges, and the
//! questions and answers of the real one. What Terraform's provider asks is not part of it.
//!
//! Long because its tests share one simulator and the questions it answers.

mod clones;
mod identity;
pub(crate) mod machines;
mod power;
pub(crate) mod simulator;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use hactl::{
    error::{Error, codes::ERRORS},
    model::{DiskFlags, InstanceKey},
    platform::{
        FoundFlags,
        proxmox::{
            self, Api, Checked, ENDPOINT_VARIABLE, GuestRequest, Pool, ProxmoxRequest, SizedDisks, Source,
            TOKEN_VARIABLE,
        },
    },
};
use simulator::{Guest, REFUSED_AFTER, SECRET, Simulator, TOKEN, World};

const FILE: &str = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst";

fn token() -> String {
    format!("{TOKEN}={SECRET}")
}

fn api(endpoint: &str, token: &str, ca_cert: Option<&Path>) -> Result<Api, Error> {
    let env = BTreeMap::from([
        (ENDPOINT_VARIABLE.to_owned(), endpoint.to_owned()),
        (TOKEN_VARIABLE.to_owned(), token.to_owned()),
    ]);
    Api::find(None, ca_cert, &env)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Within this nothing was waited for: the shortest patience is 3 s. On an idle machine it is some 0.1 s; this one may be busy.
const AT_ONCE: Duration = Duration::from_millis(2_500);

/// A check, and how long it took.
fn check_at(
    endpoint: &str,
    token: &str,
    ca_cert: Option<&Path>,
    wanted: &ProxmoxRequest,
) -> (Result<Checked, Error>, Duration) {
    let started = Instant::now();
    let found = api(endpoint, token, ca_cert).and_then(|api| run(proxmox::check(&api, wanted)));
    let took = started.elapsed();
    if let Err(error) = &found {
        println!("-- {:.2} s, {}\n{error}", took.as_secs_f64(), error.code);
        let all = format!("{error} {error:?}");
        assert!(!all.contains(SECRET) && !all.contains("52a3"), "the secret is shown");
        assert!(error.hint.is_some());
    }
    (found, took)
}

fn check(simulator: &Simulator, wanted: &ProxmoxRequest) -> Result<Checked, Error> {
    let (found, took) = check_at(&simulator.endpoint(), &token(), Some(&simulator.ca_cert()), wanted);
    assert!(took < AT_ONCE, "{took:?}");
    found
}

/// The check of a world that was changed must fail with this code, and say these words.
fn refused(change: impl FnOnce(&mut World), wanted: &ProxmoxRequest, code: &str, words: &[&str]) -> Error {
    let mut world = World::default();
    change(&mut world);
    let error = check(&Simulator::start(world), wanted).expect_err(code);
    assert_eq!(error.code, code, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "no `{word}` in: {error}");
    }
    error
}

fn machine(node: &str, id: u32) -> GuestRequest {
    GuestRequest {
        made: false,
        vmid: None,
        recorded_name: None,
        held_as: None,
        recorded_on: None,
        imported: false,
        was_at: None,
        address: None,
        protects: false,
        startup: false,
        tags: BTreeSet::new(),
        name: "pg-prod-new".to_owned(),
        hypervisor: node.to_owned(),
        source: Source::Template { id, hypervisor: None },
        datastore: "local-lvm".to_owned(),
        data_datastore: None,
        sized: SizedDisks::None,
        bridge: "vmbr0".to_owned(),
        vlan: None,
        extra_nic: None,
        pool: None,
    }
}

fn container(node: &str, file: &str) -> GuestRequest {
    GuestRequest { source: Source::File(file.to_owned()), ..machine(node, 0) }
}

fn key(name: &str) -> InstanceKey {
    name.parse().unwrap()
}

fn wanted(machines: impl IntoIterator<Item = GuestRequest>) -> ProxmoxRequest {
    let machines = machines.into_iter().zip(1..).map(|(machine, n)| (key(&format!("node{n}")), machine));
    ProxmoxRequest { machines: machines.collect(), name: "pg".to_owned(), ssh_port: 22, ..ProxmoxRequest::default() }
}

/// One machine on each of three hypervisors, and a pool for them.
fn three() -> ProxmoxRequest {
    let pool = Some(Pool { id: "example-multi-vm-pool".to_owned(), made: false });
    ProxmoxRequest { pool, ..wanted([machine("pve1", 9002), machine("pve2", 9003), machine("pve3", 9004)]) }
}

fn edit(change: impl FnOnce(&mut GuestRequest)) -> ProxmoxRequest {
    let mut machine = machine("pve1", 9002);
    change(&mut machine);
    wanted([machine])
}

#[test]
fn proxmox_with_everything_passes_the_check() {
    let simulator = Simulator::start(World::default());
    let checked = check(&simulator, &three()).unwrap();
    assert_eq!(checked.version, "8.2.4");
    assert!(simulator.world().asked.iter().all(|asked| asked.starts_with("GET ")), "something was changed");
    check(&simulator, &wanted([container("pve1", FILE), container("pve2", FILE)])).unwrap();
    check(&simulator, &ProxmoxRequest::default()).unwrap();

    // As a server on another continent's would be: each answer 100 ms later.
    simulator.world().delay = Duration::from_millis(100);
    for (name, wanted) in [
        ("3 machines", three()),
        ("100 machines", wanted((0..100).map(|n| machine(["pve1", "pve2", "pve3"][n % 3], [9002, 9003, 9004][n % 3])))),
    ] {
        simulator.world().asked.clear();
        let (found, took) = check_at(&simulator.endpoint(), &token(), Some(&simulator.ca_cert()), &wanted);
        let count = simulator.world().asked.len();
        println!("{name}: {count} questions of 100 ms each in {} ms", took.as_millis());
        assert!(found.is_ok() && took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn token_that_is_wrong_is_refused_with_the_words_of_proxmox() {
    let simulator = Simulator::start(World::default());
    let ca_cert = simulator.ca_cert();
    for (token, words) in [
        (format!("{TOKEN}=00000000-52a3-4c2b-9a0e-1f0c0e0d7a11"), "invalid token value!"),
        (format!("hactl@pve!other={SECRET}"), "no such token 'other' for user 'hactl@pve'"),
    ] {
        let (found, took) = check_at(&simulator.endpoint(), &token, Some(&ca_cert), &three());
        let error = found.unwrap_err();
        assert_eq!((error.code, error.kind.exit_code()), ("proxmox-token", 1));
        assert!(error.to_string().contains(words), "{error}");
        // Proxmox holds it back for three seconds; hactl asks once.
        assert!(took > REFUSED_AFTER && took < REFUSED_AFTER + AT_ONCE, "{took:?}");
    }
    let (found, took) = check_at(&simulator.endpoint(), &format!("{TOKEN}:{SECRET}"), Some(&ca_cert), &three());
    assert_eq!(found.unwrap_err().code, "proxmox-token-malformed");
    assert!(took < AT_ONCE, "{took:?}");
    assert!(simulator.world().asked.is_empty(), "something was answered without a login");
}

#[test]
fn certificate_of_another_authority_is_refused() {
    let simulator = Simulator::start(World::default());
    let other = Simulator::start(World::default());
    let fails = |endpoint: &str, ca_cert: Option<PathBuf>, code: &str, words: &str| {
        let (found, took) = check_at(endpoint, &token(), ca_cert.as_deref(), &three());
        let error = found.unwrap_err();
        assert!(error.code == code && error.to_string().contains(words), "{error}");
        assert!(took < AT_ONCE, "{took:?}");
    };
    let endpoint = simulator.endpoint();
    fails(&endpoint, None, "proxmox-untrusted", "set `ca_cert`");
    fails(&endpoint, Some(other.ca_cert()), "proxmox-untrusted", "pve-root-ca.pem");
    fails(&endpoint, Some(other.certificate()), "proxmox-untrusted", "not to the hypervisor's");
    fails(&endpoint, Some("/nonexistent/ca.pem".into()), "proxmox-ca-cert", "/nonexistent/ca.pem");

    let named = Simulator::with_certificate(World::default(), &["pve1.example.org"], true);
    fails(&named.endpoint(), Some(named.ca_cert()), "proxmox-certificate-name", "127.0.0.1");
    let old = Simulator::with_certificate(World::default(), &["127.0.0.1"], false);
    fails(&old.endpoint(), Some(old.ca_cert()), "proxmox-certificate-time", "until 2021-01-01");
    for simulator in [&simulator, &named, &old] {
        assert!(simulator.world().asked.is_empty(), "the token was sent to who is not trusted");
    }
}

#[test]
fn server_absent_silent_or_of_another_kind_has_a_message_for_each() {
    let fails = |endpoint: &str, ca_cert: Option<&Path>, code: &str, least: Duration, most: Duration| {
        let (found, took) = check_at(endpoint, &token(), ca_cert, &three());
        assert_eq!(found.unwrap_err().code, code);
        assert!(took >= least && took < most, "{took:?}");
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fails(&format!("https://{free}/"), None, "proxmox-down", Duration::ZERO, AT_ONCE);
    fails("https://pve1.invalid:8006/", None, "proxmox-unknown", Duration::ZERO, Duration::from_secs(8));

    // Takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}/", silent.local_addr().unwrap());
    fails(&endpoint, None, "proxmox-silent", Duration::from_secs(2), Duration::from_secs(8));
    // Speaks TLS, and answers nothing.
    let simulator = Simulator::start(World { delay: Duration::from_secs(60), ..World::default() });
    let ca_cert = simulator.ca_cert();
    fails(&simulator.endpoint(), Some(&ca_cert), "proxmox-silent", Duration::from_secs(4), Duration::from_secs(8));

    // A web server without TLS.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}/", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    fails(&endpoint, None, "proxmox-other", Duration::ZERO, AT_ONCE);
    // One with TLS, and another API.
    let simulator = Simulator::start(World { version: "x".to_owned(), ..World::default() });
    fails(&simulator.endpoint(), Some(&simulator.ca_cert()), "proxmox-other", Duration::ZERO, AT_ONCE);
}

#[test]
fn object_missing_on_proxmox_is_named_with_the_machines_that_need_it() {
    let three = three();
    refused(
        |_| {},
        &edit(|machine| machine.hypervisor = "pve9".to_owned()),
        "proxmox-node",
        &["node1:", "pve1, pve2, pve3"],
    );
    let offline = |world: &mut World| world.nodes.get_mut("pve2").unwrap().online = false;
    refused(offline, &three, "proxmox-node-offline", &["node2: hypervisor pve2 is offline"]);

    let gone = |world: &mut World| drop(world.guests.remove(&9002));
    refused(
        gone,
        &three,
        "proxmox-template",
        &["node1: virtual machine 9002 does not exist", "9003 (debian-12 on pve2)"],
    );
    let plain = |world: &mut World| world.guests.get_mut(&9002).unwrap().template = false;
    refused(plain, &three, "proxmox-template", &["is not a template", "qm template 9002"]);
    let container_there = |world: &mut World| drop(world.guests.insert(9002, Guest::new("lxc", "pve1", "ct")));
    refused(container_there, &three, "proxmox-template", &["9002 (ct) is a container"]);
    let same = wanted([machine("pve1", 9002), machine("pve2", 9002), machine("pve3", 9002)]);
    refused(|_| {}, &same, "proxmox-check", &["node2: template 9002 is on hypervisor pve1, not on pve2"]);
    let source = Source::Template { id: 9002, hypervisor: Some("pve1".to_owned()) };
    let told = wanted([GuestRequest { source, ..machine("pve2", 9002) }]);
    check(&Simulator::start(World::default()), &told).unwrap();
    let elsewhere = |world: &mut World| drop(world.nodes.get_mut("pve1").unwrap().storages.remove("local-lvm"));
    refused(elsewhere, &told, "proxmox-datastore", &["node1: hypervisor pve1 has no datastore local-lvm"]);

    let storage = |world: &mut World| drop(world.nodes.get_mut("pve3").unwrap().storages.remove("local-lvm"));
    refused(storage, &three, "proxmox-datastore", &["node3: hypervisor pve3 has no datastore local-lvm"]);
    let local = edit(|machine| machine.datastore = "local".to_owned());
    let words = ["does not hold disks of virtual machines", "pvesm set local --content backup,images,iso,vztmpl"];
    refused(|_| {}, &local, "proxmox-datastore-content", &words);
    let disabled = |world: &mut World| {
        world.nodes.get_mut("pve1").unwrap().storages.get_mut("local-lvm").unwrap().enabled = false;
    };
    refused(disabled, &three, "proxmox-datastore-inactive", &["is disabled"]);

    let data = edit(|machine| machine.data_datastore = Some("nvme".to_owned()));
    let error = refused(|_| {}, &data, "proxmox-datastore", &["node1: hypervisor pve1 has no datastore nvme"]);
    assert!(error.hint.unwrap().contains("Set `data_datastore`"));
    let extra = edit(|machine| machine.extra_nic = Some(("vmbr8".to_owned(), None)));
    refused(|_| {}, &extra, "proxmox-bridge", &["node1: hypervisor pve1 has no bridge vmbr8; it has vmbr0"]);
    let bridge = edit(|machine| machine.bridge = "vmbr7".to_owned());
    refused(|_| {}, &bridge, "proxmox-bridge", &["node1: hypervisor pve1 has no bridge vmbr7; it has vmbr0"]);

    let one = wanted([container("pve1", "local:vztmpl/alpine.tar.xz")]);
    refused(|_| {}, &one, "proxmox-template-file", &["alpine.tar.xz", FILE, "pveam download local"]);
    let one = wanted([container("pve1", "local-lvm:vztmpl/alpine.tar.xz")]);
    refused(|_| {}, &one, "proxmox-datastore-content", &["template files of containers"]);
    let one = wanted([GuestRequest { datastore: "local".to_owned(), ..container("pve1", FILE) }]);
    refused(|_| {}, &one, "proxmox-datastore-content", &["disks of containers"]);
}

/// What a run leaves that was killed while Proxmox cloned a machine.
#[test]
fn machine_unknown_to_the_state_is_not_made_twice() {
    let cluster = uuid::Uuid::from_u128(7);
    let wanted = ProxmoxRequest { cluster: Some(cluster), ..edit(|machine| machine.name = "pg-prod-node1".to_owned()) };
    let tagged = |tags: &str| {
        let mut guest = Guest::new("qemu", "pve2", "pg-prod-node1");
        guest.config.insert("tags".to_owned(), tags.into());
        guest
    };
    // The clone has its name from the start, and its tag with the first change after it.
    let cloned = |world: &mut World| drop(world.guests.insert(104, tagged("")));
    let words =
        ["node1: virtual machine 104 (pg-prod-node1) on pve2 has the same name", "`qm destroy 104 --purge`, on pve2"];
    refused(cloned, &wanted, "proxmox-machine-there", &words);
    let changed = |world: &mut World| drop(world.guests.insert(104, tagged(&format!("a;hactl-{cluster};z"))));
    let words = ["has this cluster's tag", "Run `hactl import pg node1=pve2/104` to take it over"];
    refused(changed, &wanted, "proxmox-machine-there", &words);
    let container = |world: &mut World| drop(world.guests.insert(104, Guest::new("lxc", "pve1", "pg-prod-node1")));
    refused(container, &wanted, "proxmox-machine-there", &["container 104", "`pct destroy 104 --purge`"]);

    // One that Terraform knows has its name by right, and so has a template.
    let mut world = World::default();
    changed(&mut world);
    let mut made = wanted.clone();
    made.machines.values_mut().for_each(|machine| machine.made = true);
    check(&Simulator::start(world), &made).unwrap();
    let mut world = World::default();
    world.guests.insert(104, tagged("").template());
    check(&Simulator::start(world), &wanted).unwrap();
}

#[test]
fn pool_is_either_made_or_expected_to_exist() {
    let own = edit(|machine| machine.pool = Some("db".to_owned()));
    refused(|_| {}, &own, "proxmox-pool", &["node1: pool db does not exist", "pveum pool add db"]);
    let made_here = ProxmoxRequest { pool: Some(Pool { id: "db".to_owned(), made: false }), ..own.clone() };
    check(&Simulator::start(World::default()), &made_here).unwrap();
    let simulator = Simulator::start(World::default());
    simulator.world().pools.insert("db".to_owned());
    check(&simulator, &own).unwrap();
    let error = check(&simulator, &made_here).unwrap_err();
    assert!(error.code == "proxmox-pool-taken" && error.to_string().contains("pool_id: db"), "{error}");
    let again = ProxmoxRequest { pool: Some(Pool { id: "db".to_owned(), made: true }), ..own };
    check(&simulator, &again).unwrap();
}

#[test]
fn machine_that_exists_needs_only_its_node() {
    let mut wanted = three();
    wanted.machines.values_mut().for_each(|machine| machine.made = true);
    wanted.pool = None;
    let simulator = Simulator::start(World { acl: BTreeMap::new(), guests: BTreeMap::new(), ..World::default() });
    check(&simulator, &wanted).unwrap();
    simulator.world().nodes.get_mut("pve3").unwrap().online = false;
    assert_eq!(check(&simulator, &wanted).unwrap_err().code, "proxmox-node-offline");
}

#[test]
fn problems_are_all_reported_at_once() {
    let mut wanted = three();
    wanted.machines.insert(key("node4"), GuestRequest { bridge: "vmbr7".to_owned(), ..machine("pve1", 9009) });
    wanted.machines.insert(key("node5"), GuestRequest { datastore: "ceph".to_owned(), ..machine("pve1", 9009) });
    wanted.machines.insert(key("node6"), machine("pve9", 9002));
    wanted.machines.insert(key("node7"), GuestRequest { pool: Some("db".to_owned()), ..machine("pve1", 9002) });
    let change = |world: &mut World| {
        world.nodes.get_mut("pve2").unwrap().online = false;
        world.acl.get_mut("/").unwrap().remove("VM.Clone");
    };
    let error = refused(change, &wanted, "proxmox-check", &["node4, node5: virtual machine 9009 does not exist"]);
    let said = error.causes.join("\n");
    for word in [
        "pve2 is offline",
        "pve9 does not exist",
        "vmbr7",
        "ceph",
        "pool db does not exist",
        "lacks VM.Clone on /vms/9002, /vms/9003, ",
    ] {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    assert!(error.hint.unwrap().lines().count() >= 6);
}

#[test]
fn privileges_missing_are_named_and_hidden_objects_are_not_reported() {
    let nothing = |world: &mut World| world.acl.clear();
    let error = refused(nothing, &three(), "proxmox-check", &["SDN.Use on /sdn/zones/localnetwork/vmbr0"]);
    let said = error.causes.join("\n");
    assert!(error.causes.iter().all(|cause| cause.contains("the token hactl@pve!terraform lacks ")), "{said}");
    for word in [
        "VM.Clone on /vms/9002, /vms/9003, /vms/9004",
        "Datastore.Audit on /storage/local-lvm",
        "/vms or /pool/example-",
    ] {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    // What a pool grants, its machines have.
    let by_pool = |world: &mut World| {
        let all = world.acl.remove("/").unwrap();
        let paths = ["/pool", "/storage", "/sdn", "/vms/9002", "/vms/9003", "/vms/9004"];
        world.acl.extend(paths.map(|path| (path.to_owned(), all.clone())));
    };
    let mut world = World::default();
    by_pool(&mut world);
    check(&Simulator::start(world), &three()).unwrap();
    let alone = ProxmoxRequest { pool: None, ..three() };
    refused(by_pool, &alone, "proxmox-privileges", &["VM.PowerMgmt on /vms\n", "node1, node2, node3:"]);
}

#[test]
fn network_of_an_sdn_is_granted_by_its_zone() {
    let wanted = edit(|machine| machine.bridge = "app".to_owned());
    let simulator = Simulator::start(World::default());
    simulator.world().nodes.get_mut("pve1").unwrap().bridges.insert("app".to_owned(), "vnet".to_owned());
    simulator.world().acl.get_mut("/").unwrap().remove("SDN.Use");
    check(&simulator, &wanted).unwrap();
    // A VLAN may be granted without the rest of its bridge.
    let tagged = edit(|machine| machine.vlan = Some(30));
    assert_eq!(check(&simulator, &tagged).unwrap_err().code, "proxmox-privileges");
    let granted = BTreeSet::from(["SDN.Use".to_owned()]);
    simulator.world().acl.insert("/sdn/zones/localnetwork/vmbr0/30".to_owned(), granted);
    check(&simulator, &tagged).unwrap();
}

#[test]
fn flags_of_a_disk_whose_size_is_set_first_are_those_of_the_template_or_the_machine() {
    let simulator = Simulator::start(World::default());
    let disk = |id: u32, flags: &str| {
        let mut world = simulator.world();
        let config = &mut world.guests.entry(id).or_insert_with(|| Guest::new("qemu", "pve1", "pg-prod-node3")).config;
        config.insert("scsi0".to_owned(), format!("local-lvm:vm-{id}-disk-0,{flags}size=10G").into());
    };
    disk(9002, "cache=writeback,discard=on,iothread=1,ssd=1,");
    disk(9003, "");
    disk(100, "discard=on,");
    let sized = |sized, machine| GuestRequest { sized, ..machine };
    let made = GuestRequest {
        made: true,
        vmid: Some(100),
        recorded_on: Some("pve1".to_owned()),
        recorded_name: Some("pg-prod-node3".to_owned()),
        name: "pg-prod-node3".to_owned(),
        ..machine("pve1", 9002)
    };
    let wanted = ProxmoxRequest {
        known: BTreeSet::from([100]),
        ..wanted([
            sized(SizedDisks::New, machine("pve1", 9002)),
            sized(SizedDisks::New, machine("pve2", 9003)),
            sized(SizedDisks::Kept, made),
            machine("pve1", 9002),
        ])
    };
    let found = check(&simulator, &wanted).unwrap().surveyed.disk_flags;
    let flags = |discard: Option<&str>, cache: Option<&str>, on| DiskFlags {
        discard: discard.map(str::to_owned),
        iothread: on,
        ssd: on,
        cache: cache.map(str::to_owned),
    };
    let expected = [
        ("node1", flags(Some("on"), Some("writeback"), Some(true)), false),
        ("node2", DiskFlags::default(), false),
        ("node3", flags(Some("on"), None, None), true),
    ];
    assert_eq!(found, expected.map(|(name, flags, kept)| (key(name), FoundFlags { flags, kept })).into());
}

#[test]
fn storage_that_hangs_delays_only_its_machines() {
    let simulator = Simulator::start(World::default());
    simulator.world().nodes.get_mut("pve2").unwrap().storage_delay = Duration::from_secs(60);
    let (found, took) = check_at(&simulator.endpoint(), &token(), Some(&simulator.ca_cert()), &three());
    let error = found.unwrap_err();
    assert_eq!(error.code, "proxmox-node-silent");
    assert!(error.to_string().contains("node2: hypervisor pve2 did not list its datastores"), "{error}");
    assert!(took < Duration::from_secs(12), "{took:?}");
}

/// The commands of docs/proxmox.md give the token what it needs and nothing else: with one privilege less something is
/// missing.
#[test]
fn privileges_in_the_docs_are_sufficient_and_all_needed() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proxmox.md")).unwrap();
    let commands: Vec<Vec<String>> = page.lines().filter(|line| line.starts_with("pveum ")).map(words).collect();
    let option = |command: &[String], name: &str| {
        let at = command.iter().position(|word| word == name).unwrap_or_else(|| panic!("{name}: {command:?}"));
        command[at + 1].clone()
    };
    let mut roles: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut acl: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let user = TOKEN.split('!').next().unwrap();
    for command in &commands {
        match [command[1].as_str(), command[2].as_str()] {
            ["role", "add"] => {
                let privileges = option(command, "--privs");
                roles.insert(command[3].clone(), privileges.split(' ').map(str::to_owned).collect());
            }
            ["acl", "modify"] => {
                assert_eq!(option(command, "--users"), user);
                let role = roles.get(&option(command, "--roles")).unwrap_or_else(|| panic!("{command:?}"));
                acl.entry(command[3].clone()).or_default().extend(role.iter().cloned());
            }
            ["user", "add"] => assert_eq!(command[3], user),
            ["user", "token"] => assert_eq!(format!("{}!{}", command[4], command[5]), TOKEN),
            other => panic!("{other:?}"),
        }
    }
    let bridge = |machine: GuestRequest| GuestRequest { bridge: "vmbr0".to_owned(), ..machine };
    let machines = [bridge(machine("pve1", 9002)), bridge(container("pve1", FILE))];
    let pool = Some(Pool { id: "pg-prod".to_owned(), made: false });
    let wanted = ProxmoxRequest { pool, ..wanted(machines) };
    let simulator = Simulator::start(World { version: "9.0.3".to_owned(), acl: acl.clone(), ..World::default() });
    check(&simulator, &wanted).unwrap();
    let mut count = 0;
    for (path, privileges) in &acl {
        for privilege in privileges {
            let mut less = acl.clone();
            less.get_mut(path).unwrap().remove(privilege);
            simulator.world().acl = less;
            let error = check(&simulator, &wanted).expect_err(&format!("{privilege} on {path} is not needed"));
            assert!(error.to_string().contains(privilege.as_str()), "{error}");
            count += 1;
        }
    }
    println!("{count} grants, each of them needed");
    assert!(count > 15);
}

/// A command's words; those in quotes are one.
fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (n, part) in line.split('"').enumerate() {
        if n % 2 == 1 {
            found.push(part.to_owned());
        } else {
            found.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    found
}

/// Every message about Proxmox has a line on the page.
#[test]
fn codes_of_proxmox_are_all_on_the_page() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(top.join("docs/proxmox.md")).unwrap();
    let codes = ERRORS.iter().map(|(code, _)| *code).filter(|code| code.starts_with("proxmox-"));
    let codes: BTreeSet<&str> = codes.collect();
    assert!(codes.len() > 20, "{codes:?}");
    let missing: Vec<_> = codes.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for row in page.lines().filter_map(|line| line.strip_prefix("| `proxmox-")) {
        let code = format!("proxmox-{}", row.split('`').next().unwrap());
        assert!(codes.contains(code.as_str()), "no such code: {code}");
    }
}

/// Memory and processors of a running virtual machine, changed as Terraform's provider changes them.
#[test]
fn change_that_is_not_live_waits_for_a_restart() {
    let simulator = Simulator::start(World::default());
    simulator.world().guests.extend([
        (101, Guest::new("qemu", "pve1", "pg-prod-node1")),
        (102, Guest::new("qemu", "pve2", "pg-prod-node2")),
        (103, Guest::new("lxc", "pve3", "pg-prod-node3")),
    ]);
    let ids = BTreeMap::from([(key("node1"), 101), (key("node2"), 102), (key("node3"), 103), (key("gone"), 999)]);
    let api = api(&simulator.endpoint(), &token(), Some(&simulator.ca_cert())).unwrap();
    let reboots = || run(proxmox::reboots(&api, &ids));
    assert!(reboots().unwrap().is_empty());

    send(&simulator, "PUT", "nodes/pve1/qemu/101/config", "memory=4096&cores=4");
    send(&simulator, "PUT", "nodes/pve3/lxc/103/config", "memory=4096");
    let waiting = reboots().unwrap();
    assert_eq!(waiting.keys().map(InstanceKey::as_str).collect::<Vec<_>>(), ["node1"]);
    let reboot = &waiting[&key("node1")];
    assert_eq!((reboot.id, reboot.hypervisor.as_str(), reboot.container), (101, "pve1", false));
    let changes: Vec<String> = reboot.changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["memory 2048 -> 4096", "cores 2 -> 4"]);

    // Moved to another node, as high availability does, it is found there.
    simulator.world().guests.get_mut(&101).unwrap().node = "pve2".to_owned();
    assert_eq!(reboots().unwrap()[&key("node1")].hypervisor, "pve2");
    send(&simulator, "POST", "nodes/pve2/qemu/101/status/reboot", "");
    assert!(reboots().unwrap().is_empty());
    simulator.world().delay = Duration::from_secs(60);
    assert_eq!(reboots().unwrap_err().code, "proxmox-silent");
}

/// A change by somebody else than hactl, which changes nothing itself.
fn send(simulator: &Simulator, method: &str, path: &str, form: &str) {
    let done = try_send(simulator, method, path, form);
    done.unwrap_or_else(|words| panic!("{method} {path}: {words}"));
}

/// The same where Proxmox may refuse it; then its words.
fn try_send(simulator: &Simulator, method: &str, path: &str, form: &str) -> Result<(), String> {
    let ca_cert = reqwest::Certificate::from_pem(&fs::read(simulator.ca_cert()).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca_cert]).build().unwrap();
    let request = client
        .request(method.parse().unwrap(), format!("{}api2/json/{path}", simulator.endpoint()))
        .header("authorization", format!("PVEAPIToken={}", token()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.to_owned());
    let response = run(request.send()).unwrap();
    let words = response.extensions().get::<hyper::ext::ReasonPhrase>().map(|words| words.as_bytes().to_vec());
    match response.status().is_success() {
        true => Ok(()),
        false => Err(String::from_utf8(words.unwrap_or_default()).unwrap()),
    }
}

/// Begins to move a guest to another hypervisor, as an administrator does it.
pub(crate) fn migrate(simulator: &Simulator, id: u32, target: &str, option: &str) -> Result<(), String> {
    let path = {
        let world = simulator.world();
        let guest = &world.guests[&id];
        format!("nodes/{}/{}/{id}/migrate", guest.node, guest.kind)
    };
    try_send(simulator, "POST", &path, &format!("target={target}{option}"))
}

/// The hypervisor of a guest, once no migration moves it any more.
pub(crate) fn settled(simulator: &Simulator, id: u32) -> String {
    let started = Instant::now();
    loop {
        simulator.world().settle();
        let guest = simulator.world().guests[&id].clone();
        if !guest.config.contains_key("lock") {
            return guest.node;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{guest:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
