//! What the lease guard of a machine reports in its state file.

use serde::Deserialize;

use super::{
    service::LEASE_GUARD,
    watchdog::{self, Watchdog},
};
use crate::{access::PATIENCE, model::InstanceKey, ssh::Remote};

/// Seconds for which a lease guard may prove nothing or write nothing before `status` reports a problem: it needs some
/// time for a first proof after a promotion and after its own start.
const SETTLES: f64 = 10.0;

/// The state file and its age.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardView {
    /// Seconds since the lease guard wrote the file, by the machine's clock.
    pub age: f64,
    /// None if the lease guard writes no state file, or one that hactl cannot parse.
    pub state: Option<GuardState>,
}

/// A part of the state file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct GuardState {
    /// Whether the lease guard would stop PostgreSQL in time.
    pub proves: bool,
    /// Whether the cluster is paused; the lease guard does nothing then.
    pub paused: bool,
    /// When `proves` last changed, as a time and in seconds before the file was written.
    pub since: String,
    pub since_seconds: f64,
    /// Why `proves` is false; else empty.
    pub why: String,
    pub certificate: GuardCertificate,
}

/// The lease guard's client certificate for etcd.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct GuardCertificate {
    /// None until the lease guard has read the certificate.
    pub not_after: Option<String>,
    pub expired: bool,
}

/// Reads the state file and the state of the watchdog device; no guard if the lease guard is not enabled, and neither if the
/// machine does not answer.
pub(super) async fn ask(remote: &Remote) -> (Option<GuardView>, Option<Watchdog>) {
    let script = format!(
        "{}systemctl is-enabled --quiet {LEASE_GUARD} 2>/dev/null || exit 0; file=/run/{LEASE_GUARD}/state.json; \
         echo $(($(date +%s) - $(stat -c %Y $file 2>/dev/null || date +%s))); cat $file 2>/dev/null",
        watchdog::SCRIPT
    );
    let Ok(done) = remote.run(&script, b"", PATIENCE).await else { return (None, None) };
    let (line, guard) = done.stdout.split_once('\n').unwrap_or_default();
    (parse(guard), watchdog::parse(line))
}

/// Parses the output of the script: the age on the first line, and the file on the others.
fn parse(text: &str) -> Option<GuardView> {
    let (age, file) = text.split_once('\n')?;
    Some(GuardView { age: age.trim().parse().ok()?, state: serde_json::from_str(file).ok() })
}

/// Whether a lease guard would stop a primary in time.
pub(super) enum Verdict {
    Proves,
    /// It has no proof yet, or the cluster is paused.
    Waits,
    /// It would not stop a primary in time; the reason follows "the lease guard".
    Unproved(String),
    /// It writes no state.
    Unknown,
}

/// Judges a state file.
pub(super) fn judge(guard: &GuardView) -> Verdict {
    let Some(state) = &guard.state else { return Verdict::Unknown };
    if guard.age > SETTLES {
        return Verdict::Unproved(format!("has not written its state for {} s", guard.age));
    }
    if state.proves && state.certificate.expired {
        let end = state.certificate.not_after.as_deref().unwrap_or_default();
        return Verdict::Unproved(format!(
            "works only over its open connections to etcd: its certificate expired at {end}"
        ));
    }
    match state {
        GuardState { proves: true, .. } => Verdict::Proves,
        // A pause is a separate problem.
        GuardState { paused: true, .. } => Verdict::Waits,
        _ if state.since_seconds < SETTLES => Verdict::Waits,
        _ => Verdict::Unproved(format!("has proved nothing since {}: {}", state.since, state.why)),
    }
}

/// What stops a primary whose Patroni has failed: `planned`, with the machines whose lease guard has proved nothing.
pub(crate) fn fencing(planned: &str, unproved: &[InstanceKey]) -> String {
    match planned.split_once(": ") {
        Some(("lease guard", how)) if !unproved.is_empty() => {
            let list: Vec<&str> = unproved.iter().map(|key| key.as_str()).collect();
            format!("lease guard, not proved on {}: {how}", list.join(", "))
        }
        _ => planned.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"version": 1, "proves": false, "paused": false, "since": "2026-11-29T12:01:00Z",
        "since_seconds": 61.2, "why": "its certificate expired at 2026-11-29T12:01:00Z", "voters": {"asked": 3},
        "certificate": {"not_after": "2026-11-29T12:01:00Z", "expired": true, "error": null}}"#;

    #[test]
    fn state_file_is_parsed_with_its_age() {
        let view = parse(&format!("3\n{FILE}")).unwrap();
        let state = view.state.as_ref().unwrap();
        assert_eq!((view.age, state.proves, state.since_seconds), (3.0, false, 61.2));
        assert_eq!(parse("0\n"), Some(GuardView { age: 0.0, state: None }));
        // The unit is not enabled.
        assert_eq!(parse(""), None);
    }

    fn report(age: f64, change: impl Fn(&mut GuardState)) -> String {
        let mut state = serde_json::from_str(FILE).unwrap();
        change(&mut state);
        match judge(&GuardView { age, state: Some(state) }) {
            Verdict::Proves => "proves".to_owned(),
            Verdict::Waits => "waits".to_owned(),
            Verdict::Unproved(why) => why,
            Verdict::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn guard_without_proof_is_reported_with_its_time_and_reason() {
        assert_eq!(
            report(1.0, |_| ()),
            "has proved nothing since 2026-11-29T12:01:00Z: its certificate expired at 2026-11-29T12:01:00Z"
        );
        assert_eq!(
            report(1.0, |state| state.proves = true),
            "works only over its open connections to etcd: its certificate expired at 2026-11-29T12:01:00Z"
        );
        assert_eq!(report(1.0, |state| (state.proves, state.certificate.expired) = (true, false)), "proves");
        assert_eq!(report(1.0, |state| state.paused = true), "waits");
        assert_eq!(report(1.0, |state| state.since_seconds = 3.0), "waits");
        // The file of a guard that hangs proves nothing.
        assert_eq!(report(11.0, |state| state.proves = true), "has not written its state for 11 s");
    }

    #[test]
    fn fencing_lists_machines_whose_guard_has_proved_nothing() {
        let [one, two]: [InstanceKey; 2] = ["node1", "node2"].map(|key| key.parse().unwrap());
        assert_eq!(fencing("lease guard: a unit stops it", &[]), "lease guard: a unit stops it");
        assert_eq!(
            fencing("lease guard: a unit stops it", &[one.clone(), two]),
            "lease guard, not proved on node1, node2: a unit stops it"
        );
        assert_eq!(
            fencing("nothing: no other member could take over", &[one]),
            "nothing: no other member could take over"
        );
    }
}
