//! What the inventory gets from secrets and downloads.

use std::path::PathBuf;

use crate::{
    assets::Assets,
    component::{Downloaded, RoleSecrets},
};

/// What the inventory needs beside the plan and the machines: generated, downloaded, or part of hactl.
#[derive(Clone, Debug)]
pub struct Material {
    /// The roles that the inventory is for, and its templates.
    pub assets: Assets,
    pub secrets: RoleSecrets,
    pub downloads: Vec<Downloaded>,
    /// The private key that nodes accept; `None` leaves the keys of the SSH agent.
    pub ssh_private_key: Option<PathBuf>,
    /// OpenSSH's configuration: bastions and known hosts.
    pub ssh_config: PathBuf,
}
