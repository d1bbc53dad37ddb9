//! The ports of a machine that serve a certificate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Certificate, Endpoint};

/// A port that serves a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) service: TlsService,
    pub(crate) certificate: Certificate,
    pub(crate) endpoint: Endpoint,
    /// The directory and the name, without the extension, of the role's files for it.
    pub(crate) files: [&'static str; 2],
    /// The name of its authority's file there, in the same form.
    pub(crate) authority: &'static str,
}

impl Door {
    /// The role's certificate, or its key.
    pub(crate) fn path(&self, extension: &str) -> String {
        let [directory, name] = self.files;
        format!("{directory}/{name}.{extension}")
    }
}

/// A service that serves a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsService {
    /// etcd's client port.
    Etcd,
    /// etcd's port for its other members.
    EtcdPeer,
    /// Patroni's REST API.
    Patroni,
    /// PostgreSQL.
    Postgresql,
    /// The pooler of the entry point.
    Pooler,
}

impl TlsService {
    /// Its name in messages.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::EtcdPeer => "etcd's peer port",
            Self::Patroni => "Patroni",
            Self::Postgresql => "PostgreSQL",
            Self::Pooler => "PgBouncer",
        }
    }
}
