//! The one place that talks to machines: an SSH session per node, for commands and tunnels.
//!
//! In: where SSH answers and the key that must answer ([`SshTarget`]), and the user's private key.
//! Out: finished commands, and byte streams to ports as the node itself sees them.
//!
//! ```text
//! error     why something failed, as a type; host_key and keys: host keys and private keys
//! connect   address -> connection -> logged in, and what was seen where that failed
//! keyscan   the host key that a machine shows before one is pinned
//! channel   what the two halves of a session say to each other:
//! mux       the thread that moves its bytes
//! session   the handle: connects until a deadline, through a bastion where there is one
//! ```
//!
//! [`SshTarget`]: crate::model::SshTarget

mod channel;
mod connect;
mod error;
mod host_key;
mod keys;
mod keyscan;
mod mux;
mod session;

pub use channel::Finished;
pub use error::{SshError, SshFailure};
pub use host_key::{fingerprint, same_key};
pub use keys::{PrivateKey, SshKeys, expanded, has_agent, home, user_key_files};
pub use keyscan::{HostKey, scan_host_key};
pub(crate) use mux::FORWARD;
pub use session::Remote;

/// A script as `sh` runs it, whatever the login shell of the user is.
#[must_use]
pub fn for_sh(script: &str) -> String {
    format!("/bin/sh -c {}", quoted(script))
}

/// `text` as one word of a shell.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
