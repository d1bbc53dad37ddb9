//! What hactl knows of each platform: one folder says all of it.

pub mod adopted;
pub mod hosts;
pub mod local;
pub mod proxmox;
