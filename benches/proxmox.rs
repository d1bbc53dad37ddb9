//! 100 machines with records on Proxmox, by hactl and by Terraform alone: `cargo bench --bench proxmox`.
//!
//! Real Terraform on the recorded schema of bpg/proxmox, whose machines are there at once, and BIND on loopback: what is
//! left is Terraform's own time, and hactl's beside it. Both work on the same stack with the same values, in turn, three times or as often as the first number among
//! the arguments says. Prints one JSON line. With `HACTL_BENCH_BEFORE=PROGRAM`, another hactl such as that of the release before, it takes its
//! turn as well: the times then tell whether this one has become slower. Needs Terraform and `named`: `.ci/setup --test`.

#![allow(clippy::print_stdout, reason = "the result of a benchmark")]

#[allow(dead_code, reason = "a benchmark uses a part of it")]
#[path = "../tests/proxmox_api/machines.rs"]
mod machines;
#[allow(dead_code, reason = "a benchmark uses a part of it")]
#[path = "../tests/common/recorded.rs"]
mod recorded;
#[allow(dead_code, reason = "a benchmark uses a part of it")]
#[path = "../tests/dns/servers.rs"]
mod servers;
#[allow(dead_code, reason = "a benchmark uses a part of it")]
#[path = "../tests/proxmox_api/simulator.rs"]
mod simulator;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Instant,
};

use hactl::{assets::Assets, dns::SECRET_VARIABLE, terraform::provider};
use recorded::{Hypervisor, Interfaces, Machine, Nowhere, Recorded};
use serde_json::{Value, json};
use servers::{KEY, Kind, Server, ZONE};
use simulator::{Guest, SECRET, Simulator, TOKEN, World};

const MACHINES: usize = 100;
/// As hactl asks Terraform for as many machines.
const PARALLELISM: &str = "-parallelism=100";
/// Its values are hactl's, as the last `up` left them.
const VALUES: &str = ".hactl/pg/terraform/stacks/proxmox-vm/terraform.tfvars.json";
const RECORD: &str = "hactl_dns_record_set";
/// Whose time it is.
const TERRAFORM: usize = 0;
const HACTL: usize = 1;
const BEFORE: usize = 2;

/// Machines that are there at once, and that the API shows: hactl would otherwise look for each of them.
struct Shown(Arc<Mutex<World>>);

impl Shown {
    fn guests(&self, change: impl FnOnce(&mut BTreeMap<u32, Guest>)) {
        change(&mut self.0.lock().expect("no test panics with it").guests);
    }
}

#[tonic::async_trait]
impl Hypervisor for Shown {
    async fn create(&self, machine: &Machine) -> Result<Interfaces, String> {
        let node = machine.attributes["node_name"].as_str().expect("the schema requires it");
        let guest = Guest::new("qemu", node, machine.name());
        self.guests(|guests| drop(guests.insert(number(machine), guest)));
        Nowhere.create(machine).await
    }

    async fn destroy(&self, machine: &Machine) -> Result<(), String> {
        self.guests(|guests| drop(guests.remove(&number(machine))));
        Ok(())
    }
}

fn number(machine: &Machine) -> u32 {
    machine.vm_id().try_into().expect("it is small")
}

struct Place {
    dir: tempfile::TempDir,
    recorded: Recorded,
}

impl Place {
    /// Runs a program; the seconds that it took, and between a first record that was begun and the last that was done.
    fn run(&self, program: &str, dir: &Path, args: &[&str]) -> (f64, Option<f64>) {
        let mut command = Command::new(program);
        command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
            .env("TF_REATTACH_PROVIDERS", self.recorded.reattach(None))
            .env("XDG_DATA_HOME", self.dir.path().join("data"));
        command.env("PROXMOX_VE_API_TOKEN", format!("{TOKEN}={SECRET}")).env(SECRET_VARIABLE, servers::secret());
        command.env_remove("TF_CLI_CONFIG_FILE").env_remove("HACTL_DIR");
        let started = Instant::now();
        let mut child = command.spawn().expect("it is installed: .ci/setup --test");
        let (mut first, mut last, mut said) = (None, None, String::new());
        for line in BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok) {
            if line.contains(RECORD) && line.contains("\"resource\"") {
                first.get_or_insert_with(Instant::now);
                last = Some(Instant::now());
            }
            said = line;
        }
        let done = child.wait_with_output().expect("it was started");
        let took = started.elapsed().as_secs_f64();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{program} {args:?}: {said}\n{errors}");
        (took, first.zip(last).map(|(first, last)| (last - first).as_secs_f64()))
    }
}

