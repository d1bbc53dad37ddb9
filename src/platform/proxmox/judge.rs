//! Request and facts -> every problem: pure.

use std::{collections::BTreeSet, fmt::Display};

use super::{
    facts::Facts,
    needs::{GuestRequest, ProxmoxRequest, needs},
    orphans::{OrphanedGuest, alike},
    trouble::Trouble,
};
use crate::{
    error::Error,
    model::{InstanceKey, nearest},
};

/// Machines that a problem names; of more than these the number is said.
const NAMED: usize = 8;

/// Something that is missing, and the machines that need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shortfall {
    pub(super) code: &'static str,
    pub(super) machines: BTreeSet<InstanceKey>,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.machines.is_empty() {
            f.write_str(&self.message)
        } else {
            let (few, more) = (self.machines.iter().take(NAMED), self.machines.len().saturating_sub(NAMED));
            write!(f, "{}", list(few))?;
            if more > 0 {
                write!(f, " and {more} more")?;
            }
            write!(f, ": {}", self.message)
        }
    }
}

/// All problems as one error; none where there are none.
pub(super) fn sum_up(mut problems: Vec<Shortfall>, what: &str, endpoint: &impl Display) -> Option<Error> {
    if problems.len() == 1 {
        let problem = problems.remove(0);
        return Some(Error::failed(problem.code, what, endpoint).cause(&problem).hint(problem.hint));
    }
    let error = Error::failed("proxmox-check", what, endpoint);
    let error = problems.iter().fold(error, Error::cause);
    let mut hints: Vec<&str> = problems.iter().map(|problem| problem.hint.as_str()).collect();
    let mut seen = BTreeSet::new();
    hints.retain(|hint| seen.insert(*hint));
    (!problems.is_empty()).then(|| error.hint(hints.join("\n")))
}

/// Compares what there is with what is wanted. `token` is its name, for messages.
pub(super) fn judge(wanted: &ProxmoxRequest, facts: &Facts, token: &str) -> Vec<Shortfall> {
    let mut judge = Judge { facts, found: Vec::new(), hidden: BTreeSet::new(), alike: alike(wanted, facts) };
    judge.quorum();
    for (key, machine) in &wanted.machines {
        judge.node(key, machine);
    }
    for (key, machine) in &wanted.machines {
        judge.identity(key, machine, wanted, token);
    }
    let new = || wanted.machines.iter().filter(|(_, machine)| !machine.made);
    for (key, machine) in new() {
        judge.address(key, machine);
        judge.tags(key, machine, wanted);
    }
    for (key, machine) in new() {
        judge.template(key, machine);
    }
    for (key, machine) in new() {
        judge.datastore(key, machine);
        judge.file(key, machine);
    }
    for (key, machine) in new() {
        judge.bridge(key, machine);
    }
    judge.pools(wanted);
    judge.privileges(needs(wanted, facts.major), wanted, token);
    judge.found
}

/// What a storage must be able to hold: in Proxmox's word, in ours, and the field of the cluster file that names it.
#[derive(Clone, Copy)]
struct Needed<'a> {
    name: &'a str,
    content: &'a str,
    words: &'a str,
    field: &'a str,
}

pub(super) struct Judge<'a> {
    pub(super) facts: &'a Facts,
    pub(super) found: Vec<Shortfall>,
    /// Paths of objects that are named as unknown: a privilege on them is not asked for as well.
    pub(super) hidden: BTreeSet<String>,
    /// Machines with the cluster's tag or the name of one of its machines; whether each may be any of them.
    pub(super) alike: Vec<(OrphanedGuest, bool)>,
}

