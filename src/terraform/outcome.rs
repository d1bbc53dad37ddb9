//! The results of Terraform's operations.

use super::changes::{Changes, GoneRecords};
use crate::{error::Error, model::Outputs};

/// What `up` and `plan` know before Terraform changes anything.
#[derive(Debug)]
pub struct Planned {
    pub changes: Changes,
    /// Why `up` would refuse this plan.
    pub refused: Option<Error>,
}

/// The machines after an apply, and what it changed.
#[derive(Debug)]
pub struct Provisioned {
    pub outputs: Outputs,
    pub changes: Changes,
    /// DNS records that the apply removed.
    pub gone: GoneRecords,
}

/// What Terraform destroyed.
#[derive(Debug)]
pub struct Destroyed {
    pub changes: Changes,
    pub gone: GoneRecords,
}

/// What Terraform's state has of the machines after the last run, on this or another machine.
#[derive(Debug, Default)]
pub struct Pulled {
    /// `None` if they do not fit the contract; the next run can correct that.
    pub outputs: Option<Outputs>,
    /// What hactl keeps in the state about them.
    pub record: Option<String>,
    /// Whether no state remains in another place.
    pub only_state: bool,
}
