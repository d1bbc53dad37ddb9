//! The table of `hactl backup list`.

use std::fmt::Write as _;

use crate::component::pgbackrest::Backups;

/// The backups of a cluster, for people.
#[must_use]
pub fn backups_text(seen: &Backups) -> String {
    let mut text = format!("stanza {}\n", seen.stanza);
    if seen.backups.is_empty() {
        text.push_str("no backups yet\n");
    } else {
        let _ = writeln!(text, "{:<34} {:<5} {:<21} {:>12} {:>12}", "backup", "type", "ended", "size", "added");
    }
    for backup in &seen.backups {
        let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
        let ended = backup.ended.strftime("%Y-%m-%d %H:%M:%SZ");
        let _ = writeln!(
            text,
            "{:<34} {:<5} {ended:<21} {:>12} {:>12}{}",
            backup.label,
            backup.kind,
            mib(backup.size_bytes),
            mib(backup.added_bytes),
            if backup.has_errors { "  damaged pages" } else { "" }
        );
    }
    if let Some(from) = seen.restorable_from {
        let _ = writeln!(text, "the cluster can be restored to moments from {}", from.strftime("%Y-%m-%d %H:%M:%SZ"));
    }
    if let Some(segment) = &seen.last_segment {
        let _ = writeln!(text, "newest WAL segment {segment}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::pgbackrest::BackupView;

    #[test]
    fn backups_are_a_table_with_the_first_moment_to_restore_to() {
        let mut seen =
            Backups { stanza: "pg-1a2b3c4d".into(), backups: Vec::new(), restorable_from: None, last_segment: None };
        assert_eq!(backups_text(&seen), "stanza pg-1a2b3c4d\nno backups yet\n");
        let time = "2026-11-30T02:20:16Z".parse().unwrap();
        seen.backups.push(BackupView {
            label: "20261130-022015F".into(),
            kind: "full".into(),
            started: time,
            ended: time,
            size_bytes: 31_181_764,
            added_bytes: 3_777_384,
            has_errors: false,
        });
        seen.restorable_from = Some(time);
        seen.last_segment = Some("000000010000000000000005".into());
        assert_eq!(
            backups_text(&seen),
            "stanza pg-1a2b3c4d\n\
             backup                             type  ended                         size        added\n\
             20261130-022015F                   full  2026-11-30 02:20:16Z       30 MiB        4 MiB\n\
             the cluster can be restored to moments from 2026-11-30 02:20:16Z\n\
             newest WAL segment 000000010000000000000005\n"
        );
    }
}
