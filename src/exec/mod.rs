//! The one place that starts processes on this machine.

mod command;
mod complaint;
mod detached;
mod dialogue;
mod lock;

pub use command::{BUFFERED_LINES, Command, Finished, GRACE, Line, Stream, describe_end, kill_children};
pub use complaint::Complaint;
pub use detached::{Detached, leave_parent};
pub use dialogue::Dialogue;
pub use lock::Lock;
