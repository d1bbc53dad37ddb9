//! Asking every node at once. What does not answer is an observation, too.

use std::time::Duration;

use futures_util::future::join_all;

use super::clock;
use crate::{
    access::{Access, PATIENCE},
    component::{self, COMPONENTS, NodeView, Observations, Reached, reach},
    firewall,
    fleet::{Fleet, FleetNode},
    model::{InstanceKey, Role},
    ssh::Remote,
};

/// The roles enable a helper only on machines that need it.
const ENABLED: &str = "systemctl is-enabled --quiet $unit 2>/dev/null || exit 0; ";

/// Asks all nodes at once; takes at most about 8 s, however many do not answer.
pub async fn observe(fleet: &Fleet, access: &Access) -> Observations {
    let views = fleet.nodes.values().map(async |node| (node.key().clone(), ask(node, fleet, access).await));
    let mut seen: Observations = join_all(views).await.into_iter().collect();
    for component in &COMPONENTS {
        (component.complete)(fleet, &mut seen);
    }
    seen
}

async fn ask(node: &FleetNode, fleet: &Fleet, access: &Access) -> NodeView {
    let roles = node.node.roles.clone();
    if roles.is_empty() {
        return NodeView::new(roles, Ok(()));
    }
    let remote = &match reach(access, node).await {
        Ok(remote) => remote,
        Err(said) => return NodeView::new(roles, Err(said)),
    };
    let components = || component::on(&node.node);
    let reached = Reached { remote, access, fleet, node };
    let asked = components().filter_map(|component| component.ask.map(|ask| (component, ask)));
    let views = join_all(asked.map(async |(component, ask)| (component, ask(reached).await)));
    let data = async {
        match roles.contains(&Role::Patroni) && node.found.is_none() {
            true => {
                remote.run(include_str!("data.sh"), b"", PATIENCE).await.map(|done| done.stdout).unwrap_or_default()
            }
            false => String::new(),
        }
    };
    let helpers = components().flat_map(|component| component.helpers).filter(|_| node.found.is_none());
    let helpers = join_all(helpers.map(async |unit| (*unit, unit_trouble(remote, unit, ENABLED).await)));
    let firewall = async { if node.found.is_none() { firewall::ask(remote, PATIENCE).await } else { None } };
    let (views, (clock, digest), helpers, firewall, data) =
        tokio::join!(views, clock::clock_and_digest(remote), helpers, firewall, data);

    let mut view = NodeView::new(roles.clone(), Ok(()));
    (view.kept, view.checkpoint) = (kept(&data), checkpoint(&data));
    let silent = views.iter().filter(|(_, view)| view.is_silent());
    let units: Vec<&str> = silent.filter_map(|(component, _)| component.unit.map(|unit| unit(node))).collect();
    for (_, said) in views {
        view.add(said);
    }
    (view.clock, view.digest) = (clock, digest);
    view.firewall = firewall;
    view.without_tls = without_tls(node, &view);
    let failed = helpers.into_iter().filter_map(|(unit, lines)| Some((unit.to_owned(), lines?)));
    view.failed_units.extend(failed);
    for unit in units {
        if let Some(lines) = unit_trouble(remote, unit, "").await {
            view.failed_units.insert(unit.to_owned(), lines);
        }
    }
    view
}

/// Data directories that `hactl reinit` has kept aside.
fn kept(said: &str) -> Vec<(String, u64)> {
    let lines = said.lines().filter_map(|line| line.split_once('\t'));
    lines.filter_map(|(size, path)| Some((path.to_owned(), size.parse().ok()?))).collect()
}

/// The machines that have data of the cluster, whether PostgreSQL runs there or not.
pub(crate) fn with_data(seen: &Observations) -> Vec<InstanceKey> {
    seen.iter().filter(|(_, view)| view.checkpoint.is_some()).map(|(key, _)| key.clone()).collect()
}

/// Timeline and WAL position of the data's last checkpoint.
fn checkpoint(said: &str) -> Option<(u64, u64)> {
    let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
    let (high, low) = value("checkpoint ")?.split_once('/')?;
    let half = |text: &str| u64::from_str_radix(text, 16).ok();
    Some((value("timeline ")?.parse().ok()?, (half(high)? << 32) + half(low)?))
}

/// Services that answered without TLS, from PostgreSQL down to etcd.
fn without_tls(node: &FleetNode, view: &NodeView) -> Vec<String> {
    let plain = COMPONENTS.iter().rev().filter(|component| (component.is_plain)(node, view));
    plain.map(|component| format!("{} ({})", component.title, (component.endpoint)(node).port)).collect()
}

/// The last log lines of a unit that is not active; none if it is active or `condition` does not hold.
async fn unit_trouble(remote: &Remote, unit: &str, condition: &str) -> Option<Vec<String>> {
    let script = format!(
        "unit={unit}; {condition}systemctl is-active --quiet {unit} || {{ systemctl show -p ActiveState,SubState,Result {unit} | paste -sd' '; \
         journalctl -u {unit} -n 12 --no-pager -o cat; }}"
    );
    let done = remote.run(&script, b"", Duration::from_secs(2)).await.ok()?;
    let lines: Vec<String> = done.stdout.lines().map(str::to_owned).collect();
    (!lines.is_empty()).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_on_the_disk_is_kept_directories_and_the_last_checkpoint() {
        let said = "164\t/var/lib/postgresql/15/pg.diverged-20261129T224142Z\ncheckpoint 1/A000098\ntimeline 2\n";
        assert_eq!(kept(said), [("/var/lib/postgresql/15/pg.diverged-20261129T224142Z".to_owned(), 164)]);
        assert_eq!(checkpoint(said), Some((2, 0x1_0A00_0098)));
        assert_eq!((kept(""), checkpoint("")), (Vec::new(), None));
    }
}