impl Judge<'_> {
    pub(super) fn add(&mut self, code: &'static str, key: Option<&InstanceKey>, message: String, hint: String) {
        let same = |problem: &&mut Shortfall| problem.code == code && problem.message == message;
        if let Some(problem) = self.found.iter_mut().find(same) {
            problem.machines.extend(key.cloned());
        } else {
            self.found.push(Shortfall { code, machines: key.cloned().into_iter().collect(), message, hint });
        }
    }

    /// Whether the token may see what `path` is about. What it may not see is not said to be missing: the privilege is.
    pub(super) fn sees(&self, path: &str, any: &[&str]) -> bool {
        let granted = self.facts.granted.get(path);
        granted.is_some_and(|granted| any.iter().any(|privilege| granted.contains(*privilege)))
    }

    /// What a node was asked and did not say.
    fn silent(&mut self, key: &InstanceKey, node: &str, about: &str, trouble: &Trouble) {
        let message = format!("hypervisor {node} did not list its {about}: {}", trouble.words());
        let hint = format!(
            "Check `systemctl status pveproxy pvedaemon pvestatd` on {node}; a storage without its server delays \
             every answer"
        );
        self.add("proxmox-node-silent", Some(key), message, hint);
    }

    fn node(&mut self, key: &InstanceKey, machine: &GuestRequest) {
        // What exists is where Proxmox says, also after a move.
        let guest = machine.vmid.filter(|_| machine.made).and_then(|vmid| self.facts.guests.get(&vmid));
        let node = guest.map_or(&machine.hypervisor, |guest| &guest.hypervisor);
        match self.facts.nodes.get(node) {
            Some(true) => {}
            Some(false) => {
                let hint = format!("Start {node}, or set another `node` for the machine");
                self.add("proxmox-node-offline", Some(key), format!("hypervisor {node} is offline"), hint);
            }
            None => {
                let message =
                    format!("hypervisor {node} does not exist; Proxmox has {}", list(self.facts.nodes.keys()));
                let hint = "Set `node` to the name of a hypervisor as `pvecm nodes` or the web interface shows it";
                self.add("proxmox-node", Some(key), message, hint.to_owned());
            }
        }
    }

    fn template(&mut self, key: &InstanceKey, machine: &GuestRequest) {
        let Some((id, on)) = machine.template() else { return };
        let path = format!("/vms/{id}");
        let facts = self.facts;
        let Some(guest) = facts.guests.get(&id) else {
            if self.sees(&path, &["VM.Audit"]) {
                let templates = facts.guests.iter().filter(|(_, guest)| guest.template && !guest.container);
                let templates: Vec<String> =
                    templates.map(|(id, guest)| format!("{id} ({} on {})", guest.name, guest.hypervisor)).collect();
                let message = match templates.is_empty() {
                    true => format!("virtual machine {id} does not exist, and Proxmox has no templates"),
                    false => format!("virtual machine {id} does not exist; the templates are {}", list(templates)),
                };
                let hint =
                    format!("Create template {id} as docs/proxmox.md shows, or set `template` to an existing template");
                self.add("proxmox-template", Some(key), message, hint);
            }
            return;
        };
        if guest.container {
            let message =
                format!("{id} ({}) is a container: Proxmox cannot clone virtual machines from it", guest.name);
            let hint = "Set `template` to the ID of a virtual machine that is a template";
            self.add("proxmox-template", Some(key), message, hint.to_owned());
        } else if !guest.template {
            let message = format!("virtual machine {id} ({} on {}) is not a template", guest.name, guest.hypervisor);
            let hint = format!(
                "Check that {id} is the right machine, then run `qm template {id}` on {}: the change is permanent",
                guest.hypervisor
            );
            self.add("proxmox-template", Some(key), message, hint);
        } else if guest.hypervisor != on && self.facts.nodes.contains_key(on) {
            let message = format!("template {id} is on hypervisor {}, not on {on}", guest.hypervisor);
            let hint = format!(
                "Set `template_node` to {0}, or `node` to {0}; or create a template with another ID on {on}, and set \
                 `template` of the instance to that id",
                guest.hypervisor
            );
            self.add("proxmox-template-node", Some(key), message, hint);
        }
    }

    fn datastore(&mut self, key: &InstanceKey, machine: &GuestRequest) {
        let (content, words) = machine.disk();
        for (name, field) in machine.datastores() {
            let needed = Needed { name, content, words, field };
            self.storage(key, &machine.hypervisor, &needed);
            // A clone begins where its template is, and is then moved; the disk of the data is made after that.
            if let Some((_, on)) =
                machine.template().filter(|(_, on)| *on != machine.hypervisor && field == "datastore")
            {
                self.storage(key, on, &needed);
            }
        }
    }

    /// Says what a storage of `node` lacks. Whether it is as needed.
    fn storage(&mut self, key: &InstanceKey, node: &str, needed: &Needed<'_>) -> bool {
        let (Needed { name, content, words, field }, facts) = (*needed, self.facts);
        let storages = match facts.storages.get(node) {
            // The node is missing or down, which is said.
            None => return false,
            Some(Err(trouble)) => {
                self.silent(key, node, "datastores", trouble);
                return false;
            }
            Some(Ok(storages)) => storages,
        };
        let Some(storage) = storages.get(name) else {
            let path = format!("/storage/{name}");
            let seen = self.sees(&path, &["Datastore.AllocateSpace", "Datastore.Audit"]);
            // A token that sees no datastore at all lacks the privilege. One that sees others may have been given a wrong
            // name: Proxmox tells such a token nothing about it.
            if seen || !storages.is_empty() {
                let fit: Vec<_> = storages.iter().filter(|(_, found)| found.content.contains(content)).collect();
                let near = nearest(name, fit.iter().map(|(name, _)| name.as_str()));
                let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                let visible = if seen { "" } else { " that the token may see" };
                let message = match fit.is_empty() {
                    true => format!("hypervisor {node} has no datastore {name}{visible}, and none that holds {words}"),
                    false => format!(
                        "hypervisor {node} has no datastore {name}{visible}; {words} can be in {}{near}",
                        list(fit.iter().map(|(name, _)| name))
                    ),
                };
                let mut hint = format!("Set `{field}` to an existing datastore; `pvesm status` on {node} lists them");
                if !seen {
                    hint += &format!(
                        "; if {name} is right, grant the token Datastore.AllocateSpace and Datastore.Audit on {path}"
                    );
                    self.hidden.insert(path);
                }
                self.add("proxmox-datastore", Some(key), message, hint);
            }
            return false;
        };
        if !storage.content.contains(content) {
            let held = list(&storage.content);
            let message = format!("datastore {name} on hypervisor {node} does not hold {words}: its content is {held}");
            let all: BTreeSet<&str> = storage.content.iter().map(String::as_str).chain([content]).collect();
            let all: Vec<&str> = all.into_iter().collect();
            let hint =
                format!("Run `pvesm set {name} --content {}` to allow it, or set another `{field}`", all.join(","));
            self.add("proxmox-datastore-content", Some(key), message, hint);
        } else if !storage.enabled || !storage.active {
            let state = if storage.enabled { "is not active" } else { "is disabled" };
            let message = format!("datastore {name} on hypervisor {node} {state}");
            let hint = match storage.enabled {
                true => format!("Run `pvesm status` on {node}, and check the disk or the server of the datastore"),
                false => format!("Run `pvesm set {name} --disable 0` to enable it"),
            };
            self.add("proxmox-datastore-inactive", Some(key), message, hint);
        } else {
            return true;
        }
        false
    }

    fn file(&mut self, key: &InstanceKey, machine: &GuestRequest) {
        let Some((file, storage)) = machine.file() else { return };
        let words = "template files of containers";
        if !self.storage(
            key,
            &machine.hypervisor,
            &Needed { name: storage, content: "vztmpl", words, field: "template" },
        ) {
            return;
        }
        let (node, facts) = (&machine.hypervisor, self.facts);
        match facts.files.get(&(node.clone(), storage.to_owned())) {
            Some(Ok(files)) if files.contains(file) => {}
            Some(Ok(files)) => {
                let message = match files.is_empty() {
                    true => format!("hypervisor {node} has no template file {file}, and {storage} has no other"),
                    false => format!("hypervisor {node} has no template file {file}; it has {}", list(files)),
                };
                let hint = format!(
                    "Run `pveam available --section system` and `pveam download {storage} FILE` on {node} to get one, \
                     or set `template` to an existing file"
                );
                self.add("proxmox-template-file", Some(key), message, hint);
            }
            Some(Err(trouble)) => self.silent(key, node, "template files", trouble),
            None => {}
        }
    }

    fn bridge(&mut self, key: &InstanceKey, machine: &GuestRequest) {
        for (bridge, path) in machine.bridges() {
            self.bridge_of(key, &machine.hypervisor, bridge, path);
        }
    }

    fn bridge_of(&mut self, key: &InstanceKey, node: &str, bridge: &str, path: String) {
        let facts = self.facts;
        match facts.bridges.get(node) {
            Some(Ok(bridges)) if !bridges.contains_key(bridge) => {
                // Older versions show every bridge to every token.
                let seen = !facts.granted.contains_key(&path) || self.sees(&path, &["SDN.Use", "SDN.Audit"]);
                // What Proxmox's SDN makes says nothing about the privileges on bridges.
                if seen || bridges.values().any(|vnet| !vnet) {
                    let near = nearest(bridge, bridges.keys().map(String::as_str));
                    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    let visible = if seen { "" } else { " that the token may see" };
                    let message = match bridges.is_empty() {
                        true => format!("hypervisor {node} has no bridge {bridge}, and no other"),
                        false => format!(
                            "hypervisor {node} has no bridge {bridge}{visible}; it has {}{near}",
                            list(bridges.keys())
                        ),
                    };
                    let mut hint =
                        format!("Set `bridge` to one that every hypervisor has, or create {bridge} on {node}");
                    if !seen {
                        hint += &format!("; if {bridge} is right, grant the token SDN.Use on {path}");
                        self.hidden.insert(path);
                    }
                    self.add("proxmox-bridge", Some(key), message, hint);
                }
            }
            Some(Err(trouble)) => self.silent(key, node, "bridges", trouble),
            Some(Ok(_)) | None => {}
        }
    }

    fn pools(&mut self, wanted: &ProxmoxRequest) {
        let facts = self.facts;
        if let Some(pool) = wanted.pool.as_ref().filter(|pool| !pool.made && facts.pools.contains(&pool.id)) {
            let id = &pool.id;
            let message = format!("pool {id} exists already, and this cluster did not create it");
            let hint = format!(
                "Set another `pool`; or remove `pool` and set `pool_id: {id}` on the instances that belong there; if \
                 an interrupted run has left an empty pool, run `pveum pool delete {id}`"
            );
            self.add("proxmox-pool-taken", None, message, hint);
        }
        for (key, machine) in wanted.machines.iter().filter(|(_, machine)| !machine.made) {
            let Some(id) = &machine.pool else { continue };
            let made_here = wanted.pool.as_ref().is_some_and(|pool| pool.id == *id);
            if !made_here && !facts.pools.contains(id) && self.sees(&format!("/pool/{id}"), &["Pool.Audit"]) {
                let message = format!("pool {id} does not exist, and this cluster does not create it");
                let hint = format!(
                    "Run `pveum pool add {id}` to create it, or set `pool: {id}` under `platform.proxmox` to let \
                     hactl create it"
                );
                self.add("proxmox-pool", Some(key), message, hint);
            }
        }
    }
}

pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::platform::proxmox::{
        facts::{Guest, Storage},
        needs::{
            ANY_GUEST, Pool, Source,
            tests::{machine, wanted},
        },
    };

    /// A Proxmox 8 with template 9002 on pve1, and all that a machine there needs.
    fn facts() -> Facts {
        let wanted = wanted(&[("node1", machine("pve1"))]);
        let granted = needs(&wanted, 8);
        let granted = granted.into_iter().map(|(paths, need)| {
            (paths[0].clone(), need.privileges.iter().map(|privilege| (*privilege).to_owned()).collect())
        });
        let template =
            Guest { hypervisor: "pve1".to_owned(), name: "debian-12".to_owned(), template: true, ..Guest::default() };
        let content = BTreeSet::from(["images".to_owned()]);
        let storage = Storage { content, enabled: true, active: true };
        Facts {
            version: "8.2.4".to_owned(),
            major: 8,
            nodes: BTreeMap::from([("pve1".to_owned(), true), ("pve2".to_owned(), false)]),
            guests: BTreeMap::from([(9002, template)]),
            granted: granted.collect(),
            storages: BTreeMap::from([("pve1".to_owned(), Ok(BTreeMap::from([("local-lvm".to_owned(), storage)])))]),
            bridges: BTreeMap::from([("pve1".to_owned(), Ok(BTreeMap::from([("vmbr0".to_owned(), false)])))]),
            ..Facts::default()
        }
    }

    fn codes(wanted: &ProxmoxRequest, facts: &Facts) -> Vec<&'static str> {
        judge(wanted, facts, "hactl@pve!t").iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn complete_facts_give_no_problem() {
        let wanted = wanted(&[("node1", machine("pve1"))]);
        assert!(codes(&wanted, &facts()).is_empty());
        assert!(sum_up(Vec::new(), "use", &"x").is_none());
    }

    #[test]
    fn invisible_object_is_a_missing_privilege_and_not_a_missing_object() {
        let wanted = wanted(&[("node1", machine("pve1"))]);
        let mut blind = facts();
        blind.granted.clear();
        blind.guests.clear();
        blind.storages.insert("pve1".to_owned(), Ok(BTreeMap::new()));
        blind.bridges.insert("pve1".to_owned(), Ok(BTreeMap::new()));
        blind.granted = needs(&wanted, 8).into_keys().flatten().map(|path| (path, BTreeSet::new())).collect();
        assert_eq!(codes(&wanted, &blind), ["proxmox-privileges"; 4]);
    }

    #[test]
    fn machines_with_the_same_problem_are_named_together() {
        let many: Vec<(String, GuestRequest)> = (1..=20).map(|n| (format!("node{n}"), machine("pve9"))).collect();
        let many: Vec<(&str, GuestRequest)> =
            many.iter().map(|(key, machine)| (key.as_str(), machine.clone())).collect();
        let problems = judge(&wanted(&many), &facts(), "t");
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(problems[0].machines.len(), 20);
        let said = problems[0].to_string();
        assert!(said.contains(" and 12 more: hypervisor pve9 does not exist; Proxmox has pve1, pve2"), "{said}");
    }

    #[test]
    fn template_on_another_node_is_a_problem_unless_the_file_names_the_node() {
        let mut facts = facts();
        facts.nodes.insert("pve2".to_owned(), true);
        facts.storages.insert("pve2".to_owned(), facts.storages["pve1"].clone());
        facts.bridges.insert("pve2".to_owned(), facts.bridges["pve1"].clone());
        let mut machine = machine("pve2");
        assert_eq!(codes(&wanted(&[("node1", machine.clone())]), &facts), ["proxmox-template-node"]);
        machine.source = Source::Template { id: 9002, hypervisor: Some("pve1".to_owned()) };
        let wanted = wanted(&[("node1", machine)]);
        assert_eq!(codes(&wanted, &facts), ["proxmox-privileges"]);
        facts.granted.get_mut(ANY_GUEST).unwrap().insert("VM.Migrate".to_owned());
        assert!(codes(&wanted, &facts).is_empty());
    }

    #[test]
    fn several_problems_are_combined_into_an_error_without_repeated_hints() {
        let mut wanted = wanted(&[("node1", machine("pve2")), ("node2", machine("pve9"))]);
        wanted.pool = Some(Pool { id: "p".to_owned(), made: true });
        let mut facts = facts();
        facts.guests.get_mut(&9002).unwrap().hypervisor = "pve2".to_owned();
        facts.granted.insert("/pool/p".to_owned(), ["Pool.Allocate", "Pool.Audit"].map(str::to_owned).into());
        let error = sum_up(judge(&wanted, &facts, "t"), "use Proxmox at", &"https://pve1/").unwrap();
        assert_eq!((error.code, error.causes.len()), ("proxmox-check", 2), "{error}");
        assert_eq!(error.hint.unwrap().lines().count(), 2);
    }

    #[test]
    fn hypervisor_that_does_not_list_its_storages_is_a_problem() {
        let mut facts = facts();
        facts.storages.insert("pve1".to_owned(), Err(Trouble::Failed("got timeout".to_owned())));
        let problems = judge(&wanted(&[("node1", machine("pve1"))]), &facts, "t");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("did not list its datastores: got timeout"), "{}", problems[0]);
    }
}
