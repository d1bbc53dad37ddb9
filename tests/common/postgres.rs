//! A PostgreSQL for Terraform's state.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The password of the state's owner: it must be in no file.
pub(crate) const PASSWORD: &str = "c1f2statepassword";

/// A PostgreSQL on loopback, in a directory of its own and ended with it.
pub(crate) struct Postgres {
    dir: tempfile::TempDir,
    port: u16,
    bin: PathBuf,
    user: Option<(u32, u32)>,
    child: Option<Child>,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let newest = fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed: .ci/setup --test");
        let bin = newest.map(|entry| entry.unwrap().path().join("bin")).max().unwrap();
        let dir = tempfile::Builder::new().prefix("hactl-pg-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // PostgreSQL does not run as root.
        let user = nix::unistd::getuid().is_root().then(|| {
            let user = nix::unistd::User::from_name("postgres").unwrap().expect("a user that is not root");
            (user.uid.as_raw(), user.gid.as_raw())
        });
        let mut server = Self { dir, port, bin, user, child: None };
        let password = server.path("password");
        fs::write(&password, PASSWORD).unwrap();
        if let Some((uid, gid)) = user {
            chown(server.dir.path(), Some(uid), Some(gid)).unwrap();
            chown(&password, Some(uid), Some(gid)).unwrap();
        }
        let password = format!("--pwfile={}", password.display());
        let data = server.path("data").display().to_string();
        server.run("initdb", &["-D", &data, "-A", "scram-sha-256", "-U", "terraform", &password, "--no-sync"]);
        // A child of the test that ends with it, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some((uid, gid)) = user {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
        }
        command.arg(server.bin.join("postgres")).args(["-D", &data, "-p", &port.to_string(), "-c", "fsync=off"]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-k"]).arg(server.dir.path()).current_dir(server.dir.path());
        let log = fs::File::create(server.path("data.log")).unwrap();
        server.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(30);
        let answers = || {
            Command::new(server.bin.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
                .status()
        };
        while !answers().unwrap().success() {
            assert!(Instant::now() < deadline, "{}", fs::read_to_string(server.path("data.log")).unwrap());
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The connection string with its password, as a CI's secret has it.
    pub(crate) fn secret_dsn(&self) -> String {
        self.dsn().replace("terraform@", &format!("terraform:{PASSWORD}@"))
    }

    fn run(&self, program: &str, args: &[&str]) {
        let mut command = Command::new(self.bin.join(program));
        command.args(args).current_dir(self.dir.path()).stdout(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        assert!(command.status().unwrap().success(), "{program} {args:?}");
    }

    pub(crate) fn dsn(&self) -> String {
        format!("postgres://terraform@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    pub(crate) fn sql(&self, statement: &str) -> String {
        let mut psql = Command::new("psql");
        let done = psql.args([&self.dsn(), "-X", "-A", "-t", "-q", "-c", statement]).env("PGPASSWORD", PASSWORD);
        let done = done.output().unwrap();
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// How many resources the state of a cluster has; `schema` is its place.
    pub(crate) fn resources(&self, schema: &str) -> String {
        self.sql(&format!("SELECT json_array_length(data::json->'resources') FROM {schema}.states"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Its own children see that it is gone, and end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn the_server_of_the_state_answers_and_ends_with_the_test() {
    let server = Postgres::start();
    assert_eq!(server.sql("SELECT 1"), "1");
    let port = server.port;
    drop(server);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
