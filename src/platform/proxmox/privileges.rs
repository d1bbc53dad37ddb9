//! Privileges, tags and the quorum: what Proxmox lets the token do. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::ROOT,
    judge::{Judge, Shortfall, list},
    needs::{ANY_GUEST, GuestRequest, Needs, ProxmoxRequest},
    orphans::tag,
};
use crate::model::InstanceKey;

impl Judge<'_> {
    /// Names the privileges that the token lacks.
    pub(super) fn privileges(&mut self, needs: Needs, wanted: &ProxmoxRequest, token: &str) {
        let facts = self.facts;
        // What the SDN makes is granted by its own zone, and shown only to whom it is granted.
        let vnet = |key: &InstanceKey, paths: &[String]| {
            let Some(machine) = wanted.machines.get(key) else { return false };
            let Some(Ok(found)) = facts.bridges.get(&machine.hypervisor) else { return false };
            machine
                .bridges()
                .filter(|(_, path)| paths.contains(path))
                .all(|(bridge, _)| found.get(bridge) == Some(&true))
        };
        // By what is lacking, the paths that it is lacking on and the machines that need it.
        let mut missing: BTreeMap<String, (BTreeSet<String>, BTreeSet<InstanceKey>)> = BTreeMap::new();
        for (paths, mut need) in needs {
            if paths.iter().any(|path| self.hidden.contains(path)) {
                continue;
            }
            if paths.iter().any(|path| path.starts_with("/sdn/")) {
                need.machines.retain(|key| !vnet(key, &paths));
                if need.machines.is_empty() {
                    continue;
                }
            }
            let granted: BTreeSet<&str> =
                paths.iter().filter_map(|path| facts.granted.get(path)).flatten().map(String::as_str).collect();
            let lacks = |privilege: &&str| !privilege.split('|').any(|one| granted.contains(one));
            let lacking: Vec<&str> = need.privileges.into_iter().filter(lacks).collect();
            if !lacking.is_empty() {
                // A new machine's id is not known: the path for all of them grants it.
                let any = |path: &String| if path == ANY_GUEST { "/vms".to_owned() } else { path.clone() };
                let paths = paths.iter().map(any).collect::<Vec<_>>().join(" or ");
                let (all, machines) = missing.entry(list(lacking)).or_default();
                all.insert(paths);
                machines.extend(need.machines);
            }
        }
        for (lacking, (paths, machines)) in missing {
            let message = format!("the token {token} lacks {lacking} on {}", list(paths));
            let hint = "Run `pveum user token permissions USER TOKENID` to see its privileges; docs/proxmox.md has the role \
                 and the commands that grant it. A token with privilege separation has only what both it and \
                        its user have";
            self.found.push(Shortfall { code: "proxmox-privileges", machines, message, hint: hint.to_owned() });
        }
    }

    /// Names the tags of a new machine that the token may not set. Proxmox checks them when it creates the machine.
    pub(super) fn tags(&mut self, key: &InstanceKey, machine: &GuestRequest, wanted: &ProxmoxRequest) {
        let Some(access) = &self.facts.tag_access else { return };
        if self.sees(ROOT, &["Sys.Modify"]) {
            return;
        }
        let all: BTreeSet<String> = machine.tags.iter().cloned().chain(wanted.cluster.map(tag)).collect();
        let refused =
            |tag: &&String| access.registered.contains(*tag) || access.mode != "free" && !access.allowed.contains(*tag);
        let mut refused: Vec<&str> = all.iter().filter(refused).map(String::as_str).collect();
        // Before the first apply the cluster's own tag is not known, and it is new to Proxmox.
        if wanted.cluster.is_none() && access.mode != "free" {
            refused.push("hactl-UUID");
        }
        if refused.is_empty() {
            return;
        }
        let message = format!(
            "Proxmox lets the token set only some tags (`user-tag-access` is `{}`), and not {}",
            access.mode,
            refused.join(", ")
        );
        let hint = "Run `pvesh set /cluster/options --user-tag-access user-allow=free` on a hypervisor, or grant the token \
                    Sys.Modify on /: hactl finds its machines by the tag hactl-UUID";
        self.add("proxmox-tags", Some(key), message, hint.to_owned());
    }

    /// Names a Proxmox cluster in which nothing can be changed.
    pub(super) fn quorum(&mut self) {
        let (all, online) = (self.facts.nodes.len(), self.facts.nodes.values().filter(|online| **online).count());
        // Without Sys.Audit Proxmox does not tell it. With half of the hypervisors a further vote may make the quorum.
        if self.facts.quorate.unwrap_or(online * 2 >= all) {
            return;
        }
        let offline = self.facts.nodes.iter().filter(|(_, online)| !**online).map(|(name, _)| name);
        let message = format!(
            "the Proxmox cluster has lost its quorum and accepts no change: {online} of {all} hypervisors are online \
             (offline: {})",
            list(offline)
        );
        let hint = "Start the hypervisors that are offline, and check `pvecm status` on one that is online";
        self.add("proxmox-quorum", None, message, hint.to_owned());
    }
}
