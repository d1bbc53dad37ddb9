//! This release reads the files that the release before wrote. No machine is needed. `fixture/README.md` says how the files
//! were made.
//!
//! The tests run commands and compare their answers with values that the release before wrote, or that are spelled out here.
//! They read no file whose form is this release's own. Needs Terraform, openssl and what `hactl fetch` downloads.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use super::engine::Engine;
use crate::common::http_state::{self, HttpState};

/// A cluster of four local nodes. `node1` came last: by its key it would have the first address, and vote in etcd.
const LOCAL: &str = "t-takeover";
/// One machine that existed before, behind a bastion.
const HOSTS: &str = "t-takeover-hosts";

/// Three machines with a cluster that hactl did not make.
const ADOPTED: &str = "t-takeover-adopted";

/// Where the clusters were when they were made.
const FORMER_DIR: &str = "/srv/clusters";

/// The directory in which the release before was run.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/takeover/fixture").join(kind(name))
}

/// The name of the fixture, and of Terraform's stack where there is one.
fn kind(name: &str) -> &str {
    match name {
        LOCAL => "local",
        HOSTS => "hosts",
        _ => "adopted",
    }
}

/// The run directory `.hactl/NAME` as the release before left it.
fn former(name: &str) -> PathBuf {
    fixture(name).join(".hactl").join(name)
}

/// A directory with a cluster of the release before.
struct Desk {
    name: &'static str,
    dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

impl Desk {
    /// The directory in which the cluster was made.
    fn former(name: &'static str) -> Self {
        let desk = Self::empty(name);
        copy(&fixture(name), desk.dir.path());
        // The record names the directory of the cluster file: from now on this one. An adopted cluster has no record.
        let record = desk.kept("cluster.json");
        if name != ADOPTED {
            let text = fs::read_to_string(&record).unwrap();
            assert!(text.contains(FORMER_DIR), "the record does not say where the cluster file is: {text}");
            fs::write(record, text.replace(FORMER_DIR, desk.dir.path().to_str().unwrap())).unwrap();
        }
        desk
    }

    /// A directory that has only what was committed. Its backend serves the state from the directory in which the cluster
    /// was made.
    fn elsewhere(name: &'static str, server: &HttpState) -> Self {
        let mut desk = Self::empty(name);
        let state = former(name).join("terraform/stacks").join(kind(name)).join("terraform.tfstate");
        server.keep(name, fs::read(state).unwrap());
        let [file, secrets] = [format!("{name}.yaml"), format!("{name}.secrets.age")];
        let text = fs::read_to_string(fixture(name).join(&file)).unwrap();
        let backend = json!({"http": {"address": server.address(name)}});
        fs::write(desk.path(&file), format!("{text}backend: {backend}\n")).unwrap();
        fs::copy(fixture(name).join(&secrets), desk.path(&secrets)).unwrap();
        desk.env = vec![
            ("HACTL_AGE_KEY_FILE", former(name).join("age.key").display().to_string()),
            ("TF_HTTP_USERNAME", http_state::USER.to_owned()),
            ("TF_HTTP_PASSWORD", http_state::PASSWORD.to_owned()),
        ];
        desk
    }

