//! The certificate authorities of a cluster, and the certificates that they sign.

/// A certificate authority. A cluster has several, so that a certificate for one purpose is not valid for another: a
/// database client cannot write etcd, and etcd's peers are not clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Its key in the secrets file.
    pub name: &'static str,
    /// Its name in the subject of its certificate.
    pub subject: &'static str,
}

impl Authority {
    /// etcd's voters among themselves, port 2380.
    pub const ETCD_PEER: Self = Self { name: "etcd_peer", subject: "etcd peers" };
    /// etcd's clients and Patroni's REST API, ports 2379 and 8008.
    pub const CONTROL: Self = Self { name: "control", subject: "control" };
    /// PostgreSQL's server certificates, port 5432.
    pub const POSTGRESQL: Self = Self { name: "postgresql", subject: "postgresql" };
}

/// A kind of certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its key in the secrets file.
    pub name: &'static str,
    pub authority: Authority,
    pub purpose: Purpose,
}

/// Which machines present a certificate, and in which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Each instance, as a server.
    Server,
    /// Each instance, as a server and as a client.
    ServerAndClient,
    /// hactl itself, as a client.
    Controller,
}

impl Certificate {
    // etcd's own gateway presents the server's certificate as a client certificate.
    pub const ETCD_PEER: Self =
        Self { name: "etcd_peer", authority: Authority::ETCD_PEER, purpose: Purpose::ServerAndClient };
    pub const ETCD_SERVER: Self =
        Self { name: "etcd_server", authority: Authority::CONTROL, purpose: Purpose::ServerAndClient };
    /// Patroni's one certificate: server of its REST API, client of etcd, client of other members.
    pub const PATRONI: Self =
        Self { name: "patroni", authority: Authority::CONTROL, purpose: Purpose::ServerAndClient };
    pub const POSTGRESQL: Self =
        Self { name: "postgresql", authority: Authority::POSTGRESQL, purpose: Purpose::Server };
    /// The controller's own, for etcd and Patroni's REST API.
    pub const CONTROLLER: Self =
        Self { name: "controller", authority: Authority::CONTROL, purpose: Purpose::Controller };
}
