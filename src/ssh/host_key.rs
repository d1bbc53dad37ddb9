//! Host keys as text (`ssh-ed25519 AAAA...`) and as bytes: their kinds, and their fingerprints.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use sha2::{Digest, Sha256};

/// Kinds of host keys, in the order in which OpenSSH prefers them.
pub(super) const KINDS: [&str; 3] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"];

/// The SHA-256 of a key, as OpenSSH prints it.
#[must_use]
pub fn fingerprint(key: &str) -> String {
    let blob = key.split_whitespace().nth(1).and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_default();
    format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// Whether two lines are the same public key, whatever comments they carry.
#[must_use]
pub fn same_key(one: &str, other: &str) -> bool {
    one.split_whitespace().take(2).eq(other.split_whitespace().take(2))
}

/// The signatures that a host key of this kind gives: those of RSA have names of their own.
pub(super) fn signatures(kind: &str) -> &str {
    if kind == "ssh-rsa" { "rsa-sha2-512,rsa-sha2-256,ssh-rsa" } else { kind }
}

/// The kind of a key, which is the first text in it.
pub(super) fn kind(blob: &[u8]) -> String {
    let text = blob.split_first_chunk().and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_kind_is_the_first_field_and_empty_if_truncated() {
        let blob =
            BASE64_STANDARD.decode("AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f").unwrap();
        assert_eq!(kind(&blob), "ssh-ed25519");
        assert_eq!(kind(&[0, 0]), "");
        assert_eq!(kind(&[255, 0, 0, 0, 1]), "");
    }

    #[test]
    fn keys_that_differ_only_in_the_comment_are_equal() {
        assert!(same_key("ssh-ed25519 AAAA me@box", "ssh-ed25519 AAAA"));
        assert!(!same_key("ssh-ed25519 AAAA", "ssh-ed25519 AAAB"));
        assert!(!same_key("ssh-ed25519 AAAA", "ssh-rsa AAAA"));
    }
}
