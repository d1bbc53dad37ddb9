//! A cluster whose Terraform state is in a backend other than PostgreSQL, with real servers on loopback: what one directory
//! made another one knows, locks are honoured and given back, and what opens the state is in no file.
//!
//! http needs the container engine and Terraform, and takes about 20 s. With `HACTL_TEST_LONG` it takes 80 s, and there are
//! S3, with moto from PyPI, and Consul, where the program is on PATH: 80 and 120 s.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::common::{
    Bench, Running,
    http_state::{self, HttpState},
    output,
    s3::S3,
    steps::Steps,
};

/// A place for the state of one cluster, with what opens it.
struct Place {
    cluster: &'static str,
    /// `backend` of the cluster file.
    written: Value,
    /// The block of Terraform that must come of it.
    block: Value,
    /// What opens it; the first is the variable with the secret.
    env: Vec<(&'static str, String)>,
    /// What Terraform tells of who holds a lock: all, or the id alone.
    tells_holder: bool,
    /// Whether a lock stays for good when its holder dies.
    outlives: bool,
}

impl Place {
    fn secret(&self) -> (&'static str, &str) {
        (self.env[0].0, &self.env[0].1)
    }

    fn file(&self) -> String {
        let backend = &self.written;
        format!("backend: {backend}\ninstances: {{one: {{roles: []}}}}\ndefaults: {{memory: 512, cores: 1}}\n")
    }
}

/// A Terraform of nobody's, with the same state as the cluster's.
struct Other<'a> {
    place: &'a Place,
    dir: tempfile::TempDir,
}

impl<'a> Other<'a> {
    fn new(place: &'a Place) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = json!({"terraform": {"backend": place.block}, "output": {"one": {"value": 1}}}).to_string();
        fs::write(dir.path().join("main.tf.json"), text).unwrap();
        let other = Self { place, dir };
        let said = output(&mut other.terraform(&["init"]));
        assert!(said.contains("Terraform has been successfully initialized"), "{said}");
        other
    }

