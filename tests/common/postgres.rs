//! A PostgreSQL for Terraform's state.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::PathBuf,
    process::Command,
};

/// The password of the state's owner: it must be in no file.
pub(crate) const PASSWORD: &str = "c1f2statepassword";

/// A PostgreSQL on loopback, in a directory of its own and ended with it.
pub(crate) struct Postgres {
    dir: tempfile::TempDir,
    port: u16,
    bin: PathBuf,
    user: Option<(u32, u32)>,
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
        let server = Self { dir, port, bin, user };
        let password = server.path("password");
        fs::write(&password, PASSWORD).unwrap();
        if let Some((uid, gid)) = user {
            chown(server.dir.path(), Some(uid), Some(gid)).unwrap();
            chown(&password, Some(uid), Some(gid)).unwrap();
        }
        let password = format!("--pwfile={}", password.display());
        let data = server.path("data").display().to_string();
        server.run("initdb", &["-D", &data, "-A", "scram-sha-256", "-U", "terraform", &password, "--no-sync"]);
        let options =
            format!("-p {port} -k {} -c listen_addresses=127.0.0.1 -c fsync=off", server.dir.path().display());
        let log = server.path("log").display().to_string();
        server.run("pg_ctl", &["-D", &data, "-o", &options, "-w", "-l", &log, "start"]);
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
        command.args(args).current_dir(self.dir.path()).stdout(std::process::Stdio::null());
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
        self.run("pg_ctl", &["-D", &self.path("data").display().to_string(), "-m", "immediate", "stop"]);
    }
}
