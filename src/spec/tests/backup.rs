//! Where backups go, and what the cluster file must say with them.

use super::*;
use crate::model::{Account, RepositoryName};

fn with(repositories: &str, rest: &str) -> String {
    format!("{THREE}backup: {{repositories: {repositories}{rest}}}\n")
}

const S3: &str = "bucket: pg-backups, endpoint: 'https://s3.eu-central-1.amazonaws.com', region: eu-central-1";

#[test]
fn backup_without_options_has_its_defaults() {
    assert_eq!(good(THREE).backup, None);
    let backup = good(&with(&format!("{{main: {{s3: {{{S3}}}}}}}"), "")).backup.unwrap();
    let s3 = backup.repositories.values().next().unwrap();
    assert_eq!((s3.host.as_str(), s3.port, s3.path.as_str()), ("s3.eu-central-1.amazonaws.com", 443, "/pgbackrest"));
    assert!(!s3.path_style && s3.ca.is_none() && backup.stanza.is_none());
    assert_eq!((backup.retention.full, backup.retention.days), (2, 14));
    let own = "{main: {s3: {bucket: pg-backups, endpoint: 'https://minio.example.org:9000/', region: local}}}";
    let backup = good(&with(own, ", retention: {full: 1, days: 3}, stanza: pg-2")).backup.unwrap();
    let s3 = backup.repositories.values().next().unwrap();
    assert_eq!((s3.host.as_str(), s3.port, s3.path_style), ("minio.example.org", 9000, true));
    assert_eq!((backup.retention.full, backup.retention.days), (1, 3));
    let accounts: Vec<String> = backup.accounts().map(|account| account.to_string()).collect();
    assert_eq!(accounts, ["backup.main.key", "backup.main.secret", "backup.main.passphrase"]);
}

#[test]
fn authority_of_the_store_is_read_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let of = |ca: &str| {
        let text = with(&format!("{{main: {{s3: {{{S3}, ca: {ca}}}}}}}"), "");
        crate::spec::load::load_from(dir.path(), "c.yaml", text.as_bytes(), "c")
    };
    std::fs::write(dir.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n").unwrap();
    std::fs::write(dir.path().join("key.pem"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let ca = of("ca.pem").unwrap().backup.unwrap().repositories.into_values().next().unwrap().ca.unwrap();
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"));
    for (file, said) in [("none.pem", "none.pem cannot be read"), ("key.pem", "key.pem has no certificate in PEM")] {
        let Err(problems) = of(file) else { panic!("{file} is accepted") };
        let text: String = problems.problems().iter().map(|problem| problem.to_string()).collect();
        assert!(text.contains("backup.repositories.main.s3.ca") && text.contains(said), "{text}");
    }
}

#[test]
fn backup_that_cannot_be_made_is_a_problem_at_its_place() {
    let table = [
        ("{}", "", "expected one repository, found 0"),
        ("{main: {}}", "", "backup.repositories.main: names no store"),
        ("{main: {s3: {}}}", "", "`bucket` is missing"),
        ("{main: {s3: {bucket: b0b, endpoint: 'http://s3.example.org', region: r}}}", "", "https://HOST"),
        (
            "{main: {s3: {bucket: b0b, endpoint: 'https://s3.example.org:99999', region: r}}}",
            "",
            "`99999` is not a port",
        ),
        ("{main: {host: backup1}}", "", "backup.repositories.main.host"),
        ("{main: {path: /mnt/backup}}", "", "backup.repositories.main.path"),
        ("{Main: {}}", "", "1 to 20 lower-case letters and digits"),
    ];
    for (repositories, rest, expected) in table {
        let text = wrong(&with(repositories, rest));
        assert!(text.contains(expected), "{repositories}: {text}");
    }
    let two = format!("{{a: {{s3: {{{S3}}}}}, b: {{s3: {{{S3}}}}}}}");
    assert!(wrong(&with(&two, "")).contains("expected one repository, found 2: hactl writes to one"));
    let one = format!("{{main: {{s3: {{{S3}}}}}}}");
    for (rest, expected) in [
        (", retention: {days: 0}", "backup.retention.days"),
        (", restore_test: weekly", "backup.restore_test"),
        (", schedule: {incremental: hourly}", "`full` is missing"),
        (", schedule: {full: yearly}", "`yearly` is not one of hourly, daily, weekly, monthly"),
        (
            ", schedule: {full: daily, differential: daily}",
            "backup.schedule.differential: `daily` is not more often than `daily`, the time of `full`",
        ),
        (
            ", schedule: {full: weekly, differential: hourly, incremental: daily}",
            "backup.schedule.incremental: `daily` is not more often than `hourly`, the time of `differential`",
        ),
    ] {
        let text = wrong(&with(&one, rest));
        assert!(text.contains(expected), "{rest}: {text}");
    }
}

#[test]
fn parameters_that_backups_set_and_secrets_of_no_repository_are_problems() {
    let one = format!("{{main: {{s3: {{{S3}}}}}}}");
    let text = wrong(&format!(
        "{}postgres: {{parameters: {{archive_command: 'cp %p /mnt/%f', archive_timeout: 30}}}}\n\
         secrets: {{backup: {{mian: {{key: {{command: [pass, show]}}}}}}}}\n",
        with(&one, "")
    ));
    assert!(
        text.contains("postgres.parameters.archive_command: cannot be set in a cluster file with `backup`"),
        "{text}"
    );
    assert!(text.contains("secrets.backup.mian: `mian` is no repository of this file (did you mean main?)"), "{text}");
    assert!(!text.contains("archive_timeout"), "{text}");
    let given = good(&format!("{}secrets: {{backup: {{main: {{key: {{command: [pass]}}}}}}}}\n", with(&one, "")));
    let name = RepositoryName::new("main").unwrap();
    let account = Account::Repository(name, crate::model::RepositorySecret::Key);
    assert!(given.secrets.iter().any(|secret| secret.account == account));
}

#[test]
fn schedule_reaches_the_timer_in_seconds() {
    let one = format!("{{main: {{s3: {{{S3}}}}}}}");
    let kinds = |rest: &str| {
        let schedule = good(&with(&one, rest)).backup.unwrap().schedule;
        schedule.map(|schedule| {
            let kinds: Vec<(&str, u32)> = schedule.kinds().map(|(kind, period)| (kind, period.seconds())).collect();
            (kinds, schedule.shortest().as_str())
        })
    };
    assert_eq!(kinds(""), None);
    assert_eq!(kinds(", schedule: {full: monthly}"), Some((vec![("full", 2_592_000)], "monthly")));
    assert_eq!(
        kinds(", schedule: {full: weekly, differential: daily, incremental: hourly}"),
        Some((vec![("full", 604_800), ("diff", 86_400), ("incr", 3600)], "hourly"))
    );
    assert_eq!(
        kinds(", schedule: {full: weekly, incremental: daily}"),
        Some((vec![("full", 604_800), ("incr", 86_400)], "daily"))
    );
}
