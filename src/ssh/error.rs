//! What goes wrong over SSH. Code decides by [`SshFailure`]; users read the [`Error`] around it.

use std::fmt;

use crate::error::Error;

/// Why something over SSH failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SshFailure {
    /// No connection, or no SSH server on it. The machine may still be booting.
    Unreachable,
    /// The connection was accepted, and then nothing came.
    Silent,
    /// The machine shows another host key than the one that is recorded, or known to the user's own ssh.
    OtherHostKey,
    /// No host key is recorded, so none can be trusted.
    UnknownHostKey,
    /// The server refuses the user or the key.
    KeyRefused,
    /// The server allows no tunnel to that address.
    TunnelProhibited,
    /// The session works, and the server opens no channel: nothing listens on the port, say.
    ChannelRefused,
    /// The connection was cut.
    SessionEnded,
    /// No answer came in time.
    TimedOut,
    /// This machine could not do its part.
    Local,
}

impl SshFailure {
    /// The error's word for scripts.
    const fn code(self) -> &'static str {
        match self {
            Self::OtherHostKey => "host-key",
            Self::KeyRefused => "ssh-key-refused",
            Self::TunnelProhibited => "ssh-forwarding",
            _ => "ssh",
        }
    }
}

/// What was seen when something failed.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) failure: SshFailure,
    /// The bastion, as `HOST:PORT`, where it was seen there and not on the machine behind it.
    bastion: Option<Box<str>>,
    /// With the place where it was seen.
    pub(super) words: String,
    hint: Option<String>,
    /// The number of keys that the server has seen, where it ended the session because of them and there are more.
    pub(super) keys_from: Option<usize>,
}

impl Seen {
    pub(super) fn new(failure: SshFailure, words: impl Into<String>) -> Self {
        Self { failure, bastion: None, words: words.into(), hint: None, keys_from: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the hint that fits every failed connection, where there is none yet.
    pub(super) fn or_default_hint(self) -> Self {
        if self.hint.is_some() {
            self
        } else {
            self.hint("Check that the machine is running and that the address is right")
        }
    }

    /// The same, seen on the bastion at `place`.
    pub(super) fn on_bastion(mut self, place: impl fmt::Display) -> Self {
        self.bastion = Some(place.to_string().into());
        // The keys of the bastion, not those of the machine.
        self.keys_from = None;
        self
    }

    /// Whether another attempt may end differently. On a machine that was just created, the first boot may still have
    /// to bring the user and the key.
    pub(super) fn may_pass(&self, just_created: bool) -> bool {
        match self.failure {
            SshFailure::Unreachable | SshFailure::Silent => true,
            SshFailure::KeyRefused => self.awaits_first_boot(just_created),
            _ => false,
        }
    }

    /// Whether the first boot of the machine may bring what is missing. The bastion was not created with it.
    pub(super) fn awaits_first_boot(&self, just_created: bool) -> bool {
        just_created && self.failure == SshFailure::KeyRefused && self.bastion.is_none()
    }

    /// As the error of what was being done to which machine.
    pub(super) fn into_error(self, what: &str, object: impl fmt::Display) -> SshError {
        let error = Error::failed(self.failure.code(), what, object).cause(self.words);
        let error = self.hint.into_iter().fold(error, Error::hint);
        SshError { failure: self.failure, bastion: self.bastion, error: Box::new(error) }
    }
}

/// What could not be done over SSH, and why.
#[derive(Clone, Debug)]
pub struct SshError {
    pub failure: SshFailure,
    /// The bastion, as `HOST:PORT`, where that is what failed.
    pub bastion: Option<Box<str>>,
    error: Box<Error>,
}

impl SshError {
    /// This machine could not do its part.
    pub(super) fn local(what: &str, object: impl fmt::Display, error: &(dyn std::error::Error + 'static)) -> Self {
        let failure = SshFailure::Local;
        let error = Error::failed(failure.code(), what, object).source(error);
        Self { failure, bastion: None, error: Box::new(error) }
    }

    /// Why, the nearest cause first.
    #[must_use]
    pub fn causes(&self) -> &[String] {
        &self.error.causes
    }

    pub(super) fn cause(mut self, cause: impl fmt::Display) -> Self {
        *self.error = self.error.cause(cause);
        self
    }
}

impl From<SshError> for Error {
    fn from(error: SshError) -> Self {
        *error.error
    }
}

impl fmt::Display for SshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for SshError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_attempt_is_repeated_only_if_waiting_can_help() {
        let seen = |failure| Seen::new(failure, "seen");
        for failure in [SshFailure::Unreachable, SshFailure::Silent] {
            assert!(seen(failure).may_pass(false) && seen(failure).on_bastion("b:22").may_pass(false));
        }
        for failure in [SshFailure::OtherHostKey, SshFailure::UnknownHostKey, SshFailure::TunnelProhibited] {
            assert!(!seen(failure).may_pass(true), "{failure:?}");
        }
        let refused = seen(SshFailure::KeyRefused);
        assert!(refused.may_pass(true) && !refused.may_pass(false));
        // The bastion was not created with the machine: no first boot will bring the key there.
        assert!(!refused.on_bastion("b:22").may_pass(true));
    }

    #[test]
    fn failed_connection_error_has_machine_cause_and_hint() {
        let seen = Seen::new(SshFailure::OtherHostKey, "h:22 shows another host key").hint("Check it");
        let error = seen.on_bastion("h:22").into_error("connect by SSH to", "node1").cause("gave up after 2 attempts");
        assert_eq!((error.failure, error.bastion.as_deref()), (SshFailure::OtherHostKey, Some("h:22")));
        let error = Error::from(error);
        assert_eq!(error.code, "host-key");
        assert_eq!(
            error.to_string(),
            "cannot connect by SSH to node1\n  cause: h:22 shows another host key\n  cause: gave up after 2 \
             attempts\n  \
             hint: Check it"
        );
        let silent =
            Seen::new(SshFailure::Silent, "nothing").or_default_hint().into_error("connect by SSH to", "node1");
        assert!(
            silent.to_string().ends_with("  hint: Check that the machine is running and that the address is right"),
            "{silent}"
        );
    }
}
