//! Machines that hactl does not make: a cluster on machines that exist, and one on those of a Terraform root module of the
//! user's own. The machines are real ones of the local engine, which the clusters know nothing of.

use std::{fs, process::Command};

use crate::{
    common::{Bench, docker, give_to_sudo_user, postgres::Postgres, steps::Steps},
    dns::servers::{KEY, Kind, Server, ZONE, secret},
};
use hactl::dns::SECRET_VARIABLE;
use serde_json::{Value, json};

const MACHINES: &str = "t-rack";
const HOSTS: &str = "t-hosts";
const MODULE: &str = "t-module";
const RACK: [&str; 3] = ["one", "two", "three"];

#[test]
fn cluster_on_machines_that_exist_runs_from_up_to_down() {
    let rack = Bench::new(
        MACHINES,
        "instances: {one: {}, two: {}, three: {}}\ndefaults: {roles: [], memory: 768, cores: 1}\n",
    );
    rack.act(&["provision", MACHINES]);
    let [one, two, three] = RACK.map(|machine| rack.address(machine));
    let zone = Server::start(Kind::Bind);
    let file = |name: &str| {
        format!(
            "name: {name}\nbackend: pg\nplatform:\n  hosts:\n    ssh: {{user: admin, key: id, bastion: \"admin@{three}\"}}\n\
             {POWER}\
             dns: {{zone: {ZONE}, server: {}, port: {}, key_name: {KEY}}}\ndefaults: {{memory: 768, cores: 1}}\n\
             postgres: {{own_network: true}}\ninstances:\n  one: {{address: {one}, roles: [patroni, etcd]}}\n  two: {{address: {two}, roles: [patroni, etcd]}}\n  \
             three: {{address: {three}, roles: [etcd]}}\n",
            zone.address, zone.port,
        )
    };
    let mut bench = Bench::new(HOSTS, &file(HOSTS));
    let state = Postgres::start();
    bench.env = vec![(SECRET_VARIABLE, secret()), ("PG_CONN_STR", state.secret_dsn())];
    let keygen =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(bench.path("id")).status();
    assert!(keygen.unwrap().success());
    let public = fs::read_to_string(bench.path("id.pub")).unwrap();
    for machine in RACK {
        give_to_sudo_user(&format!("{MACHINES}-{machine}"), "admin");
        on(machine, &format!("echo '{}' >~admin/.ssh/authorized_keys", public.trim()));
    }
    for machine in ["one", "two"] {
        on(machine, &BASTION.replace("@WAY@", &three));
    }

    let mut steps = Steps::new();
    on("two", "pg_createcluster --start 15 main");
    steps.step("up, with another cluster on a machine, is refused and changes nothing", || {
        let (code, error) = bench.fail(&["up", HOSTS]);
        assert_eq!((code, error["code"].as_str()), (1, Some("machine-taken")), "{error:#}");
        let causes = error["causes"].to_string();
        for found in ["two: found data of PostgreSQL 15 in /var/lib/postgresql/15/main", "runs in", "127.0.0.1:5432"] {
            assert!(causes.contains(found) && !causes.contains("one: "), "{found}: {error:#}");
        }
        assert_eq!(on("one", "ls /etc/hactl 2>/dev/null"), "done\n");
        assert_eq!(zone.status("t-hosts-prod-one"), "NXDOMAIN");
    });

    on("two", "pg_dropcluster --stop 15 main");

    let dsn = steps.must("up, on machines that exist, makes a healthy cluster with names and marks", || {
        bench.up();
        let status = bench.status();
        assert_eq!((&status["healthy"], status["members"].as_array().unwrap().len()), (&json!(true), 2), "{status:#}");
        assert_eq!(zone.dig("t-hosts-prod-one", "A"), [format!("300 IN A {one}")]);
        assert!(on("one", "cat /etc/hactl/cluster.json").contains("\"cluster\":\"t-hosts\""));
        let dsn = status["dsn"].as_str().unwrap().to_owned();
        bench.sql(&dsn, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (42)");
        dsn
    });

    steps.step("up, with an unchanged cluster, changes nothing, and ssh and inventory know the machines", || {
        assert_eq!(bench.up()["changed"], false);
        let planned = bench.hactl(&["plan", HOSTS, "--detailed-exitcode"]);
        assert_eq!(planned.status.code(), Some(0), "{}", String::from_utf8_lossy(&planned.stdout));
        let said = Command::new(env!("CARGO_BIN_EXE_hactl"))
            .args(["ssh", HOSTS, "two", "--", "id", "-un"])
            .current_dir(bench.path(""))
            .env("PG_CONN_STR", state.secret_dsn())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "admin\n", "{}", String::from_utf8_lossy(&said.stderr));
        let inventory = bench.hactl(&["inventory", HOSTS]);
        assert!(String::from_utf8_lossy(&inventory.stdout).contains(&two));
    });

    steps.step("drills, from a fresh directory, cut power by the user's commands and lose no commit", || {
        let mut elsewhere = Bench::beside(HOSTS, &file(HOSTS));
        for name in ["id", "t-hosts.secrets.age"] {
            fs::copy(bench.path(name), elsewhere.path(name)).unwrap();
        }
        elsewhere.env = bench.env.clone();
        elsewhere.env.push(("HACTL_AGE_KEY_FILE", bench.kept("age.key").display().to_string()));
        elsewhere.act(&["verify", HOSTS, "--yes", "--drill", "switchover", "--drill", "node-loss"]);
        let report: Value = serde_json::from_slice(&elsewhere.hactl(&["report", HOSTS]).stdout).unwrap();
        let outcomes: Vec<_> =
            report["drills"].as_array().unwrap().iter().map(|drill| (&drill["outcome"], &drill["lost"])).collect();
        assert_eq!(outcomes, [(&json!("passed"), &json!(0)), (&json!("passed"), &json!(0))], "{report:#}");
    });

    steps.step("up, with a member removed from the file, is refused", || {
        bench.write_file(
            &file(HOSTS)
                .lines()
                .filter(|line| !line.contains("  two:"))
                .map(|line| format!("{line}\n"))
                .collect::<String>(),
        );
        let (_, error) = bench.fail(&["up", HOSTS]);
        assert_eq!(error["code"], "plan-refused", "{error:#}");
        assert!(error["causes"][0].as_str().unwrap().contains("the machine two"), "{error:#}");
    });

    bench.write_file(&file(HOSTS));
    steps.step("up, of another cluster on the same machines, is refused", || {
        fs::write(bench.path("t-other.yaml"), file("t-other").replace("dns:", "# ")).unwrap();
        let (_, error) = bench.fail(&["up", "t-other"]);
        assert_eq!(error["code"], "machine-taken", "{error:#}");
        assert!(error["causes"].to_string().contains("the ownership marker of the hactl cluster t-hosts"), "{error:#}");
    });

    steps.step("down, with `--yes`, stops the services and keeps the data", || {
        let summary = bench.act(&["down", HOSTS, "--yes"]);
        assert!(summary["message"].as_str().unwrap().contains("its data stays"), "{summary:#}");
        for machine in ["one", "two"] {
            let left = on(machine, LEFT);
            assert!(left.starts_with("inactive inactive inactive\ndisabled\n"), "{machine}: {left}");
            assert!(
                left.contains("/var/lib/postgresql/15/t-hosts/PG_VERSION") && left.contains("cluster.json"),
                "{left}"
            );
        }
        assert_eq!(zone.status("t-hosts-prod-one"), "NXDOMAIN");
    });

    steps.step("up, after down, restores the cluster with its data", || {
        bench.up();
        assert_eq!(bench.sql(&dsn, "SELECT id FROM kept"), "42");
    });

    steps.step("up and down, with sudo that asks for a password, fail and stop nothing", || {
        on("two", "echo 'admin ALL=(ALL) ALL' >/etc/sudoers.d/admin");
        let (_, error) = bench.fail(&["up", HOSTS]);
        assert_eq!((&error["code"], &error["object"]), (&json!("sudo"), &json!("two")), "{error:#}");
        let (_, error) = bench.fail(&["down", HOSTS, "--yes"]);
        assert_eq!(error["code"], "machine-silent", "{error:#}");
        assert!(error["causes"][0].as_str().unwrap().contains("two: `sudo -n` as user admin"), "{error:#}");
        assert!(error["hint"].as_str().unwrap().contains("--leave two`"), "{error:#}");
        assert!(on("one", LEFT).starts_with("active active active\n"));
    });

    on("two", "echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin");

    steps.step("down, with `--leave`, keeps the machine, and the next up is refused", || {
        let summary = bench.act(&["down", HOSTS, "--yes", "--wipe-data", "--leave", "three"]);
        assert!(summary["message"].as_str().unwrap().contains("Left as they are: three"), "{summary:#}");
        assert_eq!(on("one", LEFT), GONE);
        assert!(on("three", LEFT).starts_with("inactive inactive active\n/var/lib/etcd/member\n"));
        let (_, error) = bench.fail(&["up", HOSTS]);
        assert_eq!(error["code"], "machine-left", "{error:#}");
        assert!(
            error["causes"].to_string().starts_with("[\"three: found data of etcd in /var/lib/etcd of this"),
            "{error:#}"
        );
        assert_eq!(on("one", LEFT), GONE);
    });

    steps.step("down, with `--wipe-data`, leaves nothing on the machines", || {
        bench.act(&["down", HOSTS, "--yes", "--wipe-data"]);
        for machine in RACK {
            assert_eq!(on(machine, LEFT), GONE, "{machine}");
        }
    });

    steps.finish();
    rack.act(&["down", MACHINES, "--yes"]);
}

