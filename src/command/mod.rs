//! One small file for each subcommand: its arguments, its confirmation, a call of `operation` or `query`, and the
//! output.

pub(crate) mod arguments;
pub(crate) mod configure;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod eject;
pub(crate) mod fetch;
pub(crate) mod image;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod inventory;
pub(crate) mod logs;
pub(crate) mod plan;
pub(crate) mod power_watch;
mod prompt;
pub(crate) mod provision;
pub(crate) mod psql;
pub(crate) mod report;
pub(crate) mod schema;
pub(crate) mod secrets;
mod session;
pub(crate) mod ssh;
pub(crate) mod status;
pub(crate) mod terraform;
pub(crate) mod up;
pub(crate) mod verify;
pub(crate) mod version;

pub(crate) use session::Session;
