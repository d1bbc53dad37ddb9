//! The stages that act on machines, one module each.

pub mod decommission;
pub mod dns;
pub mod enroll;
pub mod firewall;
pub mod machine_identity;
pub mod machines;
pub mod own_module;
pub mod ownership;
pub mod prepare;
mod refused;
pub mod software;
pub mod versions;
