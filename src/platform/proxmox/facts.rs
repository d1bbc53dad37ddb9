//! What a Proxmox says it has: asked in three rounds, each in parallel.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use futures_util::{StreamExt, future::join_all, stream};
use serde_json::Value;

use super::{
    Api, knock,
    needs::{ProxmoxRequest, needs},
    trouble::Trouble,
};
use crate::model::InstanceKey;

/// Questions under way at once: a node's web server has a handful of workers.
const AT_ONCE: usize = 8;

/// Connections to machines under way at once: a process may have some 1,000 open.
const KNOCKS_AT_ONCE: usize = 256;

/// What the token sees of a Proxmox, as far as a [`ProxmoxRequest`] is about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) version: String,
    pub(super) major: u64,
    /// Whether each node is online.
    pub(super) nodes: BTreeMap<String, bool>,
    pub(super) guests: BTreeMap<u32, Guest>,
    pub(super) pools: BTreeSet<String>,
    /// Privileges by path.
    pub(super) granted: BTreeMap<String, BTreeSet<String>>,
    /// By node.
    pub(super) storages: BTreeMap<String, Result<BTreeMap<String, Storage>, Trouble>>,
    /// Bridges and the networks that stand for one, by node; whether Proxmox's SDN makes it.
    pub(super) bridges: BTreeMap<String, Result<BTreeMap<String, bool>, Trouble>>,
    /// Template files by node and storage.
    pub(super) files: BTreeMap<(String, String), Result<BTreeSet<String>, Trouble>>,
    /// Machines of the cluster that Proxmox does not list.
    pub(super) unlisted: BTreeMap<InstanceKey, Unlisted>,
    /// What uses the fixed addresses of new machines.
    pub(super) users: BTreeMap<Ipv4Addr, AddressUser>,
    /// Whether the Proxmox cluster has a quorum; none where the token may not know.
    pub(super) quorate: Option<bool>,
    /// Who may set which tags; none where the token may not know.
    pub(super) tag_access: Option<TagAccess>,
}

/// A machine of the cluster that Proxmox does not list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unlisted {
    /// Whether Proxmox has a machine of its number all the same.
    pub(super) exists: bool,
    /// Whether it accepts connections where it did after the last run.
    pub(super) answers: bool,
}

/// What uses an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AddressUser {
    /// The guest of this number, by its configuration.
    Guest(u32),
    /// Something that answers there.
    Unknown,
}

/// The datacenter's option `user-tag-access`, with what follows from it for the token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TagAccess {
    /// `free`, `existing`, `list` or `none`.
    pub(super) mode: String,
    /// The tags that the token may set.
    pub(super) allowed: BTreeSet<String>,
    /// The tags that only a token with Sys.Modify may set.
    pub(super) registered: BTreeSet<String>,
}

/// The path of everything, on which the privileges of the Proxmox cluster itself are granted.
pub(super) const ROOT: &str = "/";

/// A virtual machine or container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) hypervisor: String,
    pub(super) name: String,
    pub(super) container: bool,
    pub(super) template: bool,
    pub(super) running: bool,
    pub(super) tags: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) content: BTreeSet<String>,
    pub(super) enabled: bool,
    pub(super) active: bool,
}

