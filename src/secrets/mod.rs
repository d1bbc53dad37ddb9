//! The age file, the generated secrets, and the certificate authorities.
//!
//! In comes the name of a cluster, its machines and databases; out go key pairs, certificates and
//! passwords, kept in `NAME.secrets.age` beside the cluster file. That one encrypted file is made to be
//! committed, so that a fresh runner needs only the identity that opens it.

mod authority;
mod client;
mod command;
mod contents;
mod encrypted;
mod given;
mod identity;
mod short;
mod ssh_config;
mod store;
#[cfg(test)]
mod tests;
mod validity;
mod vault;
mod version1;

pub use authority::Leaf;
pub use client::{ClientFiles, known_hosts, write_client_files};
pub use contents::{HostKeys, SshKey};
pub use given::{Sources, given};
pub use identity::{KEY_COMMAND, KEY_FILE};
pub use short::ShortLeaves;
pub use ssh_config::SshIdentities;
pub use vault::{Recipient, SecretsPaths, Vault};
