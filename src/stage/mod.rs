//! The stages that act on machines, one module each.

pub mod decommission;
pub mod dns;
pub mod enroll;
pub mod firewall;
pub mod interruption;
pub mod machine_identity;
pub mod machines;
pub mod own_module;
pub mod ownership;
pub mod prepare;
pub mod preview;
mod refused;
pub mod saved_plan;
pub mod software;
pub mod versions;
pub(crate) mod vm_disks;
