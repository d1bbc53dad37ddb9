//! What one machine said: its components, its units, and the digest of its configuration.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    etcd::EtcdView,
    patroni::{GuardView, PatroniView},
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
    /// The second part is the state of the lease guard, if one is enabled.
    Patroni(Observed<Box<PatroniView>>, Option<GuardView>),
    Postgres(Observed<PostgresView>),
}

impl View {
    /// Whether the component did not answer.
    pub(crate) const fn is_silent(&self) -> bool {
        matches!(self, Self::Etcd(Err(_)) | Self::Patroni(Err(_), _) | Self::Postgres(Err(_)))
    }
}

/// One node's answers; of components that it does not have, and of all where SSH does not answer, there is none.
#[derive(Clone, Debug)]
pub struct NodeView {
    pub roles: BTreeSet<Role>,
    pub ssh: Observed<()>,
    pub etcd: Option<Observed<EtcdView>>,
    pub patroni: Option<Observed<PatroniView>>,
    pub postgres: Option<Observed<PostgresView>>,
    /// The state of the lease guard; none if none is enabled.
    pub guard: Option<GuardView>,
    /// Units that failed, each with its last log lines; asked only where a service did not answer.
    pub failed_units: BTreeMap<String, Vec<String>>,
    /// Services that it serves without TLS.
    pub without_tls: Vec<String>,
    /// Data directories of replicas that were kept aside, with their sizes in KiB.
    pub kept: Vec<(String, u64)>,
    /// The digest that the last good configuration left on the node.
    pub digest: Option<String>,
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
            guard: None,
            failed_units: BTreeMap::new(),
            without_tls: Vec::new(),
            kept: Vec::new(),
            digest: None,
        }
    }

    /// Adds what a component said.
    pub(crate) fn add(&mut self, view: View) {
        match view {
            View::Etcd(view) => self.etcd = Some(view),
            View::Patroni(view, guard) => (self.patroni, self.guard) = (Some(view.map(|view| *view)), guard),
            View::Postgres(view) => self.postgres = Some(view),
        }
    }
}
