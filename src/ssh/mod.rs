//! The one place that talks to machines: an SSH session per node, for commands and tunnels.
//!
//! In: where SSH answers and the key that must answer ([`SshTarget`]), and the user's private key.
//! Out: finished commands, and byte streams to ports as the node itself sees them.
//!
//! ```text
//! connect    address -> connection -> session, and what was seen where none came of it
//! session  the session as a handle: tried again until a deadline, by way of a bastion where there is one
//! mux     the thread that moves its bytes
//! contact  the host key of a machine of the user's, before it is pinned
//! key      private keys, and where they come from
//! ```
//!
//! [`SshTarget`]: crate::fleet::SshTarget

mod connect;
mod host_key;
mod keys;
mod mux;
mod session;

pub use connect::{KEY_REFUSED, OTHER_HOST_KEY};
pub use host_key::{HostKey, fingerprint, first_contact};
pub use keys::{PrivateKey, SshKeys, expanded, has_agent, home, user_key_files};
pub use session::{Finished, Remote};

/// `text` as one word of a shell.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
