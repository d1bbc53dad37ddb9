//! What backups need of the servers.

use serde_json::Value;

/// The package of pgBackRest, in every distribution.
pub(super) const PACKAGE: &str = "pgbackrest";

/// The parameters of a cluster with backups. The command is a program of the role `pgbackrest`, so that no setting of a
/// repository is a parameter of the server.
pub(super) fn parameters() -> [(String, Value); 3] {
    [
        ("archive_mode", "on"),
        ("archive_command", "/usr/local/sbin/hactl-pgbackrest archive-push %p"),
        // A commit is in the archive after this time, however little is written.
        ("archive_timeout", "60s"),
    ]
    .map(|(name, value)| (name.to_owned(), value.into()))
}
