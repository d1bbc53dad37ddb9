//! What the repository of the backups says -> the lines of `hactl status`, problems and notices: pure.

use jiff::{SignedDuration, Timestamp};

use super::diagnose::Health;
use crate::{
    component::{
        Problem,
        pgbackrest::{Seen, StatusBackup},
    },
    error::Error,
    model::ProvedRestore,
    plan::Plan,
};

/// After so many days without a proof that they restore, backups are a problem.
const UNTESTED_DAYS: i64 = 14;

/// For so many seconds a repository may not answer before that is a problem.
const PATIENCE_S: u64 = 300;

impl Health {
    /// Adds what a machine says of the repository, and what is wrong with it.
    pub fn add_backups(
        &mut self,
        plan: &Plan,
        said: &Result<Seen, Error>,
        restored: Option<ProvedRestore>,
        now: Timestamp,
    ) {
        let name = &plan.cluster;
        let archiver = self.archiver.clone().unwrap_or_default();
        let mut status = StatusBackup {
            last: None,
            last_age_seconds: None,
            restorable_from: None,
            archived_age_seconds: self.archiver.as_ref().map(|archiver| archiver.since_s),
            archived_segment: archiver.archived,
            failing_segment: archiver.failing,
            last_restore: restored.map(|restored| restored.at),
        };
        match said {
            Ok(seen) => {
                status.last = seen.backups.backups.last().cloned();
                status.last_age_seconds = status.last.as_ref().map(|last| now.duration_since(last.ended).as_secs());
                status.restorable_from = seen.backups.restorable_from;
                self.judge(plan, seen, now);
                self.judge_restores(plan, seen, restored, now);
            }
            Err(error) => {
                let message = format!("the repository of the backups cannot be read: {}", error.causes.join(": "));
                self.note(
                    "backup-unknown",
                    message,
                    format!("Run `hactl backup list {name}`; check the repository and its access key"),
                );
            }
        }
        self.judge_archive(plan);
        self.backup = Some(status);
    }

    fn judge_archive(&mut self, plan: &Plan) {
        let (Some(leader), Some(archiver)) = (&self.leader, &self.archiver) else { return };
        let Some(segment) = &archiver.failing else { return };
        let problem = Problem {
            code: "archive-failing".to_owned(),
            node: Some(leader.to_string()),
            message: format!(
                "WAL segment {segment} could not be archived, nor any other for {} s: unarchived WAL is dropped when it takes a \
                 quarter of the primary's disk",
                archiver.since_s
            ),
            hint: Some(format!(
                "Run `hactl ssh {} {leader} -- hactl-pgbackrest check` to see why; check the repository and its access key",
                plan.cluster
            )),
        };
        // Also where the archive has just been set up, or one attempt failed.
        if archiver.since_s > PATIENCE_S {
            self.problems.push(problem);
        } else {
            self.notices.push(problem);
        }
    }

