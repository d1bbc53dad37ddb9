//! What one machine said: its components, its units, and the digest of its configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    etcd::EtcdView,
    haproxy::ProxyView,
    patroni::{GuardView, PatroniView, Watchdog},
    pgbouncer::PoolerView,
    postgres::PostgresView,
    probe::Observed,
};
use crate::model::{InstanceKey, Role};

/// Everything that the nodes said at one moment.
pub type Observations = BTreeMap<InstanceKey, NodeView>;

/// What a component said when it was asked.
#[derive(Clone, Debug)]
pub(crate) enum View {
    Etcd(Observed<EtcdView>),
    /// With the state of the lease guard, if one is enabled, and that of the watchdog device.
    Patroni(Observed<Box<PatroniView>>, Option<GuardView>, Option<Watchdog>),
    Postgres(Observed<PostgresView>),
    Haproxy(Observed<ProxyView>),
    Pgbouncer(Observed<PoolerView>),
}

impl View {
    /// Whether the component did not answer.
    pub(crate) const fn is_silent(&self) -> bool {
        matches!(
            self,
            Self::Etcd(Err(_))
                | Self::Patroni(Err(_), ..)
                | Self::Postgres(Err(_))
                | Self::Haproxy(Err(_))
                | Self::Pgbouncer(Err(_))
        )
    }
}

/// hactl's packet filter on a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirewallView {
    /// The SHA-256 of the file that the machine loads at boot, if it has one.
    pub digest: Option<String>,
    /// Whether the table is loaded.
    pub loaded: bool,
    /// Whether the unit that loads it at boot is enabled.
    pub enabled: bool,
    /// Whether a timer will remove the table, because the run that loaded it has not confirmed it.
    pub armed: bool,
    /// Why the machine could not load it.
    pub refused: Option<String>,
    /// The declared ports that have connections, each with the address of the other side, if the machine was asked for them.
    pub connected: Vec<(u16, IpAddr)>,
}

impl FirewallView {
    /// Whether the table with this digest is loaded, now and at the next boot.
    #[must_use]
    pub fn is_current(&self, digest: &str) -> bool {
        self.loaded && self.enabled && !self.armed && self.digest.as_deref() == Some(digest)
    }

    /// Whether the machine has anything of it.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.loaded || self.enabled || self.armed || self.digest.is_some() || self.refused.is_some()
    }
}

/// By how many seconds a machine's clock is ahead of this machine's: between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockView {
    pub least: f64,
    pub most: f64,
}

/// One node's answers; of components that it does not have, and of all where SSH does not answer, there is none.
#[derive(Clone, Debug)]
pub struct NodeView {
    pub roles: BTreeSet<Role>,
    pub ssh: Observed<()>,
    pub etcd: Option<Observed<EtcdView>>,
    pub patroni: Option<Observed<PatroniView>>,
    pub postgres: Option<Observed<PostgresView>>,
    pub proxy: Option<Observed<ProxyView>>,
    pub pooler: Option<Observed<PoolerView>>,
    /// The state of the lease guard; none if none is enabled.
    pub guard: Option<GuardView>,
    /// What Patroni does with the machine's watchdog device; none if that is not known.
    pub watchdog: Option<Watchdog>,
    /// Units that failed, each with its last log lines; asked only where a service did not answer.
    pub failed_units: BTreeMap<String, Vec<String>>,
    /// Services that it serves without TLS.
    pub without_tls: Vec<String>,
    /// Data directories of replicas that were kept aside, with their sizes in KiB.
    pub kept: Vec<(String, u64)>,
    /// Timeline and WAL position of the last checkpoint of a data node's data.
    pub checkpoint: Option<(u64, u64)>,
    /// The digest that the last good configuration left on the node.
    pub digest: Option<String>,
    /// The machine's clock; none if the machine did not tell it.
    pub clock: Option<ClockView>,
    /// The packet filter; none if the machine was not asked or did not answer.
    pub firewall: Option<FirewallView>,
}

impl NodeView {
    /// A node with these roles, of which nothing was asked but SSH.
    #[must_use]
    pub const fn new(roles: BTreeSet<Role>, ssh: Observed<()>) -> Self {
        Self {
            roles,
            ssh,
            etcd: None,
            patroni: None,
            postgres: None,
            proxy: None,
            pooler: None,
            guard: None,
            watchdog: None,
            failed_units: BTreeMap::new(),
            without_tls: Vec::new(),
            kept: Vec::new(),
            checkpoint: None,
            digest: None,
            clock: None,
            firewall: None,
        }
    }

    /// Adds what a component said.
    pub(crate) fn add(&mut self, view: View) {
        match view {
            View::Etcd(view) => self.etcd = Some(view),
            View::Patroni(view, guard, watchdog) => {
                (self.patroni, self.guard, self.watchdog) = (Some(view.map(|view| *view)), guard, watchdog);
            }
            View::Postgres(view) => self.postgres = Some(view),
            View::Haproxy(view) => self.proxy = Some(view),
            View::Pgbouncer(view) => self.pooler = Some(view),
        }
    }
}
