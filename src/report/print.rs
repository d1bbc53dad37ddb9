//! Standard output and standard error.

use std::{
    io::{self, ErrorKind, Write},
    sync::OnceLock,
};

use crate::error::{Error, Result};

/// Why the first line of results was not written.
static NOT_WRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Prints a line of results. [`written`] tells whether it was written.
pub fn print(line: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        NOT_WRITTEN.get_or_init(|| error);
    }
}

/// Whether all results so far could be written. A reader that has closed the pipe has read what it wanted.
///
/// # Errors
/// Why they could not: the disk is full, say.
pub fn written() -> Result<()> {
    match NOT_WRITTEN.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(not_written(error)),
        _ => Ok(()),
    }
}

/// The error of results that were not written.
pub fn not_written(cause: impl std::fmt::Display) -> Error {
    Error::failed("output", "write the results to", "standard output")
        .cause(cause)
        .hint("Check the free space where the output goes, then run the same command again")
}

/// Prints a message for people.
pub fn message(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