    fn judge(&mut self, plan: &Plan, seen: &Seen, now: Timestamp) {
        let name = &plan.cluster;
        let schedule = plan.backup.as_ref().and_then(|backup| backup.schedule);
        if schedule.is_some() && seen.scheduled_failed {
            let node = self.leader.as_ref().map(ToString::to_string);
            let place = node.as_deref().unwrap_or("NODE");
            let hint = format!("Run `hactl logs {name} {place} --unit hactl-backup-scheduled` to see why");
            let message = "the last backup of the schedule failed".to_owned();
            self.problems.push(Problem { code: "backup-failing".to_owned(), node, message, hint: Some(hint) });
        }
        let Some(last) = seen.backups.backups.last() else {
            let hint = match schedule {
                Some(_) => "Wait for the schedule, which makes the first one within 10 minutes".to_owned(),
                None => format!("Run `hactl backup now {name}`"),
            };
            return self.note("backup-missing", "the cluster has no backup yet".to_owned(), hint);
        };
        let now_hint = format!("Run `hactl backup now {name}`");
        if last.has_errors {
            let message = format!("pgBackRest found damaged pages when it made backup {}", last.label);
            let hint = "Read the log of the backup on the primary's machine; restore the damaged tables from an earlier backup";
            let (code, hint) = ("backup-damaged".to_owned(), Some(hint.to_owned()));
            self.problems.push(Problem { code, node: None, message, hint });
        }
        if seen.backups.gaps.is_none() {
            self.note(
                "backup-unknown",
                "the archive of the WAL could not be listed in time: a gap in it would not be seen".to_owned(),
                format!("Run `hactl backup list {name}`, which waits longer"),
            );
        }
        for gap in seen.backups.gaps.iter().flatten() {
            let moment = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%SZ");
            let missing = format!("the archive lacks {}", gap.segments());
            match gap.from {
                Some(from) => self.note(
                    "archive-gap",
                    format!(
                        "{missing}: the cluster cannot be restored to a time from {} to {}",
                        moment(gap.until),
                        moment(from)
                    ),
                    "Wait until the backups before the gap expire: a backup after the gap exists".to_owned(),
                ),
                None => {
                    let message =
                        format!("{missing}: the cluster cannot be restored to a time after {}", moment(gap.until));
                    let hint = Some(format!("{now_hint} --type full"));
                    self.problems.push(Problem { code: "archive-gap".to_owned(), node: None, message, hint });
                }
            }
        }
        if let Some(schedule) = schedule {
            let period = schedule.shortest();
            let age = now.duration_since(last.started);
            // One may be missed, for example during a failover. A full backup may take longer than the time between others.
            if !seen.backups.is_running && age > SignedDuration::from_secs(i64::from(period.seconds()) * 2) {
                let message = format!(
                    "the last backup, {}, began {} h ago, and the schedule is {}",
                    last.label,
                    age.as_hours(),
                    period.as_str()
                );
                let hint = format!("{now_hint}; check that the timer hactl-backup-scheduled runs on the machines");
                let code = "backup-overdue".to_owned();
                self.problems.push(Problem { code, node: None, message, hint: Some(hint) });
            }
        }
    }

    /// Finds backups that were not proved to restore for long.
    fn judge_restores(&mut self, plan: &Plan, seen: &Seen, restored: Option<ProvedRestore>, now: Timestamp) {
        let Some(oldest) = seen.backups.backups.first() else { return };
        let days = |age: SignedDuration| age.as_hours() / 24;
        let message = match restored {
            Some(ProvedRestore { at, .. }) => {
                let age = days(now.duration_since(at));
                (age > UNTESTED_DAYS).then(|| format!("the backups were last proved to restore {age} days ago"))
            }
            None => {
                let age = days(now.duration_since(oldest.ended));
                // With a shorter retention no backup is ever older.
                let kept = plan.backup.as_ref().map_or(UNTESTED_DAYS, |backup| i64::from(backup.retention.days));
                (age >= UNTESTED_DAYS.min(kept))
                    .then(|| format!("the oldest backup is {age} days old, and no backup was proved to restore"))
            }
        };
        let Some(message) = message else { return };
        let hint = Some(format!("Run `hactl backup verify {}`", plan.cluster));
        self.problems.push(Problem { code: "restore-untested".to_owned(), node: None, message, hint });
    }

