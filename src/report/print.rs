//! Standard output and standard error.

use std::io::Write;

/// Prints a line of results. A reader that has closed the pipe is no error.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a message for people.
pub fn message(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