/// What powers a machine of the rack off and on, as ipmitool would.
const POWER: &str = "    power:
      off: [docker, kill, 't-rack-{{ instance }}']
      on: [docker, start, 't-rack-{{ instance }}']
      state: [docker, inspect, --format, '{{.State.Status}}', 't-rack-{{ instance }}']
";

/// SSH of a machine by way of another one alone.
const BASTION: &str = "nft -f - <<'END'
table inet way {
  chain input {
    type filter hook input priority 0; policy accept;
    tcp dport 22 ip saddr != @WAY@ reject
  }
}
END";

/// What is left of a cluster on a machine.
const LEFT: &str = "echo $(systemctl is-active patroni hactl-lease-guard etcd)
[ ! -e /etc/systemd/system/patroni.service ] || systemctl is-enabled patroni
for path in /var/lib/postgresql/15/*/PG_VERSION /var/lib/etcd/member /etc/patroni /etc/etcd /etc/hactl/*; do
  [ ! -e $path ] || echo $path
done";

/// The same where nothing is.
const GONE: &str = "inactive inactive inactive\ndone\n";

/// Runs a script on a machine of the rack.
fn on(node: &str, script: &str) -> String {
    let marked = format!("{script}\necho done");
    let said = docker(&["exec", &format!("{MACHINES}-{node}"), "bash", "-c", &marked]);
    assert!(said.ends_with("done\n"), "{node}: {said}");
    said
}

/// A root module as a user writes one; its machines are containers, by the module that hactl ejects.
const MAIN: &str = r#"
terraform {
  required_providers {
    hactl = { source = "hactl.local/hactl/hactl" }
  }
  backend "pg" {}
}

variable "cluster" { type = string }
variable "cluster_uuid" { type = string }
variable "authorized_keys" { type = list(string) }
variable "image" { type = string }
variable "record" { type = string }
variable "instances" {
  type = map(object({ hostname = string, memory = number, cores = number, roles = list(string) }))
}

module "nodes" {
  source = "@ASSETS@/terraform/modules/local-node"

  cluster         = var.cluster
  cluster_uuid    = var.cluster_uuid
  image           = var.image
  authorized_keys = var.authorized_keys
  nodes = {
    for key, instance in var.instances :
    key => { hostname = instance.hostname, memory = instance.memory, cores = instance.cores, slot = 10 }
  }
}

resource "terraform_data" "note" {
  input = var.cluster
}
"#;

#[test]
fn cluster_on_machines_of_an_own_module_runs_from_up_to_down() {
    let file = |workspace: &str, destroy: bool| {
        format!(
            "platform:\n  terraform:\n    dir: infra\n    var_files: [infra/prod.tfvars.json]\n    \
             pass: [authorized_keys, cluster, cluster_uuid, instances, record]\n    workspace: {workspace}\n    \
             destroy: {destroy}\ndefaults: {{memory: 768, cores: 1}}\ninstances: {{db: {{}}}}\n"
        )
    };
    let mut bench = Bench::new(MODULE, &file("blue", false));
    let state = Postgres::start();
    bench.env = vec![("PG_CONN_STR", state.secret_dsn())];
    let workspaces = || {
        state.sql("SELECT name FROM terraform_remote_state.states WHERE json_array_length(data::json->'resources') > 0")
    };
    let assets = bench.path("assets");
    let ejected = bench.hactl(&["eject", assets.to_str().unwrap()]);
    assert!(ejected.status.success(), "{}", String::from_utf8_lossy(&ejected.stderr));

    let asked = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.args(words).current_dir(bench.path("")).env("PG_CONN_STR", state.secret_dsn());
        command.output()
    };
    let mut steps = Steps::new();

    steps.step("up, without the module's directory, is refused", || {
        let (code, error) = bench.fail(&["up", MODULE]);
        assert_eq!((code, error["code"].as_str()), (2, Some("terraform-module")), "{error:#}");
    });

    let images = Bench::new("t-module-image", "instances: {node1: {}}\n");
    let image = images.act(&["image", "build", "t-module-image"])["message"].as_str().unwrap().to_owned();
    let values = json!({"image": image.strip_suffix(" is ready").unwrap()});
    fs::create_dir(bench.path("infra")).unwrap();
    fs::write(bench.path("infra/prod.tfvars.json"), values.to_string()).unwrap();
    fs::write(bench.path("infra/main.tf"), MAIN.replace("@ASSETS@", assets.to_str().unwrap())).unwrap();
    let output = |value: &str| {
        let record = "output \"record\" {\n  value = var.record\n}\n";
        fs::write(bench.path("infra/outputs.tf"), format!("output \"vms\" {{\n  value = {value}\n}}\n{record}"))
            .unwrap();
    };

    steps.step("up, with outputs that do not fit the contract, is refused before anything is made", || {
        let (code, error) = bench.fail(&["up", MODULE]);
        assert_eq!((code, error["code"].as_str()), (1, Some("terraform-contract")), "{error:#}");
        let causes = error["causes"].to_string();
        assert!(causes.contains("no output `vms`") && causes.contains("no output `record`"), "{error:#}");
        assert!(error["hint"].as_str().unwrap().contains("db = { id = "), "{error:#}");
        output("{ web = { id = 1, name = \"web\", ipv4 = null } }");
        let (_, error) = bench.fail(&["up", MODULE]);
        assert_eq!(
            error["causes"],
            json!([
                "`vms[\"web\"]` is not an instance of the cluster file",
                "instance db of the cluster file is not in `vms`"
            ])
        );
        assert_eq!(bench.leftovers(), "");
        assert_eq!(bench.act(&["down", MODULE, "--yes"])["changed"], false);
    });

    steps.must("up, with a module that fits, makes a healthy cluster on its machine", || {
        output("module.nodes.vms");
        bench.up();
        let status = bench.status();
        assert_eq!((&status["healthy"], &status["leader"]), (&json!(true), &json!("db")), "{status:#}");
        assert_eq!(workspaces(), "blue", "the state is where the module means it");
        assert!(!bench.kept("terraform/plan.tfplan").exists(), "a plan that was applied is kept");
    });

    steps.step("up, with an unchanged cluster, changes nothing", || {
        assert_eq!(bench.up()["changed"], false);
    });

    let fresh = steps.step("status and ssh, from a fresh directory, reach the machine", || {
        let mut elsewhere = Bench::beside(MODULE, &file("blue", false));
        for name in ["t-module.secrets.age", "infra/main.tf", "infra/outputs.tf", "infra/prod.tfvars.json"] {
            fs::create_dir_all(elsewhere.path("infra")).unwrap();
            fs::copy(bench.path(name), elsewhere.path(name)).unwrap();
        }
        elsewhere.env = bench.env.clone();
        elsewhere.env.push(("HACTL_AGE_KEY_FILE", bench.kept("age.key").display().to_string()));
        let status = elsewhere.status();
        assert_eq!((&status["healthy"], &status["leader"]), (&json!(true), &json!("db")), "{status:#}");
        assert_eq!(elsewhere.hactl(&["ssh", MODULE, "db", "--", "true"]).status.code(), Some(0));
        elsewhere
    });

    steps.step("up, with a resource to destroy, is refused until its address is allowed", || {
        let main = fs::read_to_string(bench.path("infra/main.tf")).unwrap();
        let other = main.replace("\"terraform_data\" \"note\"", "\"terraform_data\" \"other\"");
        fs::write(bench.path("infra/main.tf"), &other).unwrap();
        let (_, error) = bench.fail(&["up", MODULE]);
        assert_eq!(
            (error["code"].as_str(), &error["causes"]),
            (Some("plan-refused"), &json!(["the plan would destroy terraform_data.note"]))
        );
        assert!(error["hint"].as_str().unwrap().contains("--allow-destroy 'terraform_data.note'"), "{error:#}");
        let shown = asked(&["plan", MODULE]);
        let shown = String::from_utf8_lossy(&shown.unwrap().stdout).into_owned();
        assert!(
            shown.contains("terraform_data.note: to destroy") && shown.contains("`up` would refuse this"),
            "{shown}"
        );
        bench.act(&["provision", MODULE, "--allow-destroy", "terraform_data.note"]);
        assert_eq!(bench.status()["healthy"], true);
    });

    steps.step("up and down, in another workspace, are refused and make no second machine", || {
        bench.write_file(&file("green", true));
        let (_, error) = bench.fail(&["up", MODULE]);
        assert_eq!(error["code"], "state-empty", "{error:#}");
        assert!(error["causes"][0].as_str().unwrap().contains("workspace green"), "{error:#}");
        let (_, error) = bench.fail(&["down", MODULE, "--yes"]);
        assert_eq!(error["code"], "left-behind", "{error:#}");
        assert!(error["hint"].as_str().unwrap().contains("workspace"), "{error:#}");
    });

    bench.write_file(&file("blue", false));
    steps.step("down, with machines that stay, stops the cluster and wipes it with `--wipe-data`", || {
        let summary = bench.act(&["down", MODULE, "--yes"]);
        assert!(summary["message"].as_str().unwrap().contains("its data stays"), "{summary:#}");
        let db = || docker(&["exec", &format!("{MODULE}-db"), "bash", "-c", LEFT]);
        assert!(
            db().starts_with("inactive inactive inactive\ndisabled\n") && db().contains("cluster.json"),
            "{}",
            db()
        );
        if std::env::var_os("HACTL_TEST_LONG").is_some() {
            bench.up();
        }
        bench.act(&["down", MODULE, "--yes", "--wipe-data"]);
        assert_eq!(db(), GONE.replace("done\n", ""));
    });

    bench.write_file(&file("blue", true));
    steps.step("down, with `destroy: true`, lists what it destroys and removes it", || {
        let listed = asked(&["down", MODULE]);
        let listed = listed.unwrap();
        let words = String::from_utf8_lossy(&listed.stderr).into_owned();
        assert!(!listed.status.success() && words.contains("module.nodes.hactl_node.this[\"db\"]"), "{words}");
        bench.act(&["down", MODULE, "--yes"]);
        assert_eq!(bench.leftovers(), "");
        assert!(!bench.kept("fleet.json").exists());
        assert_eq!(workspaces(), "");
    });

    steps.needs(&fresh, "up, from the fresh directory after down, is refused", |elsewhere| {
        let (_, error) = elsewhere.fail(&["up", MODULE]);
        assert_eq!(error["code"], "state-empty", "{error:#}");
    });
    steps.finish();
}