    fn terraform(&self, args: &[&str]) -> Command {
        let mut command = Command::new("terraform");
        command.args(args).arg("-no-color").current_dir(self.dir.path()).env_remove("TF_CLI_CONFIG_FILE");
        command.envs(self.place.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The state as it is kept.
    fn state(&self) -> Value {
        let mut command = self.terraform(&["state", "pull"]);
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default()
    }

    /// Takes the lock, and keeps it for as long as nobody says yes.
    fn apply(&self) -> Child {
        let mut command = self.terraform(&["apply"]);
        let mut apply = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(apply.stdout.as_mut().unwrap()).split(b':').map_while(Result::ok);
        assert!(said.into_iter().any(|part| part.ends_with(b"Enter a value")), "apply asks nothing");
        apply
    }

    /// The id of the lock that somebody holds, in Terraform's words.
    fn lock(&self) -> Option<String> {
        let said = output(&mut self.terraform(&["plan"]));
        let (_, told) = said.split_once("Error acquiring the state lock")?;
        // With http it is in the text, and below it what was asked for; elsewhere it is below.
        let mut words = told.split_whitespace();
        let within = words.clone().find_map(|word| word.strip_prefix("ID="));
        let id = within.or_else(|| words.find(|word| *word == "ID:").and_then(|_| words.next()));
        Some(id.expect("an id").to_owned())
    }
}

fn run_through(place: &Place) {
    let name = place.cluster;
    let (variable, secret) = place.secret();
    let long = std::env::var_os("HACTL_TEST_LONG").is_some();
    let other = Other::new(place);

    let mut steps = Steps::new();
    let (first, second) = steps.must("secrets create, without a machine, writes the secrets file", || {
        let mut first = Bench::new(name, &place.file());
        first.env.clone_from(&place.env);
        first.act(&["secrets", name, "create"]);
        let mut second = Bench::beside(name, &place.file());
        second.env.clone_from(&place.env);
        second.env.push(("HACTL_AGE_KEY_FILE", first.kept("age.key").display().to_string()));
        let secrets = format!("{name}.secrets.age");
        fs::copy(first.path(&secrets), second.path(&secrets)).unwrap();
        (first, second)
    });

    steps.must("up, with a lock whose holder died, waits until the lock is given back", || {
        let apply = other.apply();
        let id = other.lock().expect("apply holds the lock");
        if long {
            let (code, error) = first.fail(&["up", name]);
            assert_eq!((code, error["code"].as_str()), (1, Some("state-locked")), "{error:#}");
            let told = error.to_string();
            assert!(told.contains(&format!("force-unlock {name} {id}")), "{error:#}");
            assert_eq!(told.contains("since 20"), place.tells_holder, "{error:#}");
        }
        let die = |mut holder: Child| {
            holder.kill().unwrap();
            holder.wait().unwrap();
        };
        die(apply);
        assert_eq!(other.lock().as_ref(), Some(&id), "the lock went with its holder");
        let mut up = place.outlives.then(|| first.follow(&["up", name]));
        up.iter_mut().for_each(|up| up.wait_for_stage("provision"));
        let (_, error) = second.fail(&["terraform", "force-unlock", name, "00000000-0000-0000-0000-000000000000"]);
        assert_eq!(error["code"], "force-unlock", "{error:#}");
        assert_eq!(other.lock().as_ref(), Some(&id), "another lock's id gave it back");
        second.act(&["terraform", "force-unlock", name, &id]);
        let up = up.unwrap_or_else(|| {
            die(other.apply());
            assert!(other.lock().is_some(), "the lock went with its holder");
            first.follow(&["up", name])
        });
        let (code, events) = up.end();
        assert_eq!(code, 0, "{:#?}", events.last());
    });

    steps.step("plan, from a second directory, finds the state and no changes", || {
        let state = other.state();
        assert!(
            state["resources"].to_string().contains("hactl_node") && !state.to_string().contains(secret),
            "{state:#}"
        );
        assert_eq!(other.lock(), None);
        let plan = second.hactl(&["plan", name, "--detailed-exitcode"]);
        assert_eq!(plan.status.code(), Some(0), "{}", String::from_utf8_lossy(&plan.stdout));
        assert!(second.hactl(&["ssh", name, "one", "--", "true"]).status.success());
    });

    steps.step("up, with a wrong secret, fails and names its variable", || {
        let mut command = second.command(&["up", name]);
        command.env(variable, "wrong-1f60");
        let (code, error) = Running::new(command).end_in_error();
        assert_eq!((code, error["code"].as_str()), (1, Some("backend")), "{error:#}");
        let told = error.to_string();
        assert!(told.contains(variable) && !told.contains("wrong-1f60") && !told.contains("\\u001b"), "{error:#}");
    });

    steps.step("down, from the second directory, empties the state, and the secret is in no file", || {
        first.holds_no(secret);
        second.act(&["down", name, "--yes"]);
        assert_eq!(first.leftovers(), "");
        assert_eq!(other.state()["resources"].as_array().map_or(0, Vec::len), 0);
        second.holds_no(secret);
        second.holds_no("wrong-1f60");
    });
    steps.finish();
}

#[test]
fn state_on_an_http_server_is_shared_and_locked() {
    let server = HttpState::start();
    let address = server.address("t-http");
    run_through(&Place {
        cluster: "t-http",
        written: json!({"http": {"address": address}}),
        block: json!({"http": {
            "address": address,
            "lock_address": format!("{address}/lock"),
            "lock_method": "POST",
            "unlock_address": format!("{address}/lock"),
            "unlock_method": "DELETE",
        }}),
        env: vec![
            ("TF_HTTP_PASSWORD", http_state::PASSWORD.to_owned()),
            ("TF_HTTP_USERNAME", http_state::USER.to_owned()),
        ],
        tells_holder: false,
        outlives: true,
    });
}

#[test]
#[ignore = "needs moto from the package index: `make test-long` runs it"]
fn state_in_s3_is_shared_and_locked() {
    let server = S3::start();
    let endpoint = server.told("endpoint");
    let mut settings = json!({
        "bucket": server.told("bucket"),
        "region": server.told("region"),
        "endpoints": {"s3": endpoint},
        "use_path_style": true,
        "skip_credentials_validation": true,
        "skip_requesting_account_id": true,
    });
    let written = json!({"s3": settings});
    settings["key"] = "hactl/t-s3/terraform.tfstate".into();
    settings["encrypt"] = true.into();
    settings["use_lockfile"] = true.into();
    run_through(&Place {
        cluster: "t-s3",
        written,
        block: json!({"s3": settings}),
        env: vec![("AWS_SECRET_ACCESS_KEY", server.told("secret")), ("AWS_ACCESS_KEY_ID", server.told("id"))],
        tells_holder: true,
        outlives: true,
    });
}

const TOKEN: &str = "5c1e0d52-7f0a-4e5b-9d1c-0a5b1e70ce40";

/// A Consul of one server, which denies everything to who has no token.
struct Consul {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Consul {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("hactl-consul-").tempdir().unwrap();
        let [http, server, serf] = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, server, serf] = [http, server, serf].map(|listener| listener.local_addr().unwrap().port());
        let config = json!({
            "acl": {"enabled": true, "default_policy": "deny", "tokens": {"initial_management": TOKEN}},
            "ports": {"http": http, "server": server, "serf_lan": serf, "serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1},
        });
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        // A child of the test that ends with it, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "consul", "agent", "-dev", "-bind", "127.0.0.1", "-config-file"]);
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = command.arg(dir.path().join("config.json")).stdout(log).spawn().unwrap();
        let consul = Self { child, port: http, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !consul.answers() {
            assert!(Instant::now() < deadline, "consul has no leader");
            std::thread::sleep(Duration::from_millis(200));
        }
        consul
    }

    /// Whether it takes a key, which needs a leader and the token.
    fn answers(&self) -> bool {
        let address = format!("-http-addr=127.0.0.1:{}", self.port);
        let mut command = Command::new("consul");
        command.args(["kv", "put", &address, "t", "1"]).env("CONSUL_HTTP_TOKEN", TOKEN);
        command.output().unwrap().status.success()
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs `consul` on PATH: `make test-long` runs it where that is there"]
fn state_in_consul_is_shared_and_locked() {
    let server = Consul::start();
    let address = format!("127.0.0.1:{}", server.port);
    run_through(&Place {
        cluster: "t-consul",
        written: json!({"consul": {"address": address}}),
        block: json!({"consul": {"address": address, "path": "hactl/t-consul/terraform", "lock": true}}),
        env: vec![("CONSUL_HTTP_TOKEN", TOKEN.to_owned())],
        tells_holder: true,
        outlives: false,
    });
}
