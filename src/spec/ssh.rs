//! `ssh` of the file -> how hactl reaches the machines.

use super::{checker::Checker, file::SshFile};
use crate::model::{Bastion, SSH_PORT, Ssh, SshKeySource};

/// The word that selects the SSH agent's keys instead of a file.
const AGENT: &str = "agent";

/// The section `ssh` of `platform`, with its defaults.
pub(super) fn ssh(
    checker: &mut Checker<'_, '_>,
    platform: &str,
    written: SshFile,
    user: &str,
    key: SshKeySource,
) -> Ssh {
    let bastion = written.bastion.and_then(|text| match text.parse::<Bastion>() {
        Ok(bastion) => Some(bastion),
        Err(message) => {
            checker.say(&["platform", platform, "ssh", "bastion"], message);
            None
        }
    });
    Ssh {
        user: written.user.unwrap_or_else(|| user.to_owned()),
        port: written.port.unwrap_or(SSH_PORT),
        key: self::key(checker, written.key, key),
        bastion,
    }
}

/// The key that opens the machines: the agent's, a file, or `default`.
pub(super) fn key(checker: &Checker<'_, '_>, written: Option<String>, default: SshKeySource) -> SshKeySource {
    match written.as_deref() {
        None => default,
        Some(AGENT) => SshKeySource::Agent,
        Some(path) => SshKeySource::File(checker.beside(path)),
    }
}
