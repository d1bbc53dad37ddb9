//! What Terraform was asked for, and what came of it.

use super::changes::{Changes, GoneRecords};
use crate::{error::Error, model::Outputs};

/// What `up` and `plan` find out before anything is done.
#[derive(Debug)]
pub struct Planned {
    pub changes: Changes,
    /// Why `up` would refuse this plan.
    pub refused: Option<Error>,
}

/// The machines that there are, and what was done for it.
#[derive(Debug)]
pub struct Provisioned {
    pub outputs: Outputs,
    pub changes: Changes,
    /// DNS records that were removed for it.
    pub gone: GoneRecords,
}

/// What Terraform destroyed.
#[derive(Debug)]
pub struct Destroyed {
    pub changes: Changes,
    pub gone: GoneRecords,
}

/// What Terraform knows of the machines, as the last run left it wherever that was.
#[derive(Debug, Default)]
pub struct Pulled {
    /// None where they do not fit, which is for the next run to change.
    pub outputs: Option<Outputs>,
    /// What hactl keeps there about them.
    pub record: Option<String>,
    /// This is the only state that the runs of this directory can have.
    pub only_state: bool,
}
