//! Machines that Terraform does not know: a run that was killed while Proxmox cloned one had no time to write it down,
//! and the next would make a second one of the same name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use uuid::Uuid;

use super::{
    Api,
    facts::{Facts, Guest, guests},
    needs::ProxmoxRequest,
};
use crate::error::Result;

/// A machine with the name, or the tag, of one of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanedGuest {
    pub id: u32,
    pub hypervisor: String,
    pub name: String,
    pub container: bool,
    /// Whether it carries the cluster's tag: then it is the cluster's own.
    pub ours: bool,
}

impl fmt::Display for OrphanedGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.container { "container" } else { "virtual machine" };
        write!(f, "{kind} {} ({}) on {}", self.id, self.name, self.hypervisor)
    }
}

impl OrphanedGuest {
    /// The commands, on its hypervisor, that remove it.
    #[must_use]
    pub fn removal(&self) -> String {
        let program = if self.container { "pct" } else { "qm" };
        format!("`{program} stop {0}`, then `{program} destroy {0} --purge`, on {1}", self.id, self.hypervisor)
    }
}

/// The tag that the modules put on a cluster's machines.
pub(super) fn tag(cluster: Uuid) -> String {
    format!("hactl-{cluster}")
}

/// Every guest but templates, which are no machines.
fn machines(guests: &BTreeMap<u32, Guest>, cluster: Option<Uuid>) -> impl Iterator<Item = OrphanedGuest> {
    let tag = cluster.map(tag);
    guests.iter().filter(|(_, guest)| !guest.template).map(move |(id, guest)| OrphanedGuest {
        id: *id,
        hypervisor: guest.hypervisor.clone(),
        name: guest.name.clone(),
        container: guest.container,
        ours: tag.as_ref().is_some_and(|tag| guest.tags.contains(tag)),
    })
}

/// The machines with the cluster's tag or the name of one of its machines. One with the tag and the name of none of them
/// may be any of them. Looked for once: Proxmox may have many guests, and the cluster many new machines.
pub(super) fn alike(wanted: &ProxmoxRequest, facts: &Facts) -> Vec<(OrphanedGuest, bool)> {
    let names: BTreeSet<&str> = wanted.machines.values().map(|machine| machine.name.as_str()).collect();
    let found = machines(&facts.guests, wanted.cluster).filter_map(|orphan| {
        let named = names.contains(orphan.name.as_str());
        let any = orphan.ours && !named && !wanted.known.contains(&orphan.id);
        (orphan.ours || named).then_some((orphan, any))
    });
    found.collect()
}

/// The machines that remain of a cluster whose machines should all be gone, by its tag and by their names.
///
/// # Errors
/// When Proxmox does not say.
pub async fn left(api: &Api, cluster: Uuid, names: &BTreeSet<&str>) -> Result<Vec<OrphanedGuest>> {
    let guests =
        guests(api).await.map_err(|trouble| trouble.explain(&api.server, "look for machines of the cluster at"))?;
    Ok(machines(&guests, Some(cluster)).filter(|guest| guest.ours || names.contains(guest.name.as_str())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: Uuid = Uuid::from_u128(7);

    fn guest(name: &str, tags: &[&str]) -> Guest {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Guest { hypervisor: "pve1".to_owned(), name: name.to_owned(), tags, ..Guest::default() }
    }

    #[test]
    fn machine_owner_is_read_from_its_tag_and_templates_are_ignored() {
        let own = tag(CLUSTER);
        let guests = BTreeMap::from([
            (100, guest("pg-prod-node1", &[])),
            (101, guest("renamed-by-hand", &["web", &own])),
            (102, guest("mail", &[&tag(Uuid::from_u128(8))])),
            (9002, Guest { template: true, ..guest("pg-prod-node1", &[&own]) }),
        ]);
        let found = |cluster| machines(&guests, cluster).map(|found| (found.id, found.ours)).collect::<Vec<_>>();
        assert_eq!(found(Some(CLUSTER)), [(100, false), (101, true), (102, false)]);
        assert_eq!(found(None), [(100, false), (101, false), (102, false)]);
    }

    #[test]
    fn removal_commands_match_the_kind_of_machine() {
        let mut orphan = machines(&BTreeMap::from([(100, guest("a", &[]))]), None).next().unwrap();
        assert_eq!(orphan.to_string(), "virtual machine 100 (a) on pve1");
        assert_eq!(orphan.removal(), "`qm stop 100`, then `qm destroy 100 --purge`, on pve1");
        orphan.container = true;
        assert!(orphan.removal().starts_with("`pct stop 100`") && orphan.to_string().starts_with("container 100"));
    }
}
