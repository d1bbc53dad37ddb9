//! What the handle of a session and the thread that serves it say to each other.

use std::os::unix::net::UnixStream;

use tokio::sync::oneshot;

use super::error::Seen;

/// A finished command on a node.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// What a command that must succeed has printed.
    ///
    /// # Errors
    /// Its status and what it said, as the cause of an error.
    pub fn output(self) -> Result<String, String> {
        match self.status {
            0 => Ok(self.stdout),
            status => Err(format!("the script exited with status {status}: {}", self.stderr.trim())),
        }
    }
}

/// A channel that is asked for.
pub(super) enum Request {
    Run { command: String, input: Vec<u8>, reply: oneshot::Sender<Result<Finished, Seen>> },
    Tunnel { host: String, port: u16, stream: UnixStream, reply: oneshot::Sender<Result<(), Seen>> },
}

impl Request {
    /// Whether its caller no longer waits.
    pub(super) fn is_given_up(&self) -> bool {
        match self {
            Self::Run { reply, .. } => reply.is_closed(),
            Self::Tunnel { reply, .. } => reply.is_closed(),
        }
    }
}
