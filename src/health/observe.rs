//! Asking every node at once. What does not answer is an observation, too.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use serde::Serialize;

use crate::{
    access::{Access, PATIENCE},
    component::{
        Observed, Reached,
        etcd::{self, EtcdView},
        patroni::{self, LEASE_GUARD, PatroniView},
        postgres::{self, PostgresView},
        reach,
    },
    fleet::{Fleet, FleetNode},
    model::{InstanceKey, Role},
    ssh::Remote,
};

/// The roles enable the lease guard where there is somebody to take over.
const ENABLED: &str = "systemctl is-enabled --quiet $unit 2>/dev/null || exit 0; ";

/// Everything that the nodes said at one moment.
pub type Observations = BTreeMap<InstanceKey, NodeView>;

/// One node's answers.
#[derive(Clone, Debug, Serialize)]
pub struct NodeView {
    pub roles: std::collections::BTreeSet<Role>,
    pub ssh: Observed<()>,
    pub etcd: Option<Observed<EtcdView>>,
    pub patroni: Option<Observed<PatroniView>>,
    pub postgres: Option<Observed<PostgresView>>,
    /// Units that failed, each with its last log lines; asked only where a service did not answer.
    pub failed_units: BTreeMap<String, Vec<String>>,
    /// Services that it serves without TLS.
    pub without_tls: Vec<String>,
    /// The digest that the last good configuration left on the node.
    pub digest: Option<String>,
}

/// Asks all nodes at once; takes at most about 8 s, however many do not answer.
pub async fn observe(fleet: &Fleet, access: &Access) -> Observations {
    let views = fleet.nodes.values().map(async |node| (node.key().clone(), ask(node, fleet, access).await));
    let mut seen: Observations = join_all(views).await.into_iter().collect();
    let answers = seen.iter_mut().filter_map(|(key, view)| Some((key, view.etcd.as_mut()?.as_mut().ok()?)));
    etcd::name_members(fleet, answers);
    seen
}

async fn ask(node: &FleetNode, fleet: &Fleet, access: &Access) -> NodeView {
    let mut view = NodeView {
        roles: node.node.roles.clone(),
        ssh: Ok(()),
        etcd: None,
        patroni: None,
        postgres: None,
        failed_units: BTreeMap::new(),
        without_tls: Vec::new(),
        digest: None,
    };
    if node.node.roles.is_empty() {
        return view;
    }
    let remote = match reach(access, node).await {
        Ok(remote) => remote,
        Err(said) => {
            view.ssh = Err(said);
            return view;
        }
    };
    let reached = Reached { remote: &remote, access, fleet, node };
    let has = |role| node.node.roles.contains(&role);
    let etcd = async { if has(Role::Etcd) { Some(etcd::ask(reached).await) } else { None } };
    let patroni = async { if has(Role::Patroni) { Some(patroni::ask(reached).await) } else { None } };
    let postgres = async { if has(Role::Patroni) { Some(postgres::ask(reached).await) } else { None } };
    let digest = remote.run("cat /etc/hactl/digest 2>/dev/null", b"", PATIENCE);
    let guard = async {
        if has(Role::Patroni) && node.found.is_none() {
            unit_trouble(&remote, LEASE_GUARD, ENABLED).await
        } else {
            None
        }
    };
    let answers = tokio::join!(etcd, patroni, postgres, digest, guard);
    let (digest, guard);
    (view.etcd, view.patroni, view.postgres, digest, guard) = answers;
    view.failed_units.extend(guard.map(|lines| (LEASE_GUARD.to_owned(), lines)));
    view.digest = digest.ok().map(|done| done.stdout.trim().to_owned()).filter(|text| !text.is_empty());
    view.without_tls = without_tls(node, &view);
    let silent = |answered: bool, unit: &str| if answered { None } else { Some(unit.to_owned()) };
    let units = [
        silent(view.etcd.as_ref().is_none_or(Result::is_ok), etcd::unit(node)),
        silent(view.patroni.as_ref().is_none_or(Result::is_ok), patroni::unit(node)),
    ];
    for unit in units.into_iter().flatten() {
        if let Some(lines) = unit_trouble(&remote, &unit, "").await {
            view.failed_units.insert(unit, lines);
        }
    }
    view
}

/// What answered there in the clear.
fn without_tls(node: &FleetNode, view: &NodeView) -> Vec<String> {
    let answers = [
        ("PostgreSQL", postgres::door(node), matches!(&view.postgres, Some(Ok(postgres)) if !postgres.tls)),
        ("Patroni", patroni::door(node), !patroni::door(node).tls && matches!(&view.patroni, Some(Ok(_)))),
        ("etcd", etcd::door(node), !etcd::door(node).tls && matches!(&view.etcd, Some(Ok(_)))),
    ];
    let plain = answers.into_iter().filter(|(_, _, plain)| *plain);
    plain.map(|(service, door, _)| format!("{service} ({})", door.port)).collect()
}

/// The last log lines of a unit that is not active; nothing for one that is, or of which `condition` does not hold.
async fn unit_trouble(remote: &Remote, unit: &str, condition: &str) -> Option<Vec<String>> {
    let script = format!(
        "unit={unit}; {condition}systemctl is-active --quiet {unit} || {{ systemctl show -p ActiveState,SubState,Result {unit} | paste -sd' '; \
         journalctl -u {unit} -n 12 --no-pager -o cat; }}"
    );
    let done = remote.run(&script, b"", Duration::from_secs(2)).await.ok()?;
    let lines: Vec<String> = done.stdout.lines().map(str::to_owned).collect();
    (!lines.is_empty()).then_some(lines)
}
