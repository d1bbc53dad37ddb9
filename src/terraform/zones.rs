//! The output `vms` -> whether etcd's voters share a zone, with which they would fail together. Pure.

use std::collections::BTreeMap;

use super::contract::ModuleOutput;
use crate::plan::Plan;

/// A line for each zone that has several voters. A machine without a zone counts for none.
pub(super) fn voters_together(plan: &Plan, output: &ModuleOutput) -> Vec<String> {
    let Some(vms) = &output.value else { return Vec::new() };
    let mut together: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for voter in plan.voters() {
        if let Some(zone) = vms[voter.key.as_str()]["zone"].as_str() {
            together.entry(zone).or_default().push(voter.key.as_str());
        }
    }
    let all = plan.voters().count();
    let shared = together.into_iter().filter(|(_, keys)| keys.len() > 1);
    shared
        .map(|(zone, keys)| {
            let (count, keys) = (keys.len(), keys.join(", "));
            format!("{count} of {all} etcd voters are in the zone {zone} ({keys}) and fail together with it")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terraform::fixture::plan_of;

    #[test]
    fn voters_in_one_zone_are_named() {
        let plan = plan_of(&["a", "b", "c"]);
        let warned = |zones: [&str; 3]| {
            let vms =
                json!({"a": {"zone": zones[0]}, "b": {"zone": zones[1]}, "c": {"zone": zones[2]}, "d": {"zone": "x"}});
            voters_together(&plan, &ModuleOutput { value: Some(vms), ..ModuleOutput::default() })
        };
        assert_eq!(warned(["x", "y", "z"]), [""; 0]);
        assert_eq!(warned(["x", "y", "x"]), ["2 of 3 etcd voters are in the zone x (a, c) and fail together with it"]);
        let without = ModuleOutput { value: Some(json!({"a": {}, "b": {"zone": null}})), ..ModuleOutput::default() };
        assert_eq!(voters_together(&plan, &without), [""; 0], "a module may leave it out");
    }
}
