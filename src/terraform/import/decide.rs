//! Which machine is which instance: in come the map and the candidates, out go [`Imports`] or every problem.

use std::collections::BTreeMap;

use super::{Candidate, Imports, MachineId};
use crate::model::{Dns, InstanceKey, ProxmoxKind, nearest};

/// What the cluster file says of one instance.
#[derive(Clone, Copy, Debug)]
pub struct ImportTarget<'a> {
    pub hypervisor: &'a str,
    pub hostname: &'a str,
    /// The size of its disk, where the cluster file has it.
    pub disk_gb: Option<u32>,
}

/// What the cluster file needs.
#[derive(Debug)]
pub struct ImportRequest<'a> {
    pub kind: ProxmoxKind,
    pub targets: BTreeMap<&'a InstanceKey, ImportTarget<'a>>,
    /// Whether the one machine comes from `target_ip`, without a map.
    pub single: bool,
    /// The pool to import with the machines.
    pub pool: Option<&'a str>,
    /// The zone, where the machines have records to import with them.
    pub dns: Option<&'a Dns>,
    /// The machines that are already in this cluster's state.
    pub held: &'a [Candidate],
}

/// Gives each candidate its instance.
///
/// # Errors
/// Every problem at once, in words: nothing is imported then.
pub fn decide(wanted: &ImportRequest<'_>, candidates: &[Candidate]) -> Result<Imports, Vec<String>> {
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let alone =
        candidates.iter().filter(|candidate| !candidate.by_hand && is_kind(candidate, wanted.kind)).count() == 1;
    let mut claims: BTreeMap<&InstanceKey, Vec<(&Candidate, MachineId)>> = BTreeMap::new();
    for candidate in candidates {
        let said_by = &candidate.said_by;
        if !is_kind(candidate, wanted.kind) {
            let text = format!(
                "{said_by} is a {}, but the cluster file has `kind: {}`",
                word(other(wanted.kind)),
                wanted.kind
            );
            if candidate.by_hand { &mut problems } else { &mut notes }.push(text);
            continue;
        }
        let (key, target) = match find(wanted, candidate, alone) {
            Ok(Some(found)) => found,
            Ok(None) => {
                let name = candidate.hostname.as_deref().unwrap_or_default();
                let named = wanted.targets.keys().find(|key| key.as_str() == name).map_or("KEY", |key| key.as_str());
                let id = candidate.hypervisor.as_ref().map_or_else(String::new, |node| format!("{node}/"));
                let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
                notes.push(format!(
                    "{said_by}{name} matches no instance of the cluster file and is not imported; to import it, add \
                     `{named}={id}{}` to the command",
                    candidate.vmid
                ));
                continue;
            }
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        if let Some(node) = candidate.hypervisor.as_deref().filter(|node| *node != target.hypervisor) {
            problems.push(format!(
                "{said_by} runs on {node}, but the cluster file has {key} on {}, where Terraform would create it again; \
                 set `node: {node}`",
                target.hypervisor
            ));
            continue;
        }
        if let Some(old) = candidate.hostname.as_deref().filter(|old| *old != target.hostname) {
            notes.push(format!(
                "{key} will be renamed from {old} to {}; set `vm_name: {old}` to keep the name",
                target.hostname
            ));
        }
        claims.entry(key).or_default().push((candidate, candidate.id(target.hypervisor)));
    }

    let mut machines: BTreeMap<InstanceKey, MachineId> = BTreeMap::new();
    for (key, claims) in claims {
        let (_, id) = &claims[0];
        if claims.iter().any(|(_, other)| other != id) {
            let claims: Vec<String> = claims.iter().map(|(by, id)| format!("{id} from {}", by.said_by)).collect();
            problems.push(format!("{key} has more than one ID: {}", claims.join(", ")));
        } else if let Some((other, _)) = machines.iter().find(|(_, other)| other.vmid == id.vmid) {
            problems
                .push(format!("{other} and {key} have the same ID {}: a machine can be only one instance", id.vmid));
        } else {
            machines.insert(key.clone(), id.clone());
        }
    }
    for held in wanted.held {
        let Some(key) = held.key.as_deref().and_then(|key| key.parse::<InstanceKey>().ok()) else { continue };
        match machines.get(&key) {
            Some(id) if id.vmid == held.vmid => {
                machines.remove(&key);
                notes.push(format!("{key} is already in the cluster's state as {}", held.vmid));
            }
            Some(id) => problems
                .push(format!("{key} is already in the cluster's state as {}; {id} cannot replace it", held.vmid)),
            None => {}
        }
        if let Some((other, id)) = machines.iter().find(|(other, id)| **other != key && id.vmid == held.vmid) {
            problems.push(format!(
                "{id} is already {key} in the cluster's state; set `renamed_from: {key}` on {other} to rename the instance"
            ));
        }
    }
    // An import includes the disk of a virtual machine, and a plan removes a disk that the configuration does not have.
    for (key, id) in
        machines.iter().filter(|(key, _)| wanted.kind == ProxmoxKind::Vm && wanted.targets[key].disk_gb.is_none())
    {
        notes.push(format!(
            "{key} has no `disk_gb`: set it to the size of the disk scsi0 in GB, which `qm config {}` on {} shows; otherwise \
             the plan would remove the disk, and `hactl up` refuses it",
            id.vmid, id.hypervisor
        ));
    }
    let held = |key: &InstanceKey| wanted.held.iter().any(|held| held.key.as_deref() == Some(key.as_str()));
    let missing =
        wanted.targets.keys().copied().filter(|key| !machines.contains_key(*key) && !held(key)).cloned().collect();
    if problems.is_empty() && machines.is_empty() && wanted.pool.is_none() {
        problems.extend(notes.iter().cloned());
        problems.push("found no machine to import".to_owned());
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let records = wanted.dns.map_or_else(BTreeMap::new, |dns| {
        machines.keys().map(|key| (key.clone(), record_id(dns, wanted.targets[key].hostname))).collect()
    });
    Ok(Imports { kind: wanted.kind, machines, pool: wanted.pool.map(str::to_owned), records, notes, missing })
}

/// The id by which `hactl_dns_record_set` imports a name.
fn record_id(dns: &Dns, name: &str) -> String {
    format!("{}/{}:{}/{}/{name}", dns.endpoint(), dns.key_algorithm, dns.key_name, dns.zone)
}

const fn other(kind: ProxmoxKind) -> ProxmoxKind {
    match kind {
        ProxmoxKind::Vm => ProxmoxKind::Lxc,
        ProxmoxKind::Lxc => ProxmoxKind::Vm,
    }
}

/// The usual word for a machine of a kind.
pub(super) const fn word(kind: ProxmoxKind) -> &'static str {
    match kind {
        ProxmoxKind::Vm => "virtual machine",
        ProxmoxKind::Lxc => "container",
    }
}

fn is_kind(candidate: &Candidate, kind: ProxmoxKind) -> bool {
    candidate.kind.is_none_or(|own| own == kind)
}

/// The instance of a candidate: by its key, else by its host name, else because there is only one of each.
fn find<'a>(
    wanted: &ImportRequest<'a>,
    candidate: &Candidate,
    alone: bool,
) -> Result<Option<(&'a InstanceKey, ImportTarget<'a>)>, String> {
    let targets = || wanted.targets.iter().map(|(key, target)| (*key, *target));
    let key = candidate.key.as_deref().unwrap_or_default();
    if let Some(found) = targets().find(|(own, _)| own.as_str() == key) {
        return Ok(Some(found));
    }
    if candidate.by_hand {
        let known = wanted.targets.keys().map(|key| key.as_str());
        let hint = match nearest(key, known.clone()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("the instances are {}", known.collect::<Vec<_>>().join(", ")),
        };
        return Err(format!("{} names no instance: {hint}", candidate.said_by));
    }
    let by_name = targets().find(|(_, target)| candidate.hostname.as_deref() == Some(target.hostname));
    Ok(by_name.or_else(|| if wanted.single && alone { targets().next() } else { None }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terraform::import::existing::read;

    struct Map(Vec<(InstanceKey, &'static str, String)>);

    impl Map {
        /// `node1`, `node2`, ... on `pve1`, called `pg-prod-KEY`.
        fn new(keys: &[&str]) -> Self {
            Self(keys.iter().map(|key| (key.parse().unwrap(), "pve1", format!("pg-prod-{key}"))).collect())
        }

        fn wanted<'a>(&'a self, held: &'a [Candidate]) -> ImportRequest<'a> {
            let targets = self
                .0
                .iter()
                .map(|(key, hypervisor, hostname)| (key, ImportTarget { hypervisor, hostname, disk_gb: Some(20) }))
                .collect();
            ImportRequest { kind: ProxmoxKind::Vm, targets, single: false, pool: None, dns: None, held }
        }
    }

    fn by_hand(words: &[&str]) -> Vec<Candidate> {
        words.iter().map(|word| Candidate::by_hand(word).unwrap()).collect()
    }

    fn state(kind: &str, machines: &[(serde_json::Value, &str, &str)]) -> Vec<Candidate> {
        let instances: Vec<_> = machines
            .iter()
            .map(|(index, id, name)| json!({"index_key": index, "attributes": {"id": id, "name": name}}))
            .collect();
        let json = json!({"version": 4, "resources": [{"mode": "managed", "type": kind, "name": "vm", "instances": instances}]});
        read("old", &json.to_string()).unwrap()
    }

    fn ids(imports: &Imports) -> Vec<String> {
        imports.machines.iter().map(|(key, id)| format!("{key}={id}")).collect()
    }

    #[test]
    fn given_ids_are_assigned_to_their_keys_and_missing_keys_are_reported() {
        let map = Map::new(&["node1", "node2", "node3"]);
        let imports = decide(&map.wanted(&[]), &by_hand(&["node1=100", "node2=pve1/101"])).unwrap();
        assert_eq!(ids(&imports), ["node1=pve1/100", "node2=pve1/101"]);
        assert_eq!(imports.missing, ["node3".parse().unwrap()]);
        assert_eq!(imports.notes, [""; 0]);
    }

    #[test]
    fn import_mistakes_are_all_reported_together() {
        let map = Map::new(&["node1", "node2", "node3"]);
        let words = ["nod1=100", "node2=101", "node2=102", "node1=pve2/103", "node1=pve1/lxc/104", "x=105"];
        let problems = decide(&map.wanted(&[]), &by_hand(&words)).unwrap_err();
        assert_eq!(
            problems,
            [
                "`nod1=100` names no instance: did you mean node1?",
                "`node1=pve2/103` runs on pve2, but the cluster file has node1 on pve1, where Terraform would create it again; \
                 set `node: pve2`",
                "`node1=pve1/lxc/104` is a container, but the cluster file has `kind: vm`",
                "`x=105` names no instance: the instances are node1, node2, node3",
                "node2 has more than one ID: pve1/101 from `node2=101`, pve1/102 from `node2=102`",
            ]
        );
        let twice = decide(&map.wanted(&[]), &by_hand(&["node1=100", "node2=100"])).unwrap_err();
        assert_eq!(twice, ["node1 and node2 have the same ID 100: a machine can be only one instance"]);
        assert_eq!(decide(&map.wanted(&[]), &[]).unwrap_err(), ["found no machine to import"]);
    }

    #[test]
    fn old_state_is_matched_by_key_then_by_name_and_the_rest_is_ignored() {
        let map = Map::new(&["node1", "node2"]);
        let old = [
            (json!("node1"), "pve1/qemu/100", "old-name"),
            (json!(1), "pve1/qemu/101", "pg-prod-node2"),
            (json!(2), "pve7/qemu/102", "someone-elses"),
        ];
        let imports = decide(&map.wanted(&[]), &state("proxmox_vm_qemu", &old)).unwrap();
        assert_eq!(ids(&imports), ["node1=pve1/100", "node2=pve1/101"]);
        assert_eq!(
            imports.notes,
            [
                "node1 will be renamed from old-name to pg-prod-node1; set `vm_name: old-name` to keep the name",
                "proxmox_vm_qemu.vm[2] in old (someone-elses) matches no instance of the cluster file and is not \
                 imported; to import it, add `KEY=pve7/102` to the command",
            ]
        );
        // A machine that is called like an instance is not renamed unasked, but its argument is complete.
        let like = state("proxmox_vm_qemu", &[(json!(0), "pve1/qemu/101", "node2")]);
        let problems = decide(&map.wanted(&[]), &like).unwrap_err();
        assert!(problems[0].ends_with("to import it, add `node2=pve1/101` to the command"), "{problems:?}");
        // The same id from two sides is no contradiction.
        let both = [state("proxmox_vm_qemu", &old), by_hand(&["node1=100"])].concat();
        assert_eq!(ids(&decide(&map.wanted(&[]), &both).unwrap()).len(), 2);
    }

    #[test]
    fn virtual_machine_without_a_disk_size_gives_a_note() {
        let map = Map::new(&["node1", "node2"]);
        let mut wanted = map.wanted(&[]);
        wanted.targets.values_mut().next().unwrap().disk_gb = None;
        let both = by_hand(&["node1=100", "node2=101"]);
        let notes = decide(&wanted, &both).unwrap().notes;
        assert!(notes.len() == 1 && notes[0].starts_with("node1 has no `disk_gb`"), "{notes:?}");
        assert!(notes[0].contains("`qm config 100` on pve1"), "{notes:?}");
        let containers = ImportRequest { kind: ProxmoxKind::Lxc, ..wanted };
        assert_eq!(decide(&containers, &both).unwrap().notes, [""; 0]);
    }

    #[test]
    fn sole_machine_of_an_old_state_is_matched_only_in_single_mode() {
        let (single, old) = (Map::new(&["default"]), [(json!(0), "pve1/qemu/100", "pg-prod-beef")]);
        let wanted = ImportRequest { single: true, ..single.wanted(&[]) };
        let imports = decide(&wanted, &state("proxmox_vm_qemu", &old)).unwrap();
        assert_eq!(ids(&imports), ["default=pve1/100"]);
        assert!(imports.notes[0].contains("set `vm_name: pg-prod-beef` to keep the name"), "{:?}", imports.notes);
        let two = [old[0].clone(), (json!(1), "pve1/qemu/101", "other")];
        assert!(decide(&wanted, &state("proxmox_vm_qemu", &two)).is_err());
        assert!(decide(&single.wanted(&[]), &state("proxmox_vm_qemu", &old)).is_err());
    }

    #[test]
    fn machines_of_another_kind_in_the_state_are_not_imported() {
        let map = Map::new(&["node1"]);
        let old = state("proxmox_lxc", &[(json!("node1"), "pve1/lxc/100", "pg-prod-node1")]);
        let problems = decide(&map.wanted(&[]), &old).unwrap_err();
        assert!(problems[0].ends_with("is a container, but the cluster file has `kind: vm`"), "{problems:?}");
        let wanted = ImportRequest { kind: ProxmoxKind::Lxc, ..map.wanted(&[]) };
        assert_eq!(ids(&decide(&wanted, &old).unwrap()), ["node1=pve1/100"]);
    }

    #[test]
    fn dns_records_are_imported_by_machine_name() {
        let map = Map::new(&["node1", "node2"]);
        let dns: Dns = serde_json::from_value(json!({"zone": "home.sflab.io.", "server": "192.168.1.13", "port": 5353,
            "ttl": 300, "key_name": "ddnskey.", "key_algorithm": "hmac-sha512"}))
        .unwrap();
        let wanted = ImportRequest { dns: Some(&dns), ..map.wanted(&[]) };
        let imports = decide(&wanted, &by_hand(&["node2=100"])).unwrap();
        let records: Vec<_> = imports.records.into_iter().map(|(key, id)| format!("{key} {id}")).collect();
        assert_eq!(records, ["node2 192.168.1.13:5353/hmac-sha512:ddnskey./home.sflab.io./pg-prod-node2"]);
    }

    #[test]
    fn machines_already_in_the_state_are_not_imported_again() {
        let map = Map::new(&["node1", "node2"]);
        let held = state("proxmox_virtual_environment_vm", &[(json!("node1"), "100", "pg-prod-node1")]);
        let imports = decide(&map.wanted(&held), &by_hand(&["node1=100", "node2=101"])).unwrap();
        assert_eq!((ids(&imports), imports.notes.len()), (vec!["node2=pve1/101".to_owned()], 1));
        assert_eq!(imports.missing, []);
        let problems = decide(&map.wanted(&held), &by_hand(&["node1=105", "node2=100"])).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("node1 is already in the cluster's state as 100"), "{problems:?}");
        assert!(problems[1].contains("set `renamed_from: node1` on node2"), "{problems:?}");
    }
}
