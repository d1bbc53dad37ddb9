//! What a run does about a step that interrupts writes: it has the consent, asks for it, or leaves the step.

use super::software::{self, PlayMode};
use crate::{
    ansible::{AnsibleEnvironment, Configured},
    context::RunContext,
    deployment::Cluster,
    error::{Error, Result},
    model::{EntryPoint, InstanceKey},
};

/// Runs the playbook. What interrupts writes is done with consent: that of `mode`, or the answer of `ask` to a question
/// about what was left. Where the clients of poolers can wait, `hand_over` moves the primary before its restart.
///
/// # Errors
/// Those of the playbook and of `hand_over`, and when the run is interrupted while it asks.
pub(crate) async fn configure(
    run: &RunContext,
    cluster: &Cluster,
    ansible: &AnsibleEnvironment,
    mode: PlayMode<'_>,
    leader: Option<&InstanceKey>,
    ask: impl AsyncFnOnce(&str) -> Result<bool>,
    hand_over: impl AsyncFnOnce() -> Result<()>,
) -> Result<Configured> {
    let holds = !mode.check && cluster.plan.endpoint.as_ref().is_some_and(EntryPoint::can_hold);
    // The roles cannot let those clients wait.
    let first = PlayMode { may_interrupt: mode.may_interrupt && !holds, ..mode };
    let configured = software::run_playbook(run, cluster, ansible, first, leader).await?;
    let Some((machine, in_place)) = configured.left().next() else { return Ok(configured) };
    let question = format!(
        "PostgreSQL on {machine}, the primary, waits for a restart. The restart interrupts writes. Restart it now?"
    );
    if !mode.may_interrupt && !ask(&question).await? {
        return Ok(configured);
    }
    let moves = holds && !in_place;
    if moves {
        hand_over().await?;
    }
    let mode = PlayMode { may_interrupt: true, ..mode };
    let leader = leader.filter(|_| !moves);
    let again = software::run_playbook(run, cluster, ansible, mode, leader).await?;
    Ok(joined(configured, again))
}

/// What two runs changed together; what the first one left, the second one has done.
fn joined(first: Configured, second: Configured) -> Configured {
    let Configured { mut hosts, mut changes } = first;
    changes.retain(|change| change.left().is_none());
    changes.extend(second.changes);
    for (host, recap) in second.hosts {
        hosts.entry(host).or_default().changed += recap.changed;
    }
    Configured { hosts, changes }
}

/// The error of a run that did all but what interrupts writes; none where nothing was left.
pub(crate) fn left(command: &str, cluster: &Cluster, configured: &Configured) -> Option<Error> {
    let mut left = configured.left().peekable();
    left.peek()?;
    let name = cluster.name();
    let error = Error::failed("consent-missing", format!("finish `{command}` of"), name);
    let error = left.fold(error, |error, (machine, _)| {
        error.cause(format!("PostgreSQL on {machine}, the primary, waits for a restart, which interrupts writes"))
    });
    Some(error.hint(format!(
        "Run `hactl {command} {name} --yes` when writes may be interrupted. Everything else is done, and the cluster works"
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn second_run_takes_the_place_of_what_the_first_one_left() {
        let configured = |changed: u32, changes: serde_json::Value| -> Configured {
            let recap = json!({"ok": 1, "changed": changed, "failures": 0, "unreachable": 0, "skipped": 0, "rescued": 0,
                               "ignored": 0});
            serde_json::from_value(json!({"hosts": {"node1": recap}, "changes": changes})).unwrap()
        };
        let first =
            configured(2, json!([{"machine": "node1", "kind": "left", "unit": "postgresql", "in_place": false}]));
        assert_eq!(first.left().count(), 1);
        let restart = json!([{"machine": "node1", "kind": "unit", "unit": "postgresql", "action": "restart"}]);
        let both = joined(first, configured(1, restart));
        assert_eq!((both.changed(), both.left().count(), both.changes.len()), (3, 0, 1));
    }
}
