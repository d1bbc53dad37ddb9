//! What secrets and downloads give the inventory.

use std::path::PathBuf;

use crate::{
    assets::Assets,
    component::{Downloaded, RoleSecrets},
};

/// Everything that is neither intended nor found: made, fetched, or part of hactl.
#[derive(Clone, Debug)]
pub struct Material {
    /// The roles that the inventory is for, and its templates.
    pub assets: Assets,
    pub secrets: RoleSecrets,
    pub downloads: Vec<Downloaded>,
    /// The private key that nodes let in; none leaves the agent's.
    pub ssh_private_key: Option<PathBuf>,
    /// OpenSSH's configuration: bastions, and who is known.
    pub ssh_config: PathBuf,
}
