//! Who holds a lock, and the error of a lock that another run holds.

use std::{collections::BTreeMap, fs, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{context::RunContext, env, error::Error, model::ClusterName};

/// How long the lock of a run that died remains.
pub(super) const TTL: Duration = Duration::from_secs(30);

/// How often it is renewed: several renewals may fail before it expires.
pub(super) const RENEWS_EVERY: Duration = Duration::from_secs(5);

/// Who holds a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// `USER@HOST`.
    owner: String,
    command: String,
    /// The run's record, and where CI shows it.
    run: String,
    since: Timestamp,
    /// Tells apart two runs whose other fields are equal.
    token: Uuid,
}

impl Holder {
    /// The holder that `run` is.
    pub(super) fn of(run: &RunContext, command: String) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let record = run.record().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::new(&run.context.env, &host, command, &record, Timestamp::now())
    }

    fn new(env: &BTreeMap<String, String>, host: &str, command: String, record: &str, since: Timestamp) -> Self {
        let var = |name: &str| env.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
        let user = var(env::USER).map(str::to_owned).or(user).unwrap_or_else(|| "unknown".to_owned());
        let github = || {
            let (server, repository) = (var(env::GITHUB_SERVER_URL)?, var(env::GITHUB_REPOSITORY)?);
            Some(format!("{server}/{repository}/actions/runs/{}", var(env::GITHUB_RUN_ID)?))
        };
        let job = github().or_else(|| var(env::CI_JOB_URL).map(str::to_owned));
        let run = job.map_or_else(|| record.to_owned(), |job| format!("{record}, {job}"));
        Self { owner: format!("{user}@{}", host.trim()), command, run, since, token: Uuid::new_v4() }
    }

    fn words(&self) -> String {
        format!("locked by `{}` ({}, run {}) since {:.0}", self.command, self.owner, self.run, self.since)
    }
}

pub(super) fn words(value: &str) -> String {
    let holder = serde_json::from_str::<Holder>(value);
    holder.map_or_else(|_| "locked by a run of another version of hactl".to_owned(), |holder| holder.words())
}

/// The error of a cluster that another run works on.
pub(super) fn held(cluster: &ClusterName, value: &str, seconds: u64, now: Timestamp) -> Error {
    let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or_default());
    let until = now.checked_add(seconds).unwrap_or(now);
    Error::failed("cluster-locked", "lock", cluster)
        .cause(format!("{}; the lock expires at {until:.0} unless that run renews it", words(value)))
        .hint(format!(
            "Wait until that run has ended, then run the same command again; the lock of a run that died expires {} s \
             after its last renewal",
            TTL.as_secs()
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn lock_holder_in_ci_is_described_with_its_job() {
        let since = Timestamp::UNIX_EPOCH;
        let told = |pairs: &[(&str, &str)]| {
            Holder::new(&env(pairs), "box\n", "hactl up pg".to_owned(), "19700101T000000-up", since).words()
        };
        assert_eq!(
            told(&[("USER", "me")]),
            "locked by `hactl up pg` (me@box, run 19700101T000000-up) since 1970-01-01T00:00:00Z"
        );
        let github = [
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "me/db"),
            ("GITHUB_RUN_ID", "7"),
            ("USER", "runner"),
        ];
        assert!(
            told(&github).contains("(runner@box, run 19700101T000000-up, https://github.com/me/db/actions/runs/7)")
        );
        assert!(told(&[("CI_JOB_URL", "https://git/j/1")]).contains("@box, run 19700101T000000-up, https://git/j/1)"));
    }

    #[test]
    fn held_lock_error_names_holder_times_and_next_step() {
        let holder =
            Holder::new(&env(&[("USER", "me")]), "box", "hactl verify pg".to_owned(), "r", Timestamp::UNIX_EPOCH);
        let value = serde_json::to_string(&holder).unwrap();
        let error = held(&"pg".parse().unwrap(), &value, 27, Timestamp::UNIX_EPOCH);
        assert_eq!((error.kind.exit_code(), error.code), (1, "cluster-locked"));
        let text = error.to_string();
        for word in [
            "`hactl verify pg` (me@box, run r)",
            "since 1970-01-01T00:00:00Z",
            "expires at 1970-01-01T00:00:27Z",
            "30 s",
        ] {
            assert!(text.contains(word), "no {word} in {text}");
        }
        assert!(held(&"pg".parse().unwrap(), "{}", 1, Timestamp::UNIX_EPOCH).to_string().contains("another version"));
    }

    #[test]
    fn lock_value_has_the_fields_that_other_versions_read() {
        let holder = Holder::new(&env(&[]), "box", "hactl up pg".to_owned(), "r", Timestamp::UNIX_EPOCH);
        let value = serde_json::to_value(holder).unwrap();
        let fields: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["owner", "command", "run", "since", "token"]);
    }

    #[test]
    fn runs_with_equal_fields_have_different_lock_holders() {
        let holder = || Holder::new(&env(&[]), "box", "hactl up pg".to_owned(), "r", Timestamp::UNIX_EPOCH);
        assert_ne!(holder(), holder());
        assert!(RENEWS_EVERY * 4 < TTL, "several renewals may fail");
    }
}
