//! The one place that starts processes on this machine.

mod command;
mod detached;
mod lock;

pub use command::{Command, Finished, GRACE, Line, Stream, ended, kill_children};
pub use detached::{Detached, leave_parent};
pub use lock::Lock;
