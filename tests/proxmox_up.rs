//! The whole chain on `platform: proxmox`: real Terraform on the recorded schema of bpg/proxmox, behind which a container
//! of the local engine boots for each machine: a virtual one's lets in the user that cloud-init would make, by sudo alone,
//! a container's lets in root. Records are in a real BIND, and what hactl asks the API is asked of its simulator.
//!
//! It proves the chain and the stack's wiring, not that Proxmox accepts them. Needs the container engine, Terraform,
//! named and dig; `.ci/setup --test` installs them.
//!
//! Long because the steps of each test share one expensive cluster.

mod moved;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    common::{
        Bench,
        recorded::{Hypervisor, Interfaces, Machine, Recorded},
        steps::Steps,
    },
    dns::servers::{KEY, Kind, Server, ZONE, secret},
    proxmox_api::simulator::{Guest, SECRET, Simulator, TOKEN, World},
};
use hactl::{
    assets::Assets,
    context::{Context, Dirs},
    dns::SECRET_VARIABLE,
    error::Result,
    event::Events,
    model::{Choices, ClusterName, InstanceKey, Role},
    plan::{self, Plan},
    platform::{
        Machines,
        local::{Engine, NetworkRequest, NodeRequest, Progress},
    },
    spec,
    terraform::{self, Action, Consent, Provisioned, provider::Server as Provider},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use moved::Moves;

const NAME: &str = "t-pve";
const SUBNET: &str = "10.89.83.0/24";
const LXC_NAME: &str = "t-pvc";
const LXC_SUBNET: &str = "10.89.84.0/24";
/// What the DHCP server gives to the machine that has no address of its own.
const LEASED: Ipv4Addr = Ipv4Addr::new(10, 89, 83, 40);

/// A hypervisor whose machines are containers.
struct Containers {
    cluster: ClusterName,
    image: String,
    network: String,
    /// The API, which shows the machines as well.
    world: Arc<Mutex<World>>,
}

impl Containers {
    /// The instance that a machine is, by its host name.
    fn key(&self, machine: &Machine) -> InstanceKey {
        machine.name().strip_prefix(&format!("{}-prod-", self.cluster)).unwrap().parse().unwrap()
    }

    fn container(&self, machine: &Machine) -> String {
        format!("{}-{}", self.cluster, self.key(machine))
    }

    /// Makes the API show the machine, and stop and start its container.
    fn show(&self, machine: &Machine) {
        let kind = if machine.type_name == VM { "qemu" } else { "lxc" };
        let node = machine.attributes["node_name"].as_str().unwrap();
        let mut world = self.world.lock().unwrap();
        world.guests.insert(id(machine), Guest::new(kind, node, machine.name()));
        world.machines.containers.insert(id(machine), self.container(machine));
    }
}

fn id(machine: &Machine) -> u32 {
    machine.vm_id().try_into().unwrap()
}

async fn engine() -> Engine {
    Engine::connect(&std::env::vars().collect::<BTreeMap<_, _>>()).await.unwrap()
}

#[tonic::async_trait]
impl Hypervisor for Containers {
    async fn create(&self, machine: &Machine) -> std::result::Result<Interfaces, String> {
        let address = match machine.address() {
            Some(std::net::IpAddr::V4(address)) => address,
            _ => LEASED,
        };
        let request = NodeRequest {
            cluster: self.cluster.clone(),
            uuid: Uuid::nil(),
            key: self.key(machine),
            hostname: machine.name().parse().unwrap(),
            image: self.image.clone(),
            network: self.network.clone(),
            address,
            volume: None,
            disk_gb: None,
            memory_mib: machine.memory_mib().unwrap().try_into().unwrap(),
            cores: machine.cores().unwrap().try_into().unwrap(),
            authorized_keys: machine.keys(),
        };
        let made = engine().await.create_node(&request, &Progress::none(), &CancellationToken::new()).await;
        made.map_err(|failed| failed.error.to_string())?;
        if machine.user() != "root" {
            crate::common::give_to_sudo_user(&self.container(machine), machine.user());
        }
        self.show(machine);
        // In an order of its own, as agents tell them.
        let link_local = "fe80::1".parse().unwrap();
        Ok(vec![
            ("lo".to_owned(), vec![Ipv4Addr::LOCALHOST.into()]),
            ("eth0".to_owned(), vec![link_local, address.into()]),
        ])
    }

    async fn destroy(&self, machine: &Machine) -> std::result::Result<(), String> {
        self.world.lock().unwrap().guests.remove(&id(machine));
        engine().await.remove_node(&self.container(machine)).await.map_err(|error| error.to_string())
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// The node image of local clusters, which has what the roles would install.
fn image(name: &'static str) -> String {
    let bench = Bench::new(name, &format!("name: {name}\ninstances: {{node1: {{}}}}\n"));
    let summary = bench.act(&["image", "build", name]);
    summary["message"].as_str().unwrap().strip_suffix(" is ready").unwrap().to_owned()
}

/// The hypervisor of a cluster, with a network of its own: its name.
fn hypervisor(simulator: &Simulator, cluster: &str, subnet: &str, image_of: &'static str) -> (Recorded, String) {
    let world = simulator.shared();
    let image = image(image_of);
    let cluster: ClusterName = cluster.parse().unwrap();
    let network = block_on(async {
        let request =
            NetworkRequest { cluster: cluster.clone(), uuid: Uuid::nil(), subnet: Some(subnet.parse().unwrap()) };
        engine().await.create_network(&request).await.unwrap().name
    });
    (Recorded::start(Containers { cluster, image, network: network.clone(), world }), network)
}

/// What happened to a kind of resource in a run: for each resource, the places of its start and its end among the events.
fn spans(events: &[Value], action: &str, kind: &str) -> Vec<(usize, usize)> {
    let of = |state: &str| -> BTreeMap<String, usize> {
        let found = events.iter().enumerate().filter(|(_, event)| {
            event["type"] == "resource"
                && event["action"] == action
                && event["state"] == state
                && event["address"].as_str().is_some_and(|address| address.contains(kind))
        });
        found.map(|(at, event)| (event["address"].as_str().unwrap().to_owned(), at)).collect()
    };
    let ends = of("done");
    of("started").into_iter().map(|(address, start)| (start, ends[&address])).collect()
}

/// Each kind's resources are all done before the first of the next kind is begun.
fn in_order(events: &[Value], action: &str, kinds: &[(&str, usize)]) {
    let spans: Vec<_> = kinds.iter().map(|(kind, count)| (kind, count, spans(events, action, kind))).collect();
    for (kind, count, spans) in &spans {
        assert_eq!(spans.len(), **count, "{action} {kind}");
    }
    for pair in spans.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let (last, first) = (before.2.iter().map(|span| span.1).max(), after.2.iter().map(|span| span.0).min());
        assert!(last < first, "{action}: {} ends after {} begins", before.0, after.0);
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(180), "not seen: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The number of an instance's machine on Proxmox.
fn machine_id(bench: &Bench, key: &str) -> u32 {
    let fleet: Value = serde_json::from_slice(&std::fs::read(bench.kept("fleet.json")).unwrap()).unwrap();
    fleet["nodes"][key]["machine_id"].as_str().unwrap().parse().unwrap()
}

const POOL: &str = "proxmox_virtual_environment_pool";
const VM: &str = "proxmox_virtual_environment_vm";
const RECORD: &str = "hactl_dns_record_set";

#[test]
fn cluster_on_virtual_machines_of_proxmox_runs_from_up_to_down() {
    let (simulator, zone) = (Simulator::start(World::default()), Server::start(Kind::Bind));
    let file = |instances: &str| {
        format!(
            "name: {NAME}\ndisposable: true\nplatform:\n  proxmox: {{endpoint: '{}', ca_cert: {}, pool: {NAME}}}\n\
             dns: {{zone: {ZONE}, server: {}, port: {}, key_name: {KEY}}}\n\
             defaults: {{memory: 768, cores: 1, gateway: 10.89.83.1}}\ninstances:\n{instances}",
            simulator.endpoint(),
            simulator.ca_cert().display(),
            zone.address,
            zone.port,
        )
    };
    let three = "  node1: {address: 10.89.83.21/24}\n  node2: {address: 10.89.83.22/24, node: pve2, template: 9003}\n  \
                 node3: {reserved: true, node: pve3, template: 9004}\n";
    let web = "  web: {address: 10.89.83.31/24, roles: [], memory: 512}\n";
    let mut bench = Bench::new(NAME, &file(&format!("{three}{web}")));
    let (recorded, network) = hypervisor(&simulator, NAME, SUBNET, "t-pve-image");
    bench.env = vec![
        ("TF_REATTACH_PROVIDERS", recorded.reattach(None)),
        ("PROXMOX_VE_API_TOKEN", format!("{TOKEN}={SECRET}")),
        (SECRET_VARIABLE, secret()),
    ];

    let mut steps = Steps::new();
    bench.write_file(&file(&three.replace("9003", "9999")));
    steps.step("up, with a missing template, is refused before anything is made", || {
        let (code, error) = bench.fail(&["up", NAME]);
        assert!(code == 1 && error.to_string().contains("9999"), "{error:#}");
        assert_eq!(recorded.done(), Vec::<String>::new());
    });

    steps.must("up, without a cluster, makes pool, machines, records and a healthy cluster", || {
        bench.write_file(&file(&format!("{three}{web}")));
        let (code, events) = bench.follow(&["up", NAME, "--no-verify"]).end();
        assert_eq!(code, 0, "{:#?}", events.iter().rev().take(3).collect::<Vec<_>>());
        in_order(&events, "create", &[(POOL, 1), (VM, 4), (RECORD, 4)]);
        let status = bench.status();
        assert_eq!(
            (&status["healthy"], status["members"].as_array().unwrap().len()),
            (&Value::Bool(true), 3),
            "{status:#}"
        );
        assert_eq!(status["notices"], serde_json::json!([]), "{status:#}");
        for (name, address) in
            [("node1", "10.89.83.21"), ("node2", "10.89.83.22"), ("node3", "10.89.83.40"), ("web", "10.89.83.31")]
        {
            assert_eq!(zone.dig(&format!("t-pve-prod-{name}"), "A"), [format!("300 IN A {address}")]);
            assert_eq!(bench.address(name), address);
        }
        let dsn = status["dsn"].as_str().unwrap();
        assert_eq!(
            bench.sql(dsn, "CREATE TABLE proof (id int); INSERT INTO proof VALUES (1); SELECT id FROM proof"),
            "1"
        );
    });

    steps.step("token and secret, after up, are in no file", || {
        let kept = bench.kept("").display().to_string();
        for word in [SECRET.to_owned(), secret()] {
            let found = crate::common::output(
                // The sources have the UUID of the simulator's token as an example.
                std::process::Command::new("grep").args([
                    "-rlF",
                    "--exclude=*.tf",
                    "--exclude=*.hcl",
                    "--exclude=*.md",
                    &word,
                    &kept,
                ]),
            );
            assert_eq!(found, "", "{word} is in a file");
        }
    });

    steps.step("inventory, of virtual machines, has the user of cloud-init", || {
        let inventory = std::fs::read_dir(bench.kept("inventory")).unwrap().flatten();
        let text: String = inventory.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
        assert!(text.contains("ansible_user: debian") || text.contains("ansible_user=debian"), "{text}");
    });

    steps.step("status, with a change that is not live, names the machine that waits for a restart", || {
        let id = machine_id(&bench, "node2");
        let pending = |change: &dyn Fn(&mut Guest)| change(simulator.world().guests.get_mut(&id).unwrap());
        pending(&|guest| drop(guest.pending.insert("memory".to_owned(), "4096".into())));
        let status = bench.status();
        pending(&|guest| guest.pending.clear());
        let problem = &status["problems"][0];
        assert_eq!((&problem["code"], &problem["node"]), (&"reboot-pending".into(), &"node2".into()), "{status:#}");
        assert!(problem["message"].as_str().unwrap().contains("memory 2048 -> 4096"), "{status:#}");
        assert_eq!(bench.status()["healthy"], true);
    });

    let moved = steps.step("leader's machine, live on another hypervisor under clients, stays as it is", || {
        let moves = Moves { bench: &bench, simulator: &simulator, recorded: &recorded, name: NAME };
        let (moved, failed) = moves.move_the_leader("&online=1", |moved| {
            assert_eq!(bench.up()["changed"], false);
            let planned = bench.hactl(&["plan", NAME, "--detailed-exitcode"]);
            let plan: Value = serde_json::from_slice(&planned.stdout).unwrap();
            assert_eq!(planned.status.code(), Some(0), "{plan:#}");
            let place = plan["places"].as_array().unwrap().iter().find(|place| place["vmid"] == moved.id).unwrap();
            let (now, file) = (&place["hypervisor"], &place["file"]);
            assert_eq!((now.as_str(), file.as_str()), (Some(moved.to), Some(moved.from.as_str())), "{plan:#}");
        });
        assert_eq!(failed, 0, "a live migration interrupts no client");
        moved
    });

    steps.needs(&moved, "drills, with power by the API, stop machines where they are and lose no commit", |moved| {
        simulator.world().asked.clear();
        let drills = ["switchover", "node-loss", "cluster-power-off"];
        let chosen = drills.iter().flat_map(|drill| ["--drill", *drill]);
        bench.act(&["verify", NAME, "--yes", "--rounds", "1"].into_iter().chain(chosen).collect::<Vec<_>>());
        let report: Value = serde_json::from_slice(&bench.hactl(&["report", NAME]).stdout).unwrap();
        let done = report["drills"].as_array().unwrap();
        assert_eq!(done.len(), drills.len(), "{report:#}");
        for drill in done {
            let round = &drill["rounds"][0];
            println!(
                "   {}: {} ms of {}, {}",
                drill["name"], round["write_gap_ms"], round["bound_ms"], drill["acknowledged"]
            );
            assert!(drill["outcome"] == "passed" && drill["lost"] == 0, "{drill:#}");
        }
        let asked = simulator.world().asked.clone();
        for action in ["stop", "start"] {
            let end = format!("/status/{action}");
            let found = asked.iter().filter(|asked| asked.starts_with("POST ") && asked.ends_with(&end));
            // One by the loss of a node, three by that of all.
            assert_eq!(found.count(), 4, "{action}: {asked:#?}");
            let there = format!("POST /api2/json/nodes/{}/qemu/{}/status/{action}", moved.to, moved.id);
            assert!(asked.contains(&there), "no {there}: {asked:#?}");
        }
    });

    if std::env::var_os("HACTL_TEST_LONG").is_some() {
        steps.step("self-test, with power by the API, loses rows that nothing protects and no others", || {
            bench.act(&["verify", NAME, "--yes", "--self-test"]);
            let report: Value = serde_json::from_slice(&bench.hactl(&["report", NAME]).stdout).unwrap();
            let drills = report["drills"].as_array().unwrap();
            assert_eq!(drills.len(), 5, "{report:#}");
            for drill in drills {
                println!("   {} {}: {} lost", drill["name"], drill["variant"], drill["lost"]);
                let unprotected = drill["variant"] == "async" || drill["variant"] == "unguarded";
                assert!(drill["outcome"] == "passed" && (drill["lost"] != 0) == unprotected, "{drill:#}");
            }
        });
    }

    steps.step("verify, killed while a machine has no power, leaves the watcher to start it", || {
        let verify = bench.follow(&["verify", NAME, "--yes", "--rounds", "1", "--drill", "replica-loss"]);
        until("a machine without power", || crate::common::containers(NAME).len() == 3);
        let watchers = crate::common::processes_of("power-watch");
        assert!(!watchers.is_empty() && watchers.iter().all(|line| !line.contains(SECRET)), "{watchers:?}");
        verify.kill();
        until("power", || crate::common::containers(NAME).len() == 4);
        until("a healthy cluster", || bench.status()["healthy"] == true);
    });

    steps.step("up, with an unchanged cluster, changes nothing", || {
        assert_eq!(bench.up()["changed"], false);
        let planned = bench.hactl(&["plan", NAME, "--detailed-exitcode"]);
        assert_eq!(planned.status.code(), Some(0), "{}", String::from_utf8_lossy(&planned.stdout));
    });

    steps.step("up, with machines removed from the file, is refused until their names are allowed", || {
        bench.write_file(&file(three));
        let (code, error) = bench.fail(&["up", NAME]);
        assert_eq!((code, error["code"].as_str()), (1, Some("plan-refused")));
        assert!(error["causes"][0].as_str().unwrap().contains("destroy the machine web"), "{error:#}");
        assert!(error["hint"].as_str().unwrap().contains("--allow-destroy web"), "{error:#}");
        bench.write_file(&file(&three.lines().take(2).map(|line| format!("{line}\n")).collect::<String>()));
        let (_, error) = bench.fail(&["up", NAME, "--allow-destroy", "node3", "--allow-destroy", "web"]);
        assert!(
            error.to_string().contains("node3") && error.to_string().contains("member of the cluster"),
            "{error:#}"
        );
        let choices = std::fs::read_to_string(bench.kept("cluster.json")).unwrap();
        assert!(choices.contains("node3"), "a refused plan has changed what was chosen: {choices}");
        bench.write_file(&file(three));
        let summary = bench.act(&["up", NAME, "--no-verify", "--allow-destroy", "web"]);
        assert_eq!(summary["changed"], true);
        assert_eq!(zone.status("t-pve-prod-web"), "NXDOMAIN");
        assert_eq!(recorded.done().last().unwrap(), &format!("destroy {VM} t-pve-prod-web"));
        assert_eq!(bench.status()["healthy"], true);
    });

    bench.write_file(&file(three));
    steps.step("down, with `--yes`, removes records, machines and pool in this order", || {
        let (code, events) = bench.follow(&["down", NAME, "--yes"]).end();
        assert_eq!(code, 0, "{:#?}", events.last());
        in_order(&events, "delete", &[(RECORD, 3), (VM, 3), (POOL, 1)]);
        for name in ["node1", "node2", "node3"] {
            assert_eq!(zone.status(&format!("t-pve-prod-{name}")), "NXDOMAIN");
        }
        assert_eq!(crate::common::containers(NAME), Vec::<String>::new());
    });

    steps.finish();
    block_on(async { engine().await.remove_network(&network).await.unwrap() });
    assert_eq!(bench.leftovers(), "");
}

/// Members in containers of Proxmox, from `up` to `down`.
#[test]
fn cluster_on_containers_of_proxmox_runs_from_up_to_down() {
    let simulator = Simulator::start(World::default());
    let file = |moved: Option<(&str, &str)>| {
        let head = format!(
            "name: {LXC_NAME}\nplatform:\n  proxmox: {{kind: lxc, endpoint: '{}', ca_cert: {}, pool: {LXC_NAME}}}\n\
             defaults: {{memory: 768, cores: 1, disk_gb: 8, gateway: 10.89.84.1}}\ninstances:\n",
            simulator.endpoint(),
            simulator.ca_cert().display(),
        );
        (1..=3).fold(head, |text, n| {
            let (key, from) = (format!("node{n}"), format!("pve{n}"));
            let node = moved.filter(|(moved, _)| *moved == key).map_or(from.as_str(), |(_, to)| to);
            text + &format!("  {key}: {{address: 10.89.84.2{n}/24, node: {node}}}\n")
        })
    };
    let mut bench = Bench::new(LXC_NAME, &file(None));
    let (recorded, network) = hypervisor(&simulator, LXC_NAME, LXC_SUBNET, "t-pvc-image");
    bench.env =
        vec![("TF_REATTACH_PROVIDERS", recorded.reattach(None)), ("PROXMOX_VE_API_TOKEN", format!("{TOKEN}={SECRET}"))];
    let mut steps = Steps::new();
    steps.must("up, without a cluster, makes pool, containers and a healthy cluster", || {
        let (code, events) = bench.follow(&["up", LXC_NAME, "--no-verify"]).end();
        assert_eq!(code, 0, "{:#?}", events.iter().rev().take(3).collect::<Vec<_>>());
        in_order(&events, "create", &[(POOL, 1), (crate::common::recorded::CONTAINER, 3)]);
        let status = bench.status();
        assert_eq!(
            (&status["healthy"], &status["notices"]),
            (&Value::Bool(true), &serde_json::json!([])),
            "{status:#}"
        );
        assert_eq!(bench.up()["changed"], false);
    });
    steps.step("leader's container, restarted on another hypervisor under clients, is taken over from there", || {
        let moves = Moves { bench: &bench, simulator: &simulator, recorded: &recorded, name: LXC_NAME };
        moves.move_the_leader("&restart=1", |moved| {
            let (code, error) = bench.fail(&["up", LXC_NAME, "--no-verify"]);
            assert_eq!((code, &error["code"]), (1, &"proxmox-machine-moved".into()), "{error:#}");
            assert!(
                error["hint"].as_str().unwrap().contains(&format!("Set `node: {}` for {}", moved.to, moved.key)),
                "{error:#}"
            );
            bench.write_file(&file(Some((moved.key.as_str(), moved.to))));
            bench.up();
            assert_eq!(bench.up()["changed"], false);
        });
    });
    steps.step("down, with `--yes`, removes all of them", || {
        bench.act(&["down", LXC_NAME, "--yes"]);
        assert_eq!(crate::common::containers(LXC_NAME), Vec::<String>::new());
    });
    steps.finish();
    block_on(async { engine().await.remove_network(&network).await.unwrap() });
    assert_eq!(bench.leftovers(), "");
}

/// The provision stage alone, on a hypervisor without machines.
pub(crate) struct Stage {
    pub(crate) context: Context,
    _dir: tempfile::TempDir,
    pub(crate) recorded: Recorded,
    pub(crate) reattach: String,
    _provider: Provider,
    ran: BTreeMap<InstanceKey, BTreeSet<Role>>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut env: BTreeMap<String, String> = std::env::vars().collect();
        env.remove("TF_REATTACH_PROVIDERS");
        let (events, mut receiver) = Events::channel();
        tokio::spawn(async move { while receiver.recv().await.is_some() {} });
        let context = Context { dirs: Dirs::new(dir.path(), &env), env, events, stop: CancellationToken::new() };
        let provider = Provider::start(None, &context, &std::env::temp_dir()).unwrap();
        let recorded = Recorded::start(crate::common::recorded::Nowhere);
        let reattach = recorded.reattach(Some(&provider.reattach_env(None).unwrap()));
        Self { context, _dir: dir, recorded, reattach, _provider: provider, ran: BTreeMap::new() }
    }

    pub(crate) fn plan_of(&self, text: &str) -> Plan {
        let text = format!("name: pg\nplatform: {{proxmox: {{pool: p}}}}\ndefaults: {{roles: []}}\n{text}");
        plan::decide(&spec::load("pg.yaml", text.as_bytes(), "pg").unwrap(), &Choices::default()).unwrap()
    }

    pub(crate) fn consent(&self, destroy: &[&str]) -> Consent {
        let destroy = destroy.iter().map(|key| key.parse().unwrap()).collect();
        Consent { destroy, ran: self.ran.clone(), ..Consent::default() }
    }

    pub(crate) async fn up(&mut self, text: &str, destroy: &[&str]) -> Result<Provisioned> {
        let (plan, assets) = (self.plan_of(text), Assets::embedded());
        let uuid = Uuid::from_u128(7);
        let machines = Machines {
            plan: &plan,
            assets: &assets,
            image: None,
            uuid,
            authorized_keys: &[],
            record: "",
            surveyed: None,
        };
        let dir = self.context.dirs.cluster(&plan.cluster);
        let (consent, reattach) = (self.consent(destroy), Some(self.reattach.clone()));
        let done = terraform::apply(&self.context, &dir, &machines, &consent, reattach, async |_| Ok(())).await?;
        self.ran = plan.nodes.into_iter().map(|(key, node)| (key, node.roles)).collect();
        Ok(done)
    }
}

/// What a run did with machines: `create web02`.
fn done(provisioned: &Provisioned) -> Vec<String> {
    let machines = provisioned.changes.resources.iter().filter(|change| change.is_machine());
    let done = machines.filter(|change| change.action != Action::NoOp);
    done.map(|change| format!("{:?} {}", change.action, change.node.as_ref().unwrap()).to_lowercase()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_added_renamed_and_removed_are_lost_only_when_named() {
    let mut stage = Stage::new();
    let single = stage.up("target_ip: 192.0.2.60/24\n", &[]).await.unwrap();
    assert_eq!(done(&single), ["create default"]);
    let id = single.outputs.values().next().unwrap().id.clone();

    let mut steps = Steps::new();
    let two = "  web01: {address: 192.0.2.60/24, renamed_from: default}\n  web02: {address: 192.0.2.61/24}\n";
    steps
        .step_async("up, with the only machine renamed and another added, keeps the machine", async {
            let many = stage.up(&format!("instances:\n{two}"), &[]).await.unwrap();
            assert_eq!(done(&many), ["update web01", "create web02"]);
            assert_eq!(many.outputs[&"web01".parse::<InstanceKey>().unwrap()].id, id);
            assert!(stage.up(&format!("instances:\n{two}"), &[]).await.unwrap().changes.is_empty());
        })
        .await;

    steps
        .step_async("up, with a machine added and removed, touches that machine alone", async {
            let three = format!("instances:\n{two}  db01: {{memory: 4096}}\n");
            assert_eq!(done(&stage.up(&three, &[]).await.unwrap()), ["create db01"]);
            let error = stage.up(&format!("instances:\n{two}"), &[]).await.unwrap_err();
            assert!(error.hint.unwrap().contains("--allow-destroy db01"));
            assert_eq!(done(&stage.up(&format!("instances:\n{two}"), &["db01"]).await.unwrap()), ["delete db01"]);
        })
        .await;

    steps
        .step_async("up, without machines, needs every name and keeps the pool", async {
            let error = stage.up("instances: {}\n", &["web01"]).await.unwrap_err();
            assert!(error.causes.len() == 1 && error.causes[0].contains("web02"), "{error}");
            let none = stage.up("instances: {}\n", &["web01", "web02"]).await.unwrap();
            assert_eq!((done(&none).len(), none.outputs.len()), (2, 0));
            let destroyed: Vec<String> = stage.recorded.done().into_iter().filter(|line| line.contains(POOL)).collect();
            assert_eq!(destroyed, [format!("create {POOL} p")]);
        })
        .await;
    steps.finish();
}
