//! Changes that Proxmox has taken and the running machine has not: which machines wait for a restart.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::{
    Api,
    facts::{Guest, guests},
    trouble::Trouble,
};
use crate::{
    error::Result,
    model::{Change, InstanceKey, Reboot, Reboots},
};

/// How long all of it may take: a part of the 10 s that `status` has.
const PATIENCE: Duration = Duration::from_secs(6);

/// Machines asked at once.
const AT_ONCE: usize = 8;

/// Settings whose values are shown. Others may hold secrets, or too much text.
const SHOWN: [&str; 5] = ["memory", "balloon", "cores", "sockets", "vcpus"];

/// Asks which of the machines, given by their ids in Proxmox, wait for a restart. What is not there has nothing to wait
/// for.
///
/// # Errors
/// When Proxmox does not say.
pub async fn reboots(api: &Api, ids: &BTreeMap<InstanceKey, u32>) -> Result<Reboots> {
    let found = tokio::time::timeout(PATIENCE, ask(api, ids)).await.unwrap_or(Err(Trouble::Silent(PATIENCE)));
    found.map_err(|trouble| trouble.explain(&api.server, "find the machines that wait for a restart at"))
}

async fn ask(api: &Api, ids: &BTreeMap<InstanceKey, u32>) -> Result<Reboots, Trouble> {
    // Where they are now: high availability may have moved them.
    let guests = guests(api).await?;
    let there = ids.iter().filter_map(|(key, id)| Some((key, *id, guests.get(id)?)));
    let answers = stream::iter(there)
        .map(async |(key, id, guest): (&InstanceKey, u32, &Guest)| {
            let kind = if guest.container { "lxc" } else { "qemu" };
            let answer = api.get(&["nodes", &guest.hypervisor, kind, &id.to_string(), "pending"], &[]).await?;
            let reboot = Reboot {
                id,
                hypervisor: guest.hypervisor.clone(),
                container: guest.container,
                changes: changes(&answer),
            };
            Ok((key.clone(), reboot))
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<Result<_, Trouble>>>()
        .await;
    let answers: Reboots = answers.into_iter().collect::<Result<_, _>>()?;
    Ok(answers.into_iter().filter(|(_, reboot)| !reboot.changes.is_empty()).collect())
}

/// The settings that have another value than the one in effect, or are about to go.
fn changes(answer: &Value) -> Vec<Change> {
    let words = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "unset".to_owned(),
        other => other.to_string(),
    };
    let mut found = Vec::new();
    for item in answer.as_array().into_iter().flatten() {
        let Some(setting) = item["key"].as_str() else { continue };
        let (now, then) = (&item["value"], &item["pending"]);
        let goes = !item["delete"].is_null() && item["delete"] != 0;
        if !goes && (then.is_null() || words(then) == words(now)) {
            continue;
        }
        let then = if goes { &Value::Null } else { then };
        let values = SHOWN.contains(&setting).then(|| (words(now), words(then)));
        found.push(Change { setting: setting.to_owned(), values });
    }
    // In the order in which they are shown, then the others by name.
    let place = |change: &Change| SHOWN.iter().position(|shown| *shown == change.setting).unwrap_or(SHOWN.len());
    found.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.setting.cmp(&b.setting)));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(answer: &Value) -> Vec<String> {
        changes(answer).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_changed_values_are_pending() {
        let answer = json!([
            {"key": "cores", "value": 2, "pending": 4},
            {"key": "memory", "value": "2048", "pending": "4096"},
            {"key": "name", "value": "pg-prod-node1"},
            {"key": "sockets", "value": 1, "pending": "1"},
            {"key": "digest", "value": "0123"},
        ]);
        assert_eq!(said(&answer), ["memory 2048 -> 4096", "cores 2 -> 4"]);
        assert!(said(&json!([])).is_empty() && said(&Value::Null).is_empty());
    }

    #[test]
    fn new_and_deleted_values_are_pending() {
        let answer = json!([
            {"key": "vcpus", "pending": 2},
            {"key": "balloon", "value": 512, "delete": 1},
            {"key": "watchdog", "value": "i6300esb", "delete": 2},
            {"key": "agent", "value": "1", "delete": 0},
            {"key": "cipassword", "value": "**********", "pending": "hunter2"},
        ]);
        assert_eq!(said(&answer), ["balloon 512 -> unset", "vcpus unset -> 2", "cipassword", "watchdog"]);
    }
}
