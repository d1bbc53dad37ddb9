//! The one place that starts processes on this machine.

mod command;
mod lock;

pub use command::{Command, Finished, GRACE, Line, Stream, ended, kill_children};
pub use lock::Lock;
