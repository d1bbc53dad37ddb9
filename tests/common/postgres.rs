//! PostgreSQL servers of the distribution's packages: for Terraform's state, and as data nodes without Patroni.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// The password of the state's owner: it must be in no file.
pub(crate) const PASSWORD: &str = "c1f2statepassword";

/// The directory of the newest server's programs.
fn programs() -> PathBuf {
    let newest = fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed: .ci/setup --test");
    newest.map(|entry| entry.unwrap().path().join("bin")).max().unwrap()
}

/// The user and group of a server: PostgreSQL does not run as root.
fn unprivileged() -> Option<(u32, u32)> {
    nix::unistd::getuid().is_root().then(|| {
        let user = nix::unistd::User::from_name("postgres").unwrap().expect("a user that is not root");
        (user.uid.as_raw(), user.gid.as_raw())
    })
}

/// A command that runs the server. The server ends with the test.
fn server_command() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some((uid, gid)) = unprivileged() {
        command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
    }
    // A replica looks there for a client certificate.
    command.arg(programs().join("postgres")).env("HOME", "/nonexistent");
    command
}

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
        let (bin, user) = (programs(), unprivileged());
        let dir = tempfile::Builder::new().prefix("hactl-pg-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
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
        let mut command = server_command();
        command.args(["-D", &data, "-p", &port.to_string(), "-c", "fsync=off"]);
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

    pub(crate) const fn port(&self) -> u16 {
        self.port
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

/// A data node's PostgreSQL without Patroni, on port 5432 of its address. It accepts every connection with TLS.
pub(crate) struct DataNode {
    child: Child,
    _dir: tempfile::TempDir,
}

impl DataNode {
    /// Starts a primary that waits for one replica, or the replica of `primary`. All data nodes start with the same data.
    pub(crate) fn start(
        name: &str,
        address: Ipv4Addr,
        primary: Option<Ipv4Addr>,
        certificate: &str,
        key: &str,
    ) -> Self {
        let dir = tempfile::Builder::new().prefix("hactl-pg-").tempdir().unwrap();
        let (data, place) = (dir.path().join("data"), dir.path().display());
        let mut archive = tar::Archive::new(initialised());
        archive.set_preserve_permissions(true);
        archive.set_preserve_ownerships(unprivileged().is_some());
        archive.unpack(dir.path()).unwrap();
        let mut settings = format!(
            "listen_addresses = '{address}'\nunix_socket_directories = '{place}'\nfsync = off\nssl = on\n\
             ssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\nwal_retrieve_retry_interval = 200ms\n"
        );
        settings += &match primary {
            None => "synchronous_standby_names = 'ANY 1 (*)'\n".to_owned(),
            Some(primary) => {
                let place = format!("host={primary} port=5432 user=postgres sslmode=require application_name={name}");
                format!("primary_conninfo = '{place}'\n")
            }
        };
        let access = "local all all trust\nhostssl all,replication all 0.0.0.0/0 trust\n";
        let mut files = vec![
            ("postgresql.auto.conf", settings.as_str()),
            ("pg_hba.conf", access),
            ("server.crt", certificate),
            ("server.key", key),
        ];
        files.extend(primary.map(|_| ("standby.signal", "")));
        for (file, text) in files {
            fs::write(data.join(file), text).unwrap();
            give(&data.join(file));
        }
        give(dir.path());
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child =
            server_command().arg("-D").arg(&data).current_dir(dir.path()).stdin(Stdio::null()).stderr(log).spawn();
        Self { child: child.unwrap(), _dir: dir }
    }
}

impl Drop for DataNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives a file or a directory to the server's user alone.
fn give(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if let Some((uid, gid)) = unprivileged() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// An archive of a new data directory, made once: all data nodes have the same system identifier.
fn initialised() -> &'static [u8] {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = tempfile::Builder::new().prefix("hactl-pg-").tempdir().unwrap();
        give(dir.path());
        let mut command = Command::new(programs().join("initdb"));
        command.args(["-A", "trust", "-U", "postgres", "--no-sync", "--wal-segsize=1", "-D"]);
        if let Some((uid, gid)) = unprivileged() {
            command.uid(uid).gid(gid);
        }
        let made = command.arg(dir.path().join("data")).current_dir("/").stdout(Stdio::null()).status();
        assert!(made.unwrap().success());
        // The database and the owner of a cluster file that declares none. Single-user mode runs each line.
        let mut single = server_command();
        single.args(["--single", "-F", "-D"]).arg(dir.path().join("data")).arg("postgres").current_dir("/");
        let single = single.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map(|mut child| {
            child.stdin.take().unwrap().write_all(b"CREATE ROLE app LOGIN\nCREATE DATABASE app OWNER app\n").unwrap();
            child.wait()
        });
        assert!(single.unwrap().unwrap().success());
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all("data", dir.path().join("data")).unwrap();
        archive.into_inner().unwrap()
    })
}

#[test]
fn postgres_server_answers_until_it_is_dropped() {
    let server = Postgres::start();
    assert_eq!(server.sql("SELECT 1"), "1");
    let port = server.port;
    drop(server);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn data_node_with_a_replica_streams_to_it() {
    let pair = rcgen::generate_simple_self_signed(["node".to_owned()]).unwrap();
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let addresses = [Ipv4Addr::new(127, 77, 0, 1), Ipv4Addr::new(127, 77, 0, 2)];
    let _primary = DataNode::start("one", addresses[0], None, &certificate, &key);
    let _replica = DataNode::start("two", addresses[1], Some(addresses[0]), &certificate, &key);
    let dsn = format!("host={} user=postgres sslmode=require", addresses[0]);
    let asked = "SELECT application_name, sync_state FROM pg_stat_replication WHERE state = 'streaming'";
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let said = Command::new("psql").args([&dsn, "-XAtc", asked]).output().unwrap();
        if said.stdout == b"two|quorum\n" {
            return;
        }
        assert!(Instant::now() < deadline, "{said:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
