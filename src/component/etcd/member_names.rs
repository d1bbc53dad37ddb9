//! The names of etcd's members in a cluster that hactl did not make.

use std::collections::BTreeMap;

use crate::{
    component::view::Observations,
    fleet::{Fleet, FleetNode},
    model::InstanceKey,
};

/// Gives etcd's members the keys of the machines that they run on, where etcd was not told these as their names.
pub(super) fn complete(fleet: &Fleet, seen: &mut Observations) {
    let views = seen.iter_mut().filter_map(|(key, view)| Some((key, view.etcd.as_mut()?.as_mut().ok()?)));
    let mut views: Vec<_> = views.collect();
    let ids: BTreeMap<u64, InstanceKey> = views.iter().map(|(key, view)| (view.member_id, (*key).clone())).collect();
    let adopted: Vec<_> = fleet.voters().filter(|node| node.found.is_some()).collect();
    for member in views.iter_mut().flat_map(|(_, view)| &mut view.members) {
        let at = |node: &&&FleetNode| {
            let hosts = node.addresses().into_iter().map(|address| format!("//{address}:"));
            hosts.into_iter().any(|host| member.urls.iter().any(|url| url.contains(&host)))
        };
        // A member that answers is known by its id, any other only by its addresses.
        let own = ids.get(&member.id).filter(|key| adopted.iter().any(|node| node.key() == *key));
        if let Some(key) = own.or_else(|| adopted.iter().find(at).map(|node| node.key())) {
            member.name = key.to_string();
        }
    }
}
