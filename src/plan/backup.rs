//! What backups need of the servers.

use serde_json::Value;

/// The package of pgBackRest, in every distribution.
pub(super) const PACKAGE: &str = "pgbackrest";

/// A program of the role `pgbackrest`, so that no setting of a repository is a parameter of the server.
pub(super) const ARCHIVE_COMMAND: &str = "/usr/local/sbin/hactl-pgbackrest archive-push %p";

/// The parameters of a cluster with backups.
pub(super) fn parameters() -> [(String, Value); 3] {
    [
        ("archive_mode", "on"),
        ("archive_command", ARCHIVE_COMMAND),
        // A commit is in the archive after this time, however little is written.
        ("archive_timeout", "60s"),
    ]
    .map(|(name, value)| (name.to_owned(), value.into()))
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{Choices, Settled},
        plan::{Plan, decide},
        spec,
    };

    const BACKUP: &str =
        "backup: {repositories: {main: {s3: {bucket: b0b, endpoint: 'https://s3.example.org', region: r}}}}";

    fn plan(text: &str, settled: Option<Settled>) -> Plan {
        let text = format!("instances: {{node1: {{}}, node2: {{}}, node3: {{}}}}\n{text}");
        let choices = Choices { settled, ..Choices::default() };
        decide(&spec::load("t.yaml", text.as_bytes(), "t").unwrap(), &choices).unwrap()
    }

    #[test]
    fn backups_change_no_parameter_of_a_new_cluster_that_needs_a_restart() {
        let (without, with) = (plan("", None), plan(BACKUP, None));
        assert!(!without.postgres.packages.contains(&"pgbackrest".to_owned()));
        assert!(with.postgres.packages.contains(&"pgbackrest".to_owned()));
        let (before, after) = (&without.postgres.parameters, &with.postgres.parameters);
        let changed: Vec<&String> =
            after.iter().filter(|(name, value)| before.get(*name) != Some(*value)).map(|(name, _)| name).collect();
        assert_eq!(changed, ["archive_command", "archive_timeout"]);
        assert_eq!(after["archive_command"], "/usr/local/sbin/hactl-pgbackrest archive-push %p");
        assert!(without.backup.is_none() && with.backup.is_some());
    }

    #[test]
    fn cluster_that_began_without_an_archive_gets_one_and_the_file_decides_the_timeout() {
        let settled = Settled { birth: 0, archives: false, ..plan("", None).settled() };
        assert!(!plan("", Some(settled.clone())).postgres.parameters.contains_key("archive_mode"));
        let text = format!("{BACKUP}\npostgres: {{parameters: {{archive_timeout: 30s}}}}");
        let parameters = plan(&text, Some(settled)).postgres.parameters;
        assert_eq!((&parameters["archive_mode"], &parameters["archive_timeout"]), (&"on".into(), &"30s".into()));
    }

    #[test]
    fn cluster_whose_backups_are_removed_keeps_no_wal_for_them_and_restarts_nothing() {
        for birth in [0, plan("", None).settled().birth] {
            let began = Settled { birth, archives: birth > 0, ..plan("", None).settled() };
            let with = plan(BACKUP, Some(began)).settled();
            // Twice: the record has no backups then.
            let after = plan("", Some(plan("", Some(with)).settled())).postgres.parameters;
            assert_eq!(
                (&after["archive_mode"], &after["archive_command"]),
                (&"on".into(), &"/bin/true".into()),
                "{birth}"
            );
        }
        // An archive of the file's own is none of hactl's.
        let own = "postgres: {parameters: {archive_mode: 'on', archive_command: 'cp %p /mnt/%f'}}";
        let began = Settled { birth: 0, archives: false, ..plan("", None).settled() };
        assert!(!plan(own, Some(began)).settled().archives);
    }
}
