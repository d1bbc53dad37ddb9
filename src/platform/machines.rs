//! What Terraform makes the machines with, whatever the platform.

use uuid::Uuid;

use super::Surveyed;
use crate::{assets::Assets, plan::Plan};

/// What the machines of a plan are made with.
#[derive(Clone, Copy, Debug)]
pub struct Machines<'a> {
    pub plan: &'a Plan,
    pub assets: &'a Assets,
    /// The image of local nodes that are made now; a node that exists keeps the one it was made from.
    pub image: Option<&'a str>,
    pub uuid: Uuid,
    /// Public keys that may log in, in OpenSSH's form.
    pub authorized_keys: &'a [String],
    /// What hactl keeps in the state for its runs elsewhere.
    pub record: &'a str,
    /// What the platform said of the machines, where it was asked.
    pub surveyed: Option<&'a Surveyed>,
}
