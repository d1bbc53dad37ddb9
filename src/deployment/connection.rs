//! How people connect: the connection strings of a cluster, without a password.

use super::{Cluster, Conninfo};
use crate::{component::postgres, fleet::Fleet, secrets::ClientFiles};

/// How soon a client notices a dead server: by default libpq waits about two minutes for a connection and a quarter of an hour for an
/// answer. docs/connections.md has the same for other drivers.
const FAILOVER: [(&str, &str); 7] = [
    ("connect_timeout", "2"),
    ("keepalives", "1"),
    ("keepalives_idle", "5"),
    ("keepalives_interval", "2"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "5000"),
    ("target_session_attrs", "read-write"),
];

/// As an adopted cluster's superuser: libpq asks for the password, or finds it itself.
pub(super) fn as_superuser(fleet: &Fleet, superuser: &str) -> Conninfo {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for node in fleet.data_nodes() {
        hosts.push(node.address.to_string());
        ports.push(postgres::endpoint(node).port.to_string());
    }
    let same = ports.windows(2).all(|pair| pair[0] == pair[1]);
    ports.truncate(if same { 1 } else { ports.len() });
    Conninfo::new([
        ("host", hosts.join(",")),
        ("port", ports.join(",")),
        ("dbname", "postgres".to_owned()),
        ("user", superuser.to_owned()),
    ])
    .and(failover())
}

fn failover() -> [(&'static str, String); 7] {
    FAILOVER.map(|(parameter, value)| (parameter, value.to_owned()))
}

/// As the first database's owner: every host, verified, without a password.
#[must_use]
pub(crate) fn as_owner(cluster: &Cluster, fleet: &Fleet) -> Conninfo {
    login(cluster, Conninfo::new([("host", hosts(fleet)), ("port", "5432".to_owned())]))
}

/// The addresses of the data nodes, as libpq takes them.
pub(crate) fn hosts(fleet: &Fleet) -> String {
    let hosts: Vec<String> = fleet.data_nodes().map(|node| node.address.to_string()).collect();
    hosts.join(",")
}

/// The same at `place`.
pub(crate) fn login(cluster: &Cluster, place: Conninfo) -> Conninfo {
    let files = cluster.dir().client();
    let file = |name| files.join(name).display().to_string();
    let (database, user) = match cluster.plan.postgres.databases.iter().next() {
        Some((database, owner)) => (database.to_string(), owner.to_string()),
        None => ("postgres".to_owned(), "postgres".to_owned()),
    };
    place.and([("dbname", database), ("user", user)]).and(failover()).and([
        ("sslmode", "verify-full".to_owned()),
        ("sslrootcert", file(ClientFiles::POSTGRESQL_CA)),
        ("passfile", file(ClientFiles::PASSFILE)),
    ])
}
