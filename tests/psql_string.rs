//! The printed psql command against a real server: the user's variables and files do not change the connection.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

use hactl::deployment::for_psql;

use crate::common::postgres::{PASSWORD, Postgres};

/// A self-signed certificate for loopback at `DIR/NAME.crt`, and its key, of mode 0600.
fn certificate(dir: &Path, name: &str) {
    let (certificate, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-out"]).arg(&certificate);
    assert!(openssl.arg("-keyout").arg(&key).output().unwrap().status.success());
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn printed_psql_command_connects_whatever_the_user_has_set() {
    let server = Postgres::start();
    let data = server.path("data");
    certificate(&data, "server");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(data.join("PG_VERSION")).unwrap());
    for name in ["server.crt", "server.key"] {
        chown(data.join(name), Some(owner), None).unwrap();
    }
    server.sql("ALTER SYSTEM SET ssl = on");
    server.sql("SELECT pg_reload_conf()");

    let home = tempfile::tempdir().unwrap();
    let own = home.path().join(".postgresql");
    fs::create_dir(&own).unwrap();
    certificate(&own, "postgresql");
    let (root, passfile) = (home.path().join("ca.pem"), home.path().join("pgpass"));
    fs::copy(data.join("server.crt"), &root).unwrap();
    fs::write(&passfile, format!("127.0.0.1:*:*:*:{PASSWORD}\n")).unwrap();
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
    let dsn = format!(
        "host=127.0.0.1 port={} dbname=postgres user=terraform target_session_attrs=read-write sslmode=verify-full \
         sslrootcert={} passfile={}",
        server.port(),
        root.display(),
        passfile.display()
    );
    let asked = |dsn: &str, variable: (&str, &str)| {
        let mut psql = Command::new("psql");
        psql.args([dsn, "-XAtc", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"]);
        let done = psql.env("HOME", home.path()).env(variable.0, variable.1).output().unwrap();
        (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let printed = for_psql(&dsn);
    for variable in [
        ("PGPASSWORD", "other"),
        ("PGGSSENCMODE", "require"),
        ("PGSSLMAXPROTOCOLVERSION", "TLSv1.1"),
        ("PGSSLCRLDIR", "/x"),
        ("PGHOSTADDR", "127.0.0.2"),
        ("PGOPTIONS", "-c role=pg_monitor -c nosuch.thing"),
    ] {
        let (stdout, stderr) = asked(&printed, variable);
        assert_eq!(stdout, "t\n", "{variable:?}: {stderr}");
        // Without the parameters that libpq alone knows, the variable breaks the connection.
        let (stdout, _) = asked(&dsn, variable);
        assert_ne!(stdout, "t\n", "{variable:?} changes nothing, so the test shows nothing");
    }
    // The user's certificate alone: a server that asks for one does not trust it.
    fs::copy(&root, data.join("ca.crt")).unwrap();
    chown(data.join("ca.crt"), Some(owner), None).unwrap();
    server.sql("ALTER SYSTEM SET ssl_ca_file = 'ca.crt'");
    server.sql("SELECT pg_reload_conf()");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while asked(&dsn, ("LANG", "C")).0 == "t\n" {
        assert!(std::time::Instant::now() < deadline, "the server does not ask for a certificate");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let (stdout, stderr) = asked(&printed, ("LANG", "C"));
    assert_eq!(stdout, "t\n", "{stderr}");
}