/// Asks for all that `wanted` is about.
///
/// # Errors
/// When it is not Proxmox, refuses the token, or does not list its objects. That one node does not answer is a fact.
pub(super) async fn gather(api: &Api, wanted: &ProxmoxRequest) -> Result<Facts, Trouble> {
    let mut facts = Facts::default();
    // Alone and first: each refused token costs three seconds and a line in Proxmox's log.
    (facts.version, facts.major) = version(&api.get(&["version"], &[]).await?)?;

    let mut paths: BTreeSet<String> = needs(wanted, facts.major).into_keys().flatten().collect();
    if !wanted.machines.is_empty() {
        paths.insert(ROOT.to_owned());
    }
    // A machine that is not in its pool any more has lost the pool's privileges.
    paths.extend(wanted.machines.values().filter_map(|machine| Some(format!("/pool/{}", machine.pool(wanted)?))));
    let granted = stream::iter(paths)
        .map(async |path: String| {
            let answer = api.get(&["access", "permissions"], &[("path", &path)]).await?;
            let privileges = privileges(&answer, &path);
            Ok::<_, Trouble>((path, privileges))
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>();
    let (nodes, guests, pools, granted) =
        tokio::join!(api.get(&["nodes"], &[]), guests(api), api.get(&["pools"], &[]), granted);
    facts.nodes = each(&nodes?, |node| Some((text(node, "node")?, text(node, "status")? != "offline")));
    facts.guests = guests?;
    facts.pools = each(&pools?, |pool| text(pool, "poolid"));
    facts.granted = granted.into_iter().collect::<Result<_, _>>()?;

    // A node that is down is not asked: the question would wait for it.
    let online = |node: &str| facts.nodes.get(node) == Some(&true);
    let new = wanted.machines.values().filter(|machine| !machine.made && online(&machine.hypervisor));
    let nodes: BTreeSet<&str> = new.clone().map(|machine| machine.hypervisor.as_str()).collect();
    // A clone begins where its template is.
    let origins = new.clone().filter_map(|machine| Some(machine.template()?.1)).filter(|node| online(node));
    let stored: BTreeSet<&str> = nodes.iter().copied().chain(origins).collect();
    let stores: BTreeSet<(&str, &str)> =
        new.filter_map(|machine| Some((machine.hypervisor.as_str(), machine.file()?.1))).collect();
    let storages = join_all(stored.iter().map(async |node| {
        let answer = api.get(&["nodes", node, "storage"], &[]).await;
        ((*node).to_owned(), answer.map(|answer| storages(&answer)))
    }));
    let bridges = join_all(nodes.iter().map(async |node| {
        let answer = api.get(&["nodes", node, "network"], &[("type", "any_bridge")]).await;
        let bridge = |found: &Value| Some((text(found, "iface")?, found["type"] == "vnet"));
        ((*node).to_owned(), answer.map(|answer| each(&answer, bridge)))
    }));
    let files = join_all(stores.iter().map(async |(node, storage)| {
        let answer = api.get(&["nodes", node, "storage", storage, "content"], &[("content", "vztmpl")]).await;
        (((*node).to_owned(), (*storage).to_owned()), answer.map(|answer| each(&answer, |file| text(file, "volid"))))
    }));
    let (storages, bridges, files, unlisted, quorate, tag_access) = tokio::join!(
        storages,
        bridges,
        files,
        unlisted(api, wanted, &facts),
        quorate(api, &facts),
        tag_access(api, wanted)
    );
    (facts.storages, facts.bridges, facts.files) =
        (storages.into_iter().collect(), bridges.into_iter().collect(), files.into_iter().collect());
    (facts.unlisted, facts.quorate, facts.tag_access) = (unlisted?, quorate, tag_access);
    Ok(facts)
}

/// Looks for the machines that the state or the record knows and the list lacks.
async fn unlisted(
    api: &Api,
    wanted: &ProxmoxRequest,
    facts: &Facts,
) -> Result<BTreeMap<InstanceKey, Unlisted>, Trouble> {
    let missing = wanted.machines.iter().filter_map(|(key, machine)| Some((key, machine, machine.vmid?)));
    let missing: Vec<_> = missing.filter(|(_, _, vmid)| !facts.guests.contains_key(vmid)).collect();
    let free = stream::iter(&missing)
        .map(async |(_, _, vmid)| api.is_free(*vmid).await)
        .buffered(AT_ONCE)
        .collect::<Vec<Result<bool, Trouble>>>();
    // No question to Proxmox. Each machine that is gone takes the whole patience of a connection.
    let answers = stream::iter(&missing)
        .map(async |(_, machine, _)| match &machine.was_at {
            Some((host, port)) => knock::accepts(host, *port).await,
            None => false,
        })
        .buffered(KNOCKS_AT_ONCE)
        .collect::<Vec<bool>>();
    let (free, answers) = tokio::join!(free, answers);
    let found = missing.iter().zip(free).zip(answers);
    found.map(|(((key, _, _), free), answers)| Ok(((*key).clone(), Unlisted { exists: !free?, answers }))).collect()
}

/// Whether the Proxmox cluster has a quorum, where the token may ask.
async fn quorate(api: &Api, facts: &Facts) -> Option<bool> {
    let granted = facts.granted.get(ROOT)?;
    if !granted.contains("Sys.Audit") {
        return None;
    }
    has_quorum(api).await
}

/// Whether the Proxmox cluster has a quorum; none if Proxmox does not say.
pub(super) async fn has_quorum(api: &Api) -> Option<bool> {
    let answer = api.get(&["cluster", "status"], &[]).await.ok()?;
    let cluster = answer.as_array()?.iter().find(|item| item["type"] == "cluster");
    // A single hypervisor is no cluster.
    Some(cluster.is_none_or(|cluster| is_set(&cluster["quorate"])))
}

/// Who may set tags: Proxmox tells it to tokens with Sys.Audit.
async fn tag_access(api: &Api, wanted: &ProxmoxRequest) -> Option<TagAccess> {
    wanted.machines.values().find(|machine| !machine.made)?;
    let answer = api.get(&["cluster", "options"], &[]).await.ok()?;
    let tags = |key: &str| each(&answer[key], |tag| tag.as_str().map(str::to_owned));
    Some(TagAccess {
        mode: text(&answer["user-tag-access"], "user-allow").unwrap_or_else(|| "free".to_owned()),
        allowed: tags("allowed-tags"),
        registered: tags("registered-tags"),
    })
}

/// Every virtual machine and container that the token may see.
pub(super) async fn guests(api: &Api) -> Result<BTreeMap<u32, Guest>, Trouble> {
    let answer = api.get(&["cluster", "resources"], &[("type", "vm")]).await?;
    Ok(each(&answer, |guest| {
        let id = u32::try_from(whole(&guest["vmid"])?).ok()?;
        let found = Guest {
            hypervisor: text(guest, "node")?,
            name: text(guest, "name").unwrap_or_default(),
            container: guest["type"] == "lxc",
            template: is_set(&guest["template"]),
            running: guest["status"] == "running",
            tags: tags(&text(guest, "tags").unwrap_or_default()),
        };
        Some((id, found))
    }))
}

/// Proxmox takes and gives more than one separator.
fn tags(text: &str) -> BTreeSet<String> {
    text.split([';', ',', ' ']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

fn version(answer: &Value) -> Result<(String, u64), Trouble> {
    let other = || Trouble::NotProxmox("it does not report a version of Proxmox VE".to_owned());
    let version = text(answer, "version").ok_or_else(other)?;
    let major = version.split('.').next().and_then(|major| major.parse().ok()).ok_or_else(other)?;
    Ok((version, major))
}

/// The privileges that one path has; the number beside each says whether paths below have it, too.
fn privileges(answer: &Value, path: &str) -> BTreeSet<String> {
    answer[path].as_object().into_iter().flatten().map(|(privilege, _)| privilege.clone()).collect()
}

fn storages(answer: &Value) -> BTreeMap<String, Storage> {
    each(answer, |storage| {
        let content = text(storage, "content").unwrap_or_default();
        let found = Storage {
            content: content.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            enabled: is_set(&storage["enabled"]),
            active: is_set(&storage["active"]),
        };
        Some((text(storage, "storage")?, found))
    })
}

/// Every element of a list that has what is needed of it.
fn each<T, C: FromIterator<T>>(list: &Value, read: impl Fn(&Value) -> Option<T>) -> C {
    list.as_array().into_iter().flatten().filter_map(read).collect()
}

fn text(object: &Value, key: &str) -> Option<String> {
    object[key].as_str().map(str::to_owned)
}

/// Proxmox gives the same number as a number in one place and as text in another.
pub(super) fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn is_set(value: &Value) -> bool {
    value == &Value::Bool(true) || whole(value).is_some_and(|number| number != 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn version_answer_of_another_server_is_refused() {
        assert_eq!(
            version(&json!({"version": "8.2.4", "release": "8.2", "repoid": "x"})).unwrap(),
            ("8.2.4".to_owned(), 8)
        );
        assert_eq!(version(&json!({"version": "9.0.3"})).unwrap().1, 9);
        for other in [json!(null), json!([]), json!({"version": 3}), json!({"version": "x"}), json!({})] {
            assert!(matches!(version(&other), Err(Trouble::NotProxmox(_))), "{other}");
        }
    }

    #[test]
    fn numbers_are_read_from_numbers_text_and_booleans() {
        assert_eq!((whole(&json!(7)), whole(&json!("7")), whole(&json!("x"))), (Some(7), Some(7), None));
        assert!(is_set(&json!(1)) && is_set(&json!("1")) && is_set(&json!(true)));
        assert!(!is_set(&json!(0)) && !is_set(&json!(null)) && !is_set(&json!("")));
    }

    #[test]
    fn storage_content_is_read_as_a_set() {
        let found = storages(&json!([
            {"storage": "local", "content": "iso, vztmpl", "enabled": 1, "active": 1},
            {"storage": "nfs", "content": "images", "enabled": 1, "active": 0},
            {"content": "images"},
        ]));
        assert_eq!(found.len(), 2);
        assert!(found["local"].content.contains("vztmpl") && found["local"].active);
        assert!(found["nfs"].enabled && !found["nfs"].active);
    }

    #[test]
    fn privilege_counts_with_or_without_propagation() {
        let answer = json!({"/vms/9002": {"VM.Clone": 1, "VM.Audit": 0}});
        assert_eq!(privileges(&answer, "/vms/9002").len(), 2);
        assert!(privileges(&answer, "/vms/9003").is_empty());
    }
}
