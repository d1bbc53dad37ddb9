//! The one place that starts processes on this machine.

mod command;

pub use command::{Command, Finished, GRACE, Line, Stream, ended};
