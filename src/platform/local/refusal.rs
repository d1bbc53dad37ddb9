//! Why the container engine refused. The only place that reads the engine's words: its HTTP status says less.

use std::fmt;

use bollard::errors::Error as DockerError;

use crate::error::Error;

/// Why the engine refused, as far as hactl acts on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// There is no such object.
    Absent,
    /// There is no such image.
    NoImage,
    /// The object is in use, or in a state that does not allow it.
    Conflict,
    /// The engine's file system has no room.
    DiskFull,
    /// This user may not open the engine's socket.
    PermissionDenied,
    /// A port that was to be published has another owner.
    PortTaken,
    /// A network of these addresses is there.
    SubnetOverlaps,
    /// Anything else.
    Other,
}

impl Refusal {
    /// Reads an error of the engine.
    pub(super) fn of(error: &DockerError) -> Self {
        let chain = chain(error);
        if chain.contains("no space left on device") {
            return Self::DiskFull;
        }
        match error {
            DockerError::DockerResponseServerError { status_code: 404, message } if message.contains("image") => {
                Self::NoImage
            }
            DockerError::DockerResponseServerError { status_code: 404, .. } => Self::Absent,
            DockerError::DockerResponseServerError { status_code: 409, .. } => Self::Conflict,
            DockerError::DockerResponseServerError { message, .. } => {
                if message.contains("port is already allocated") || message.contains("address already in use") {
                    Self::PortTaken
                } else if message.contains("overlaps") {
                    Self::SubnetOverlaps
                } else {
                    Self::Other
                }
            }
            _ if chain.to_lowercase().contains("permission denied") => Self::PermissionDenied,
            _ => Self::Other,
        }
    }
}

/// An error of the engine, with advice where its cause is known.
pub(super) fn fault(what: impl Into<String>, object: impl fmt::Display, error: &DockerError) -> Error {
    let failed = |code| Error::failed(code, what, object).source(error);
    match Refusal::of(error) {
        Refusal::DiskFull => failed("disk-full")
            .hint("Run `hactl image prune` to free disk space; `docker system df` shows what else uses it"),
        _ if is_broken(error) => {
            failed("engine-gone").hint("Start the container engine again, then run the same command again to resume")
        }
        _ => failed("engine"),
    }
}

/// Whether the connection to the engine broke.
const fn is_broken(error: &DockerError) -> bool {
    matches!(
        error,
        DockerError::HyperResponseError { .. } | DockerError::HyperLegacyError { .. } | DockerError::IOError { .. }
    )
}

/// The error and its sources, in one line.
fn chain(error: &DockerError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// Whether the engine says that the object is not there.
pub(super) fn is_absent(error: &DockerError) -> bool {
    matches!(Refusal::of(error), Refusal::Absent | Refusal::NoImage)
}

/// `Ok(None)` for an object that is not there.
pub(super) fn optional<T>(found: Result<T, DockerError>) -> Result<Option<T>, DockerError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_engine_answers_give_the_expected_refusal() {
        let recorded = [
            (404, "No such container: pg-node1", Refusal::Absent),
            (404, "No such image: hactl/node:0123456789ab", Refusal::NoImage),
            (404, "network hactl-overlaps not found", Refusal::Absent),
            (409, "removal of container pg-node1 is already in progress", Refusal::Conflict),
            (
                500,
                "driver failed programming external connectivity on endpoint pg-node1: Bind for 127.0.0.1:23022 failed: \
                 port is already allocated",
                Refusal::PortTaken,
            ),
            (
                500,
                "failed to bind host port for 127.0.0.1:23022:10.89.0.10:22/tcp: address already in use",
                Refusal::PortTaken,
            ),
            (403, "Pool overlaps with other one on this address space", Refusal::SubnetOverlaps),
            (500, "write /var/lib/docker/x: no space left on device", Refusal::DiskFull),
            (500, "something new", Refusal::Other),
        ];
        for (status_code, message, refusal) in recorded {
            let error = DockerError::DockerResponseServerError { status_code, message: message.to_owned() };
            assert_eq!(Refusal::of(&error), refusal, "{message}");
        }
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(Refusal::of(&DockerError::IOError { err: denied }), Refusal::PermissionDenied);
    }

    #[test]
    fn engine_error_on_a_full_disk_has_the_code_disk_full() {
        let error = DockerError::DockerResponseServerError {
            status_code: 500,
            message: "write /var/lib/docker/x: no space left on device".to_owned(),
        };
        assert_eq!(fault("commit", "image", &error).code, "disk-full");
        let err = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(fault("commit", "image", &DockerError::IOError { err }).code, "engine-gone");
    }
}
