//! The table of `hactl backup list`.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::component::pgbackrest::{Backups, StatusBackup};

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
        let _ = writeln!(
            text,
            "the cluster can be restored to points in time from {}",
            from.strftime("%Y-%m-%d %H:%M:%SZ")
        );
    }
    if let Some(segment) = &seen.last_segment {
        let _ = writeln!(text, "newest WAL segment {segment}");
    }
    if seen.gaps.is_none() {
        text.push_str("the archive could not be listed in time: whether it lacks WAL is not known\n");
    }
    for gap in seen.gaps.iter().flatten() {
        let moment = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let to = gap
            .from
            .map_or_else(|| "on, until there is a new backup".to_owned(), |from| format!("to {}", moment(from)));
        let (segments, until) = (gap.segments(), moment(gap.until));
        let _ =
            writeln!(text, "the archive lacks {segments}: the cluster cannot be restored to a time from {until} {to}");
    }
    text
}

/// A time that has passed, in its largest unit.
fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// The lines of `hactl status` about backups.
pub(super) fn backup_lines(seen: &StatusBackup) -> String {
    let mut text = String::new();
    if let Some(last) = &seen.last {
        let age = ago(u64::try_from(seen.last_age_seconds.unwrap_or_default()).unwrap_or_default());
        let size = last.size_bytes.div_ceil(1 << 20);
        let from = seen
            .restorable_from
            .map_or_else(String::new, |from| format!("; restorable from {}", from.strftime("%Y-%m-%d %H:%M:%SZ")));
        let _ = writeln!(text, "  backup      {} ({}, {size} MiB), {age}{from}", last.label, last.kind);
    }
    let archived = seen.archived_segment.as_ref().zip(seen.archived_age_seconds);
    let archived = archived.map(|(segment, age)| format!("WAL to {segment}, {}", ago(age)));
    let failing = seen.failing_segment.as_ref().map(|segment| format!("{segment} could not be archived"));
    let both: Vec<String> = archived.into_iter().chain(failing).collect();
    if !both.is_empty() {
        let _ = writeln!(text, "  archive     {}", both.join("; "));
    }
    if let Some(at) = seen.last_restore {
        let _ = writeln!(text, "  restore     proved at {}", at.strftime("%Y-%m-%d %H:%M:%SZ"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::pgbackrest::{BackupView, Gap};

    #[test]
    fn status_has_the_last_backup_the_window_and_the_archive() {
        let time = "2026-11-30T02:20:16Z".parse().unwrap();
        let last = BackupView {
            label: "20261130-022015F".into(),
            kind: "full".into(),
            started: time,
            ended: time,
            stop_lsn: None,
            size_bytes: 31_181_764,
            added_bytes: 3_777_384,
            has_errors: false,
        };
        let mut seen = StatusBackup {
            last: Some(last),
            last_age_seconds: Some(7300),
            restorable_from: Some(time),
            archived_segment: Some("000000010000000000000007".into()),
            archived_age_seconds: Some(12),
            failing_segment: None,
            last_restore: Some(time),
        };
        assert_eq!(
            backup_lines(&seen),
            "  backup      20261130-022015F (full, 30 MiB), 2 h ago; restorable from 2026-11-30 02:20:16Z\n  \
             archive     WAL to 000000010000000000000007, 12 s ago\n  \
             restore     proved at 2026-11-30 02:20:16Z\n"
        );
        seen.last_restore = None;
        seen.failing_segment = Some("000000010000000000000008".into());
        seen.last = None;
        assert_eq!(
            backup_lines(&seen),
            "  archive     WAL to 000000010000000000000007, 12 s ago; 000000010000000000000008 could not be archived\n"
        );
        assert_eq!([119, 120, 172_800].map(ago), ["119 s ago", "2 min ago", "2 days ago"]);
    }

    #[test]
    fn backups_are_a_table_with_the_first_moment_to_restore_to() {
        let mut seen = Backups::sample(Vec::new(), None);
        assert_eq!(backups_text(&seen), "stanza pg-1a2b3c4d\nno backups yet\n");
        let time = "2026-11-30T02:20:16Z".parse().unwrap();
        seen.backups.push(BackupView {
            label: "20261130-022015F".into(),
            kind: "full".into(),
            started: time,
            ended: time,
            stop_lsn: Some("0/5000158".into()),
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
             the cluster can be restored to points in time from 2026-11-30 02:20:16Z\n\
             newest WAL segment 000000010000000000000005\n"
        );
        seen.gaps = Some(vec![Gap {
            first: "000000010000000000000003".into(),
            last: "000000010000000000000004".into(),
            until: time,
            from: None,
        }]);
        let last = "the archive lacks the WAL segments 000000010000000000000003 to 000000010000000000000004: the cluster \
                    cannot be restored to a time from 2026-11-30 02:20:16Z on, until there is a new backup\n";
        assert!(backups_text(&seen).ends_with(last), "{}", backups_text(&seen));
        seen.gaps = None;
        assert!(backups_text(&seen).ends_with("whether it lacks WAL is not known\n"), "{}", backups_text(&seen));
    }
}