fn main() {
    let (server, simulator) = (Server::start(Kind::Bind), Simulator::start(World::default()));
    let recorded = Recorded::start(Shown(simulator.shared()));
    let place = Place { dir: tempfile::tempdir().expect("room for files"), recorded };
    let (hactl, top) = (env!("CARGO_BIN_EXE_hactl"), place.dir.path());
    let instances: String = (0..MACHINES).map(|number| format!("  m{number:03}: {{}}\n")).collect();
    let file = format!(
        "name: pg\nmax_instances: {MACHINES}\n\
         platform:\n  proxmox: {{endpoint: '{}', ca_cert: {}, pool: p}}\n\
         dns: {{zone: {ZONE}, server: {}, port: {}, key_name: {KEY}}}\n\
         defaults: {{roles: []}}\ninstances:\n{instances}",
        simulator.endpoint(),
        simulator.ca_cert().display(),
        server.address,
        server.port,
    );
    fs::write(top.join("pg.yaml"), file).expect("it can be written");
    provider::install(&top.join("data"), hactl.as_ref()).expect("it can be written");

    let before = std::env::var("HACTL_BENCH_BEFORE").ok();
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(3);
    let mut times: BTreeMap<&str, [Vec<f64>; 3]> = BTreeMap::new();
    let mut add = |what: &'static str, by: usize, seconds: f64| times.entry(what).or_default()[by].push(seconds);
    let mut records = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..rounds {
        let mut values = Vec::new();
        let programs = [(HACTL, Some(hactl)), (BEFORE, before.as_deref())];
        for (by, program) in programs.into_iter().filter_map(|(by, program)| Some((by, program?))) {
            let own = |args: &[&str]| place.run(program, top, &[args, &["--output", "json"]].concat());
            add("plan", by, own(&["plan", "pg"]).0);
            let (took, span) = own(&["up", "pg"]);
            add("make", by, took);
            records[by].extend(span.map(|span| MACHINES as f64 / span));
            if by == HACTL {
                values = fs::read(top.join(VALUES)).expect("up has written it");
            }
            add("nothing to change", by, own(&["up", "pg"]).0);
            add("destroy", by, own(&["down", "pg", "--yes"]).0);
            // The next program finds a directory in which no hactl has run.
            for left in [top.join(".hactl"), top.join("pg.secrets.age")].iter().filter(|left| left.exists()) {
                if left.is_dir() { fs::remove_dir_all(left) } else { fs::remove_file(left) }
                    .expect("it can be removed");
            }
        }

        let tree = top.join(format!("terraform-{round}"));
        Assets::embedded().write("terraform", &tree).expect("it can be written");
        let stack = tree.join("stacks/proxmox-vm");
        fs::write(stack.join("terraform.tfvars.json"), values).expect("it can be written");
        let terraform = |args: &[&str]| place.run("terraform", &stack, args).0;
        let plan = || terraform(&["plan", "-input=false", "-out=p", PARALLELISM]);
        // What hactl has done for its first plan, and does again when `down` has removed the directory.
        let init = terraform(&["init", "-input=false"]) + terraform(&["validate"]);
        let planned = plan() + terraform(&["show", "-json", "p"]);
        add("plan", TERRAFORM, init + planned);
        // hactl has init behind it in `up`, too, when `plan` went before.
        add(
            "make",
            TERRAFORM,
            planned + terraform(&["apply", "-input=false", PARALLELISM, "p"]) + terraform(&["output", "-json"]),
        );
        add("nothing to change", TERRAFORM, plan());
        add("destroy", TERRAFORM, terraform(&["destroy", "-auto-approve", "-input=false", PARALLELISM]));
    }
    let rows: Vec<Value> = ["plan", "make", "nothing to change", "destroy"]
        .iter()
        .map(|what| {
            let mut row = json!({"what": what, "terraform": times[what][TERRAFORM], "hactl": times[what][HACTL]});
            if before.is_some() {
                row["before"] = json!(times[what][BEFORE]);
            }
            row
        })
        .collect();
    println!(
        "{}",
        json!({"benchmark": "proxmox", "machines": MACHINES, "rows": rows, "records per second": records[HACTL],
            "records per second before": records[BEFORE]})
    );
}
