//! One acting stage each: what is there before it, what is there after it.

pub mod decommission;
pub mod dns;
pub mod enroll;
pub mod machine_identity;
pub mod machines;
pub mod own_module;
pub mod ownership;
pub mod prepare;
pub mod software;
