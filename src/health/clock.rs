//! The machines' clocks -> a problem where two of them differ: pure, apart from [`clock_and_digest`].
//!
//! The end of a lease, certificates, journals and reports are times of different machines.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    access::PATIENCE,
    component::{ClockView, Findings, Observations},
    ssh::Remote,
};

/// Seconds by which two clocks may differ.
const TOLERANCE: f64 = 0.5;

/// Reads the clock of a machine, and the digest that the last good configuration left there.
pub(super) async fn clock_and_digest(remote: &Remote) -> (Option<ClockView>, Option<String>) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs_f64());
    let before = now();
    let done = remote.run("date +%s.%N; cat /etc/hactl/digest 2>/dev/null", b"", PATIENCE).await;
    let (Ok(before), Ok(done), Ok(after)) = (before, done, now()) else { return (None, None) };
    let (clock, digest) = done.stdout.split_once('\n').unwrap_or_default();
    // The machine read its clock at some time between the two of this machine.
    let clock = clock.parse::<f64>().ok().map(|time| ClockView { least: time - after, most: time - before });
    (clock, Some(digest.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Compares the clock that is certainly ahead most with the one that is certainly behind most.
pub(super) fn diagnose(seen: &Observations, findings: &mut Findings) {
    let clocks = || seen.iter().filter_map(|(key, view)| Some((key, view.clock?)));
    let ahead = clocks().max_by(|(_, one), (_, other)| one.least.total_cmp(&other.least));
    let behind = clocks().min_by(|(_, one), (_, other)| one.most.total_cmp(&other.most));
    let (Some((ahead, first)), Some((behind, last))) = (ahead, behind) else { return };
    let apart = first.least - last.most;
    if apart > TOLERANCE {
        let message = format!("its clock is at least {apart:.1} s ahead of the clock of {behind}");
        let hint = "Check the time service on both machines, for example with `chronyc tracking`";
        findings.ours("clock-differs", Some(ahead), message, hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{component::NodeView, model::Role};

    fn found(clocks: &[(&str, f64, f64)]) -> Vec<String> {
        let views = clocks.iter().map(|(key, least, most)| {
            let mut view = NodeView::new([Role::Etcd].into(), Ok(()));
            view.clock = Some(ClockView { least: *least, most: *most });
            (key.parse().unwrap(), view)
        });
        let mut findings = Findings::default();
        diagnose(&views.collect(), &mut findings);
        findings.problems.iter().map(|one| format!("{}: {}", one.node.as_deref().unwrap(), one.message)).collect()
    }

    #[test]
    fn clocks_that_certainly_differ_are_reported_and_slow_answers_are_not() {
        assert_eq!(found(&[("a", -0.02, 0.0), ("b", -0.01, 0.03)]), [""; 0]);
        // An answer took 3 s: its clock may be right.
        assert_eq!(found(&[("a", -3.0, 0.0), ("b", 0.0, 0.2)]), [""; 0]);
        // This machine's own clock is 90 s behind, and the others agree.
        assert_eq!(found(&[("a", 89.9, 90.0), ("b", 90.0, 90.1)]), [""; 0]);
        assert_eq!(
            found(&[("a", -0.1, 0.0), ("b", 1.9, 2.0), ("c", -0.2, 0.1)]),
            ["b: its clock is at least 1.9 s ahead of the clock of a"]
        );
        assert_eq!(found(&[]), [""; 0]);
    }
}
