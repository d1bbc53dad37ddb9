//! What Terraform knows of the machines, handed in where a platform is asked about them.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::model::InstanceKey;

/// What Terraform's state holds, or is about to take in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    pub machines: BTreeSet<InstanceKey>,
    pub pool: bool,
    /// The UUID of the cluster whose machines an earlier run has begun to make here.
    pub begun: Option<Uuid>,
}
