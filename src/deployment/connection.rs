//! How people connect: the connection strings of a cluster, without a password.

use super::{Cluster, Conninfo};
use crate::{
    component::postgres,
    fleet::Fleet,
    model::{Endpoints, EntryPoint},
    plan::Plan,
    secrets::ClientFiles,
};

/// How soon a client notices a dead server: by default libpq waits about two minutes for a connection and a quarter of an hour for an
/// answer. docs/connections.md has the same for other drivers.
const FAILOVER: [(&str, &str); 5] = [
    ("keepalives", "1"),
    ("keepalives_idle", "5"),
    ("keepalives_interval", "2"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "5000"),
];

/// Where a connection string leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WayIn {
    /// To the servers themselves.
    Direct,
    /// To the primary through the poolers.
    Pooled,
    /// To the replicas through the poolers.
    Replicas,
}

impl WayIn {
    /// The port on every data node.
    pub(crate) fn port(self, plan: &Plan) -> u16 {
        match (self, &plan.endpoint) {
            (Self::Pooled | Self::Replicas, Some(entry)) => entry.port,
            _ => postgres::PORT,
        }
    }

    /// A pooler that lives accepts at once, and leads to the primary whichever it is.
    const fn own(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Direct => [("connect_timeout", "2"), ("target_session_attrs", "read-write")],
            Self::Pooled | Self::Replicas => [("connect_timeout", "10"), ("target_session_attrs", "any")],
        }
    }
}

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
    .and(failover(WayIn::Direct))
}

fn failover(way: WayIn) -> [(&'static str, String); 7] {
    let [timeout, attributes] = way.own();
    let [keepalives, idle, interval, count, unacknowledged] = FAILOVER;
    [timeout, keepalives, idle, interval, count, unacknowledged, attributes]
        .map(|(parameter, value)| (parameter, value.to_owned()))
}

/// As the first database's owner: every host, verified, without a password.
#[must_use]
pub(crate) fn as_owner(cluster: &Cluster, fleet: &Fleet) -> Conninfo {
    as_owner_by(cluster, fleet, WayIn::Direct)
}

/// The same by another way in.
#[must_use]
pub(crate) fn as_owner_by(cluster: &Cluster, fleet: &Fleet, way: WayIn) -> Conninfo {
    let port = way.port(&cluster.plan).to_string();
    login(cluster, way, Conninfo::new([("host", hosts(fleet)), ("port", port)]))
}

/// Every way in of a cluster with an entry point.
#[must_use]
pub(crate) fn endpoints(cluster: &Cluster, fleet: &Fleet) -> Option<Endpoints> {
    let entry = cluster.plan.endpoint.as_ref()?;
    let by = |way| as_owner_by(cluster, fleet, way).to_string();
    let replicas = entry.replicas.then(|| by(WayIn::Replicas));
    Some(Endpoints { pooled: by(WayIn::Pooled), replicas, direct: by(WayIn::Direct) })
}

/// The addresses of the data nodes, as libpq takes them.
pub(crate) fn hosts(fleet: &Fleet) -> String {
    let hosts: Vec<String> = fleet.data_nodes().map(|node| node.address.to_string()).collect();
    hosts.join(",")
}

/// The same at `place`.
pub(crate) fn login(cluster: &Cluster, way: WayIn, place: Conninfo) -> Conninfo {
    let files = cluster.dir().client();
    let file = |name| files.join(name).display().to_string();
    let (database, user) = match cluster.plan.postgres.databases.iter().next() {
        Some((database, owner)) => (database.to_string(), owner.to_string()),
        None => ("postgres".to_owned(), "postgres".to_owned()),
    };
    let database = if way == WayIn::Replicas { EntryPoint::of_replicas(&database) } else { database };
    place.and([("dbname", database), ("user", user)]).and(failover(way)).and([
        ("sslmode", "verify-full".to_owned()),
        ("sslrootcert", file(ClientFiles::POSTGRESQL_CA)),
        ("passfile", file(ClientFiles::PASSFILE)),
    ])
}
