//! The one place that talks to machines: an SSH session per node, for commands and tunnels.
//!
//! In: where SSH answers and the key that must answer ([`SshTarget`]), and the user's private key.
//! Out: finished commands, and byte streams to ports as the node itself sees them.

mod pump;
mod session;

pub use session::{Finished, HostKey, PrivateKey, Remote, first_contact};

/// `text` as one word of a shell.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