    fn note(&mut self, code: &str, message: String, hint: String) {
        self.notices.push(Problem { code: code.to_owned(), node: None, message, hint: Some(hint) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        component::{
            pgbackrest::{BackupView, Backups, Gap},
            postgres::ArchiverView,
        },
        model::Choices,
        plan::decide,
        spec,
    };

    fn plan(schedule: &str) -> Plan {
        let s3 = "{bucket: b0b, endpoint: 'https://s3.example.org', region: r}";
        let text = format!("instances: {{n: {{}}}}\nbackup: {{repositories: {{main: {{s3: {s3}}}}}{schedule}}}\n");
        decide(&spec::load("t.yaml", text.as_bytes(), "t").unwrap(), &Choices::default()).unwrap()
    }

    /// What status says with the last backup begun so many hours ago.
    fn after(schedule: &str, hours: Option<i64>, change: impl Fn(&mut Seen)) -> Health {
        proved(schedule, hours, Some(0), change)
    }

    /// The same, with the backups proved to restore so many days ago.
    fn proved(schedule: &str, hours: Option<i64>, days: Option<i64>, change: impl Fn(&mut Seen)) -> Health {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let backup = hours.map(|hours| BackupView {
            started: now - SignedDuration::from_hours(hours),
            size_bytes: 1 << 30,
            added_bytes: 1 << 20,
            ..BackupView::sample(
                "20261130-022015F",
                now - SignedDuration::from_hours(hours) + SignedDuration::from_secs(60),
            )
        });
        let restorable_from = backup.as_ref().map(|backup| backup.ended);
        let backups: Vec<BackupView> = backup.into_iter().collect();
        let backups = Backups::sample(backups, restorable_from);
        let mut seen = Seen { backups, scheduled_failed: false };
        change(&mut seen);
        let archiver =
            ArchiverView { archived: Some("000000010000000000000007".to_owned()), failing: None, since_s: 12 };
        let leader = Some("n".parse().unwrap());
        let mut health = Health { leader, archiver: Some(archiver), ..Health::default() };
        let restored = days.map(|days| ProvedRestore { at: now - SignedDuration::from_hours(24 * days), seconds: 90 });
        health.add_backups(&plan(schedule), &Ok(seen), restored, now);
        health
    }

    fn codes(health: &Health) -> (Vec<&str>, Vec<&str>) {
        (
            health.problems.iter().map(|problem| problem.code.as_str()).collect(),
            health.notices.iter().map(|problem| problem.code.as_str()).collect(),
        )
    }

    const DAILY: &str = ", schedule: {full: weekly, incremental: daily}";

    #[test]
    fn backup_that_the_schedule_misses_twice_is_a_problem() {
        let none: (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        assert_eq!(codes(&after(DAILY, Some(47), |_| ())), none);
        let late = after(DAILY, Some(49), |_| ());
        assert_eq!(codes(&late), (vec!["backup-overdue"], vec![]));
        assert!(late.problems[0].message.contains("began 49 h ago, and the schedule is daily"), "{:?}", late.problems);
        assert_eq!(codes(&after(DAILY, Some(49), |seen| seen.backups.is_running = true)), none);
        // Without a schedule no age is too old.
        assert_eq!(codes(&after("", Some(1000), |_| ())), none);
    }

    #[test]
    fn failed_and_damaged_backups_are_problems_and_no_backup_is_a_notice() {
        let failed = after(DAILY, Some(1), |seen| seen.scheduled_failed = true);
        assert_eq!(codes(&failed), (vec!["backup-failing"], vec![]));
        assert_eq!(failed.problems[0].node.as_deref(), Some("n"));
        // The unit that is left of a schedule that is no more.
        assert_eq!(codes(&after("", Some(1), |seen| seen.scheduled_failed = true)), (vec![], vec![]));
        let damaged = after("", Some(1), |seen| seen.backups.backups[0].has_errors = true);
        assert_eq!(codes(&damaged), (vec!["backup-damaged"], vec![]));
        assert_eq!(codes(&after("", None, |_| ())), (vec![], vec!["backup-missing"]));
        assert_eq!(codes(&after(DAILY, None, |_| ())), (vec![], vec!["backup-missing"]));
    }

    #[test]
    fn gap_of_the_archive_is_a_problem_until_a_backup_is_made() {
        let gap = |from: Option<&str>| Gap {
            first: "000000010000000000000006".to_owned(),
            last: "000000010000000000000007".to_owned(),
            until: "2026-11-30T11:00:00Z".parse().unwrap(),
            from: from.map(|from| from.parse().unwrap()),
        };
        let open = after("", Some(2), |seen| seen.backups.gaps = Some(vec![gap(None)]));
        assert_eq!(codes(&open), (vec!["archive-gap"], vec![]));
        assert!(open.problems[0].message.contains("after 2026-11-30 11:00:00Z"), "{:?}", open.problems);
        let closed = after("", Some(2), |seen| seen.backups.gaps = Some(vec![gap(Some("2026-11-30T11:30:00Z"))]));
        assert_eq!(codes(&closed), (vec![], vec!["archive-gap"]));
        let unknown = after("", Some(2), |seen| seen.backups.gaps = None);
        assert_eq!(codes(&unknown), (vec![], vec!["backup-unknown"]));
    }

    #[test]
    fn backups_that_nothing_has_restored_for_two_weeks_are_a_problem() {
        let seen = |hours: i64, days: Option<i64>, rest: &str| proved(rest, Some(hours), days, |_| ());
        for (hours, days, rest, found) in [
            (24, Some(14), "", false),
            (24, Some(15), "", true),
            (24 * 13, None, "", false),
            (24 * 14 + 1, None, "", true),
            // With a shorter retention no backup gets that old.
            (24 * 3 + 1, None, ", retention: {days: 3}", true),
        ] {
            let health = seen(hours, days, rest);
            let expected: Vec<&str> = found.then_some("restore-untested").into_iter().collect();
            assert_eq!(codes(&health), (expected, vec![]), "{hours} {days:?} {rest}");
        }
        let late = seen(24, Some(15), "");
        assert!(late.problems[0].message.contains("15 days ago"), "{:?}", late.problems);
        assert!(late.backup.unwrap().last_restore.is_some());
        assert_eq!(codes(&proved("", None, None, |_| ())), (vec![], vec!["backup-missing"]));
    }

    #[test]
    fn archive_that_fails_is_a_notice_and_after_five_minutes_a_problem() {
        let failing =
            |since_s| ArchiverView { archived: None, failing: Some("000000010000000000000007".into()), since_s };
        let judged = |archiver| {
            let mut health =
                Health { leader: Some("n".parse().unwrap()), archiver: Some(archiver), ..Health::default() };
            health.judge_archive(&plan(""));
            health
        };
        let short = judged(failing(60));
        assert_eq!(codes(&short), (vec![], vec!["archive-failing"]));
        let long = judged(failing(301));
        assert_eq!(codes(&long), (vec!["archive-failing"], vec![]));
        assert!(long.problems[0].message.contains("000000010000000000000007"), "{:?}", long.problems);
        let well = ArchiverView { archived: Some("1".into()), failing: None, since_s: 1000 };
        assert_eq!(codes(&judged(well)), (vec![], vec![]));
    }

    #[test]
    fn archive_is_shown_although_the_repository_cannot_be_read() {
        let shown = after("", Some(2), |_| ()).backup.unwrap();
        assert_eq!((shown.last_age_seconds, shown.archived_age_seconds), (Some(7140), Some(12)));
        assert_eq!(shown.restorable_from, Some("2026-11-30T10:01:00Z".parse().unwrap()));
        let archiver =
            ArchiverView { archived: None, failing: Some("000000010000000000000008".to_owned()), since_s: 40 };
        let mut health = Health { archiver: Some(archiver), ..Health::default() };
        let error =
            Error::failed("backup-repository", "read the backups in", "the repository").cause("no route to host");
        health.add_backups(&plan(""), &Err(error), None, Timestamp::now());
        assert_eq!(codes(&health), (vec![], vec!["backup-unknown"]));
        assert!(health.notices[0].message.ends_with("cannot be read: no route to host"), "{:?}", health.notices);
        let shown = health.backup.unwrap();
        assert_eq!((shown.last, shown.archived_segment), (None, None));
        assert_eq!(shown.failing_segment.as_deref(), Some("000000010000000000000008"));
    }
}