    fn empty(name: &'static str) -> Self {
        Self { name, dir: tempfile::Builder::new().prefix("hactl-test-").tempdir().unwrap(), env: Vec::new() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn kept(&self, below: &str) -> PathBuf {
        self.path(".hactl").join(self.name).join(below)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        let place = args.iter().position(|arg| *arg == "NAME").expect("the cluster's name is among the arguments");
        command.args(&args[..place]).arg(self.name).args(&args[place + 1..]).args(["--output", "json"]);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        for name in ["HACTL_DIR", "HACTL_AGE_KEY_FILE", "HACTL_AGE_KEY_COMMAND"] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What a command that succeeds prints.
    fn ask(&self, args: &[&str]) -> Value {
        answer(self.command(args).output().unwrap(), 0)
    }

    /// The inventory with its secrets, as Ansible is given it.
    fn inventory(&self) -> Value {
        self.ask(&["inventory", "NAME", "--list"])
    }

    /// Each host key that is pinned for `ssh`, with where it answers.
    fn known_hosts(&self) -> Vec<String> {
        lines(&self.kept("client/known_hosts"))
    }
}

/// The JSON of a command that ended with `code`; of an acting one, that of its last event.
fn answer(output: Output, code: i32) -> Value {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    let whole = serde_json::from_str(&stdout).ok();
    whole.unwrap_or_else(|| serde_json::from_str(stdout.lines().last().unwrap_or_default()).expect(&stdout))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => _ = fs::copy(entry.path(), target).unwrap(),
        }
    }
}

/// The lines of a file, sorted.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn object(path: &Path) -> serde_json::Map<String, Value> {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The variable that says what is configured, roles and all: a release with other roles has another.
const DIGEST: &str = "hactl_digest";

/// Asserts that every password, certificate and key of `inventory` is the one that the release before gave to Ansible.
fn has_the_former_secrets(name: &str, inventory: &Value) {
    let dir = former(name).join("inventory");
    let all = object(&dir.join("group_vars/all/secrets.yml"));
    assert!(all.len() > 8, "{:?}", all.keys());
    for (variable, value) in all.iter().filter(|(variable, _)| *variable != DIGEST) {
        assert_eq!(&inventory["all"]["vars"][variable], value, "{variable}");
    }
    let hosts = fs::read_dir(dir.join("host_vars")).unwrap();
    let hosts: Vec<String> = hosts.map(|host| host.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(hosts.len(), inventory["_meta"]["hostvars"].as_object().unwrap().len());
    for host in hosts {
        for (variable, value) in &object(&dir.join("host_vars").join(&host).join("secrets.yml")) {
            assert_eq!(&inventory["_meta"]["hostvars"][&host][variable], value, "{variable} of {host}");
        }
    }
}

/// Asserts what the inventory of the local cluster says of its machines.
fn has_the_former_machines(inventory: &Value) {
    let machines = [
        ("node1", "203.0.113.13", 25_303, Value::Null),
        ("node2", "203.0.113.10", 25_520, json!("203.0.113.10")),
        ("node3", "203.0.113.11", 24_977, json!("203.0.113.11")),
        ("node4", "203.0.113.12", 22_533, json!("203.0.113.12")),
    ];
    for (host, address, port, voter) in machines {
        let vars = &inventory["_meta"]["hostvars"][host];
        assert_eq!((&vars["patroni_name"], &vars["patroni_address"]), (&json!(host), &json!(address)));
        assert_eq!(vars["patroni_hostname"], format!("t-takeover-prod-{host}"));
        assert_eq!((&vars["ansible_host"], &vars["ansible_port"]), (&json!("127.0.0.1"), &json!(port)), "{host}");
        assert_eq!(vars["etcd_address"], voter, "{host}");
    }
    assert_eq!(inventory["etcd"]["hosts"], json!(["node2", "node3", "node4"]));
    assert_eq!(inventory["patroni"]["hosts"], json!(["node1", "node2", "node3", "node4"]));
    assert_eq!(
        inventory["all"]["vars"]["patroni_databases"],
        json!({"app": {"owner": "app"}, "sales": {"owner": "shop"}})
    );
}

#[test]
fn inventory_from_the_former_run_directory_is_unchanged() {
    let desk = Desk::former(LOCAL);
    let inventory = desk.inventory();
    has_the_former_machines(&inventory);
    has_the_former_secrets(LOCAL, &inventory);
    let former = object(&former(LOCAL).join("inventory/group_vars/all/secrets.yml"));
    // The nodes carry this digest: while it is the same, `up` runs no Ansible on them. This release changes the lease guard,
    // so the digest differs. The changelog says what the next `up` does to an existing cluster.
    assert_ne!(inventory["all"]["vars"][DIGEST], former[DIGEST]);
}

#[test]
fn certificates_of_the_former_secrets_file_fit_their_authorities_and_keys() {
    let inventory = Desk::former(LOCAL).inventory();
    let vars = &inventory["all"]["vars"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();
    let leaves = [
        ("etcd_peer", "etcd_peer_ca", 3),
        ("etcd_server", "etcd_control_ca", 3),
        ("patroni", "patroni_control_ca", 4),
        ("patroni_postgresql", "patroni_postgresql_ca", 4),
    ];
    for (leaf, authority, count) in leaves {
        let authority = text(&vars[authority]);
        let hosts = inventory["_meta"]["hostvars"].as_object().unwrap();
        let nodes = hosts.values().filter(|host| host.get(format!("{leaf}_certificate")).is_some());
        let checked = nodes.map(|node| {
            is_of(&text(&node[format!("{leaf}_certificate")]), &text(&node[format!("{leaf}_key")]), &authority);
        });
        assert_eq!(checked.count(), count, "{leaf}");
    }
    let client = former(LOCAL).join("client");
    let read = |name: &str| fs::read_to_string(client.join(name)).unwrap();
    is_of(&read("client.pem"), &read("client.key"), &text(&vars["etcd_control_ca"]));
    assert_eq!(read("ca-postgresql.pem"), text(&vars["patroni_postgresql_ca"]));
}

/// Asks openssl whether `authority` signed the certificate, and whether the key is the certificate's.
fn is_of(certificate: &str, key: &str, authority: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (authority, certificate, key) = (file("ca", authority), file("certificate", certificate), file("key", key));
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output().unwrap();
        assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    // The certificates expire, and the fixture stays.
    openssl(&["verify", "-no_check_time", "-CAfile", &authority, &certificate]);
    let of_certificate = openssl(&["x509", "-in", &certificate, "-noout", "-pubkey"]);
    assert_eq!(of_certificate, openssl(&["pkey", "-in", &key, "-pubout"]));
}

#[test]
fn secrets_file_of_the_former_release_is_complete_after_a_save() {
    let desk = Desk::former(LOCAL);
    let own = json!({"key": "age1dkyhlfr4tss8xhrcwjpa8ell3c6kyc2gflehznczdrvj8p2s2e2sa32m6g", "own": true});
    assert_eq!(desk.ask(&["secrets", "NAME", "recipients"])["recipients"], json!([own]));

    let colleague = age::x25519::Identity::generate();
    let public = colleague.to_public().to_string();
    let added = desk.ask(&["secrets", "NAME", "recipients", "add", &public]);
    assert_eq!((&added["type"], &added["changed"]), (&json!("summary"), &json!(true)), "{added:#}");
    has_the_former_secrets(LOCAL, &desk.inventory());

    let mut theirs = Desk::former(LOCAL);
    fs::copy(desk.path("t-takeover.secrets.age"), theirs.path("t-takeover.secrets.age")).unwrap();
    let key = theirs.path("colleague.key");
    fs::write(&key, age::secrecy::ExposeSecret::expose_secret(&colleague.to_string())).unwrap();
    fs::remove_file(theirs.kept("age.key")).unwrap();
    theirs.env.push(("HACTL_AGE_KEY_FILE", key.display().to_string()));
    has_the_former_secrets(LOCAL, &theirs.inventory());
}

#[test]
fn host_keys_in_the_former_secrets_file_stay_pinned() {
    let fingerprints = json!({
        "198.51.100.11:22": "ssh-ed25519 SHA256:v0/roihjCQ4XzVn7+YPlEhx5LlqWmQ/obMG4cbSam7k",
        "one": "ssh-ed25519 SHA256:jlu/i2p4vY58JM/eq6M0EsTLeEA+MGfTJEMx9Prd0bU",
    });
    let desk = Desk::former(HOSTS);
    assert_eq!(desk.ask(&["secrets", "NAME", "host-keys"])["host_keys"], fingerprints);
    let forgotten = desk.ask(&["secrets", "NAME", "host-keys", "forget", "one"]);
    assert_eq!(forgotten["changed"], true, "{forgotten:#}");
    let left = json!({"198.51.100.11:22": fingerprints["198.51.100.11:22"]});
    assert_eq!(desk.ask(&["secrets", "NAME", "host-keys"])["host_keys"], left);
}

#[test]
fn directory_without_records_finds_local_nodes_by_the_former_state() {
    let server = HttpState::start();
    let desk = Desk::elsewhere(LOCAL, &server);
    let inventory = desk.inventory();
    has_the_former_machines(&inventory);
    has_the_former_secrets(LOCAL, &inventory);
    assert_eq!(desk.known_hosts(), lines(&former(LOCAL).join("client/known_hosts")));
}

#[test]
fn directory_without_records_finds_the_users_machines_by_the_former_state() {
    let server = HttpState::start();
    let desk = Desk::elsewhere(HOSTS, &server);
    let inventory = desk.inventory();
    let one = &inventory["_meta"]["hostvars"]["one"];
    let expected = json!(["198.51.100.10", 22, "admin", true, "198.51.100.10"]);
    let names = ["ansible_host", "ansible_port", "ansible_user", "ansible_become", "etcd_address"];
    assert_eq!(json!(names.map(|name| &one[name])), expected);
    has_the_former_secrets(HOSTS, &inventory);
    // The machine's, and the bastion's.
    assert_eq!(desk.known_hosts(), lines(&former(HOSTS).join("client/known_hosts")));
    assert_eq!(desk.known_hosts().len(), 2);
    let reached = fs::read_to_string(desk.kept("client/ssh_config")).unwrap();
    assert!(reached.contains("ProxyCommand ssh ") && reached.contains("HostName 198.51.100.11"), "{reached}");
}

#[test]
fn plan_of_local_nodes_in_the_former_state_finds_no_changes() {
    let mut desk = Desk::former(LOCAL);
    let engine = Engine::start(&fixture(LOCAL).join("engine.json"));
    desk.env.push(("DOCKER_HOST", engine.host()));
    let planned = desk.ask(&["plan", "NAME"]);
    assert_eq!(changed(&planned), Vec::<&Value>::new());
    let nodes = planned["plan"]["nodes"].as_object().unwrap();
    let chosen = nodes.iter().map(|(key, node)| json!([key, node["slot"], node["roles"]]));
    let expected = [
        json!(["node1", 13, ["patroni"]]),
        json!(["node2", 10, ["etcd", "patroni"]]),
        json!(["node3", 11, ["etcd", "patroni"]]),
        json!(["node4", 12, ["etcd", "patroni"]]),
    ];
    assert_eq!(chosen.collect::<Vec<_>>(), expected);
}

#[test]
fn plan_of_the_users_machines_in_the_former_state_finds_no_changes() {
    let desk = Desk::former(HOSTS);
    // The key of the cluster file; the machines are out of reach.
    let mut keygen = Command::new("ssh-keygen");
    let keygen = keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(desk.path("id"));
    assert!(keygen.status().unwrap().success());
    let planned = desk.ask(&["plan", "NAME"]);
    assert_eq!(changed(&planned), Vec::<&Value>::new());
}

/// What `plan` would change, which it must not refuse.
fn changed(planned: &Value) -> Vec<&Value> {
    assert_eq!(planned["refused"], Value::Null, "{planned:#}");
    let resources = planned["changes"]["resources"].as_array().unwrap();
    assert!(!resources.is_empty(), "Terraform knows of nothing: {planned:#}");
    resources.iter().filter(|resource| resource["action"] != "no-op").collect()
}

#[test]
fn status_from_any_directory_asks_the_former_machines() {
    let desk = Desk::former(LOCAL);
    let anywhere = tempfile::tempdir().unwrap();
    let mut command = desk.command(&["status", "NAME"]);
    // The record says where the cluster file is, and the secrets file lies beside that.
    command.current_dir(anywhere.path()).env("HACTL_DIR", desk.path(".hactl"));
    let status = answer(command.output().unwrap(), 1);
    assert_eq!((&status["name"], &status["healthy"]), (&json!(LOCAL), &json!(false)));
    let dsn = status["dsn"].as_str().unwrap();
    let hosts = "host=203.0.113.13,203.0.113.10,203.0.113.11,203.0.113.12 port=5432 dbname=app user=app ";
    assert!(dsn.starts_with(hosts), "{dsn}");
    assert_eq!(silent(&status), ["node1", "node2", "node3", "node4"], "{status:#}");
}

#[test]
fn status_of_an_adopted_cluster_without_answer_shows_its_last_record() {
    let desk = Desk::former(ADOPTED);
    let status = answer(desk.command(&["status", "NAME"]).output().unwrap(), 1);
    // Durability and fencing come from the machines alone, and none of them answers now.
    assert_eq!((&status["name"], &status["durability"]), (&json!(ADOPTED), &json!("quorum-strict")));
    assert!(
        status["fencing"].as_str().unwrap().starts_with("lease guard, not proved on pg1, pg2, pg3: "),
        "{status:#}"
    );
    let dsn = status["dsn"].as_str().unwrap();
    assert!(dsn.starts_with("host=203.0.113.10,203.0.113.11,203.0.113.12 port=5432 "), "{dsn}");
    assert_eq!(silent(&status), ["pg1", "pg2", "pg3"], "{status:#}");
}

/// The machines that something is wrong with. What that is depends on who listens on their addresses and ports now.
fn silent(status: &Value) -> Vec<&Value> {
    let problems = status["problems"].as_array().unwrap().iter();
    let mut machines: Vec<&Value> = problems.map(|problem| &problem["node"]).filter(|node| !node.is_null()).collect();
    machines.dedup();
    machines
}

#[test]
fn report_of_former_drills_shows_their_results() {
    let report = Desk::former(LOCAL).ask(&["report", "NAME"]);
    let drills = report["drills"].as_array().unwrap();
    let found =
        drills.iter().map(|drill| json!([drill["name"], drill["outcome"], drill["acknowledged"], drill["lost"]]));
    let found: Vec<Value> = found.collect();
    assert_eq!(found, [json!(["switchover", "passed", 13_684, 0]), json!(["postgres-crash", "passed", 7_091, 0])]);
}
