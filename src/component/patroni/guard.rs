//! What the lease guard of a machine says of itself, in its state file.

use serde::Deserialize;

use super::service::LEASE_GUARD;
use crate::{access::PATIENCE, model::InstanceKey, ssh::Remote};

/// Seconds for which a lease guard may prove nothing or write nothing before that is a problem: after a promotion, and
/// after its own start, it needs some for a first proof.
const SETTLES: f64 = 10.0;

/// What the state file says, and how old it is.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardView {
    /// Seconds since the file was written, by the machine's clock.
    pub age: f64,
    /// None if the lease guard writes no state file, or one that is not understood.
    pub state: Option<GuardState>,
}

/// Part of the state file, by the lease guard's own names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct GuardState {
    /// Whether the lease guard would stop PostgreSQL in time.
    pub proves: bool,
    /// Whether the cluster is paused: then the lease guard does nothing.
    pub paused: bool,
    /// Since when `proves` is what it is, as a time of day, and in seconds.
    pub since: String,
    pub since_seconds: f64,
    /// Why nothing is proved; empty while something is.
    pub why: String,
    pub certificate: GuardCertificate,
}

/// The certificate that the lease guard shows to etcd.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct GuardCertificate {
    /// None until it was read.
    pub not_after: Option<String>,
    pub expired: bool,
}

/// Reads the state file; none if the lease guard is not enabled or the machine does not answer.
pub(super) async fn ask(remote: &Remote) -> Option<GuardView> {
    let script = format!(
        "systemctl is-enabled --quiet {LEASE_GUARD} 2>/dev/null || exit 0; file=/run/{LEASE_GUARD}/state.json; \
         echo $(($(date +%s) - $(stat -c %Y $file 2>/dev/null || date +%s))); cat $file 2>/dev/null"
    );
    let done = remote.run(&script, b"", PATIENCE).await.ok()?;
    parse(&done.stdout)
}

/// The age on the first line, and the file on the others.
fn parse(text: &str) -> Option<GuardView> {
    let (age, file) = text.split_once('\n')?;
    Some(GuardView { age: age.trim().parse().ok()?, state: serde_json::from_str(file).ok() })
}

/// What a lease guard says of itself.
pub(super) enum Said {
    Proves,
    /// It has nothing to show yet, or nothing to do in a pause.
    Waits,
    /// It would not stop a primary in time, in words.
    Nothing(String),
    Unknown,
}

/// Judges a state file.
pub(super) fn said(guard: &GuardView) -> Said {
    let Some(state) = &guard.state else { return Said::Unknown };
    if guard.age > SETTLES {
        return Said::Nothing(format!("has not written its state for {} s", guard.age));
    }
    if state.proves && state.certificate.expired {
        let end = state.certificate.not_after.as_deref().unwrap_or_default();
        return Said::Nothing(format!(
            "works only as long as its connections to etcd last: its certificate expired at {end}"
        ));
    }
    match state {
        GuardState { proves: true, .. } => Said::Proves,
        // That the cluster is paused is a problem of its own.
        GuardState { paused: true, .. } => Said::Waits,
        _ if state.since_seconds < SETTLES => Said::Waits,
        _ => Said::Nothing(format!("has proved nothing since {}: {}", state.since, state.why)),
    }
}

/// What stops a primary whose Patroni does not: `planned`, unless some lease guards have not proved that they would.
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
    fn state_file_is_read_with_its_age() {
        let view = parse(&format!("3\n{FILE}")).unwrap();
        let state = view.state.as_ref().unwrap();
        assert_eq!((view.age, state.proves, state.since_seconds), (3.0, false, 61.2));
        assert_eq!(parse("0\n"), Some(GuardView { age: 0.0, state: None }));
        // The unit is not enabled.
        assert_eq!(parse(""), None);
    }

    fn words(age: f64, change: impl Fn(&mut GuardState)) -> String {
        let mut state = serde_json::from_str(FILE).unwrap();
        change(&mut state);
        match said(&GuardView { age, state: Some(state) }) {
            Said::Proves => "proves".to_owned(),
            Said::Waits => "waits".to_owned(),
            Said::Nothing(why) => why,
            Said::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn guard_that_proves_nothing_says_since_when_and_why() {
        assert_eq!(
            words(1.0, |_| ()),
            "has proved nothing since 2026-11-29T12:01:00Z: its certificate expired at 2026-11-29T12:01:00Z"
        );
        assert_eq!(
            words(1.0, |state| state.proves = true),
            "works only as long as its connections to etcd last: its certificate expired at 2026-11-29T12:01:00Z"
        );
        assert_eq!(words(1.0, |state| (state.proves, state.certificate.expired) = (true, false)), "proves");
        assert_eq!(words(1.0, |state| state.paused = true), "waits");
        assert_eq!(words(1.0, |state| state.since_seconds = 3.0), "waits");
        // A guard that hangs proves nothing, whatever its file says.
        assert_eq!(words(11.0, |state| state.proves = true), "has not written its state for 11 s");
    }

    #[test]
    fn fencing_names_members_whose_guard_has_proved_nothing() {
        let [one, two]: [InstanceKey; 2] = ["node1", "node2"].map(|key| key.parse().unwrap());
        assert_eq!(fencing("lease guard: a unit stops it", &[]), "lease guard: a unit stops it");
        assert_eq!(
            fencing("lease guard: a unit stops it", &[one.clone(), two]),
            "lease guard, not proved on node1, node2: a unit stops it"
        );
        assert_eq!(fencing("nothing: nobody could take over", &[one]), "nothing: nobody could take over");
    }
}
