//! Certificates that end within minutes, for the drill `certificate-expired` only.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;

use super::authority::{self, Holder, Leaf};
use crate::{
    error::{Error, Result},
    fleet::FleetNode,
    model::{Certificate, ClusterName},
};

/// The authorities of a cluster, for certificates that end within minutes.
#[derive(Clone)]
pub struct ShortLeaves {
    cluster: ClusterName,
    authorities: BTreeMap<String, Leaf>,
}

impl fmt::Debug for ShortLeaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShortLeaves").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl ShortLeaves {
    pub(super) fn new(cluster: &ClusterName, authorities: &BTreeMap<String, Leaf>) -> Self {
        Self { cluster: cluster.clone(), authorities: authorities.clone() }
    }

    /// A certificate of `node` that ends after `life`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn sign(&self, certificate: Certificate, node: &FleetNode, now: Timestamp, life: Duration) -> Result<Leaf> {
        let failed = || Error::failed("certificate", "make a short-lived certificate of", node.key());
        let name = certificate.authority.name;
        let authority = self.authorities.get(name);
        let authority = authority.ok_or_else(|| failed().cause(format!("the CA {name} does not exist")))?;
        let end = now.checked_add(life).map_err(|error| failed().source(&error))?;
        let holder = Holder { key: node.key(), hostname: node.hostname(), address: node.address };
        authority::sign_short(authority, &self.cluster, certificate, &holder, [now, end])
    }
}
