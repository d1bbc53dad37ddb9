//! What earlier runs recorded of a cluster, in three cases: absent, unreadable, known.

use std::collections::BTreeMap;

use super::{
    Cluster,
    shared_record::{SharedRecord, id},
};
use crate::{
    error::{Error, Result},
    fleet::Fleet,
    model::InstanceKey,
    platform::Surveyed,
};

/// What was read of one record.
#[derive(Clone, Debug, Default)]
pub enum Recorded<T> {
    /// No run has written it.
    #[default]
    Absent,
    /// It exists and cannot be used. A command that changes something stops: what it does not know it could destroy.
    Unreadable(Error),
    Known(T),
}

impl<T> Recorded<T> {
    /// The value; none where no run has written it.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub fn if_any(&self) -> Result<Option<&T>> {
        match self {
            Self::Absent => Ok(None),
            Self::Unreadable(error) => Err(error.clone()),
            Self::Known(value) => Ok(Some(value)),
        }
    }

    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// The machines of the last run, and what runs elsewhere left in the state.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The machines of the last run: `fleet.json`, or the state where runs elsewhere share it.
    pub(super) machines: Recorded<Fleet>,
    /// What runs elsewhere left in the state.
    pub(super) elsewhere: Option<SharedRecord>,
    /// The text of that.
    pub(super) pulled: Option<String>,
    /// The last run here left machines, and the state has none.
    pub(super) emptied: bool,
    /// What the platform said of the machines before this run changes them.
    pub surveyed: Surveyed,
}

impl Known {
    /// The machines of the last run, for a command that needs them.
    ///
    /// # Errors
    /// When the cluster was never provisioned from here, its state no longer has machines, or the record is unreadable.
    pub fn fleet(&self, cluster: &Cluster) -> Result<&Fleet> {
        let failed = || Error::failed("not-provisioned", "find the machines of", cluster.name());
        let location = cluster.state_location();
        if let (true, Some(location)) = (self.emptied, &location) {
            return Err(failed()
                .cause(format!("the Terraform state ({location}) has no machines any more"))
                .hint(format!("Run `hactl up {}`: it creates the machines or reports what is wrong", cluster.name())));
        }
        self.machines.if_any()?.ok_or_else(|| {
            let error = match location {
                Some(location) => failed().cause(format!("the Terraform state ({location}) has no machines")),
                None => {
                    let path = cluster.dir().fleet();
                    failed()
                        .cause(format!("no run in this directory has created them: {} does not exist", path.display()))
                }
            };
            let elsewhere = cluster.plan.platform.sharing_hint();
            error.hint(format!("Run `hactl up {}` to create them{elsewhere}", cluster.name()))
        })
    }

    /// The same; none where the cluster has no machines that are known.
    ///
    /// # Errors
    /// When the record is unreadable.
    pub fn fleet_if_any(&self) -> Result<Option<&Fleet>> {
        Ok(self.last_fleet()?.filter(|_| !self.emptied))
    }

    /// The machines that the last run here left, also if the state no longer has them.
    ///
    /// # Errors
    /// When the record is unreadable.
    pub fn last_fleet(&self) -> Result<Option<&Fleet>> {
        self.machines.if_any()
    }

    /// What the platform called the machines when the last run, wherever it was, met them.
    #[must_use]
    pub fn machine_ids(&self) -> BTreeMap<InstanceKey, String> {
        match (&self.elsewhere, &self.machines) {
            (Some(record), _) => record.machine_ids.clone(),
            (None, Recorded::Known(fleet)) => fleet.nodes.values().filter_map(id).collect(),
            (None, _) => BTreeMap::new(),
        }
    }
}
