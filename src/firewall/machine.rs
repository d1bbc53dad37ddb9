//! What runs on a machine: questions about the packet filter, loading it with a timer that removes it, and keeping it.

use std::{net::IpAddr, time::Duration};

use super::Rules;
use crate::{
    access::PATIENCE,
    component::{COMPONENTS, FirewallView},
    fleet::FleetNode,
    ssh::{Remote, SshError},
};

/// After how many seconds a machine removes a table that no run has confirmed.
const CONFIRMED_WITHIN: u32 = 120;

/// The longest time that one step may take.
const STEP: Duration = Duration::from_secs(20);

/// The exit status of a machine that cannot load the rules.
const CANNOT: i32 = 3;

/// Why a step on a machine failed.
pub(crate) enum LoadError {
    /// The machine cannot load the rules, and has none.
    Refused(String),
    /// It did not answer, or the step failed.
    Failed(String),
}

impl From<SshError> for LoadError {
    fn from(error: SshError) -> Self {
        Self::Failed(error.causes().join(": "))
    }
}

/// The script of a step.
fn script(step: &str, rules: &str, endpoints: &[String]) -> String {
    let ports: Vec<String> =
        COMPONENTS.iter().flat_map(|component| component.ports).map(|port| port.number.to_string()).collect();
    include_str!("firewall.sh")
        .replace("@STEP@", step)
        .replace("@PORTS@", &ports.join(" "))
        .replace("@ENDPOINTS@", &endpoints.join(" "))
        .replace("@PATIENCE@", &CONFIRMED_WITHIN.to_string())
        .replace("@RULES@", rules)
}

async fn run(remote: &Remote, script: &str) -> Result<String, LoadError> {
    let done = remote.run("/bin/sh", script.as_bytes(), STEP).await?;
    match done.status {
        0 => Ok(done.stdout),
        CANNOT => Err(LoadError::Refused(done.stdout.trim().to_owned())),
        status => Err(LoadError::Failed(format!("the script exited with status {status}: {}", done.stderr.trim()))),
    }
}

/// Asks a machine about the packet filter and its connections; none if it does not answer.
pub(crate) async fn ask(remote: &Remote) -> Option<FirewallView> {
    let done = remote.run("/bin/sh", script("ask", "", &[]).as_bytes(), PATIENCE).await.ok()?;
    Some(parse(&done.stdout))
}

fn parse(text: &str) -> FirewallView {
    let mut view = FirewallView::default();
    for line in text.lines() {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("digest", digest) => view.digest = Some(digest.to_owned()),
            ("loaded", _) => view.loaded = true,
            ("enabled", _) => view.enabled = true,
            ("armed", _) => view.armed = true,
            ("refused", reason) => view.refused = Some(reason.to_owned()),
            ("peer", socket) => view.connected.extend(peer(socket)),
            _ => {}
        }
    }
    view
}

/// A line of `ss`, which ends with the local and the other address -> the local port and the other side.
fn peer(line: &str) -> Option<(u16, IpAddr)> {
    let mut words = line.split_whitespace().rev();
    let (other, local) = (words.next()?, words.next()?);
    let (_, port) = local.rsplit_once(':')?;
    let (address, _) = other.rsplit_once(':')?;
    // A link-local address has its interface after a `%`.
    let address = address.trim_matches(['[', ']']).split('%').next()?;
    Some((port.parse().ok()?, address.parse().ok()?))
}

/// Loads the rules, after a timer is set that removes them.
pub(crate) async fn load(remote: &Remote, rules: &Rules) -> Result<(), LoadError> {
    run(remote, &script("load", &rules.text(), &[])).await.map(drop)
}

/// The ports of the other machines that a machine cannot connect to, as `address/port`.
pub(crate) async fn check(remote: &Remote, node: &FleetNode, others: &[&FleetNode]) -> Result<Vec<String>, LoadError> {
    let others = others.iter().filter(|other| other.key() != node.key());
    let endpoints = others.flat_map(|other| {
        let components = COMPONENTS.iter().filter(|component| other.node.roles.contains(&component.role));
        components.flat_map(|component| component.ports).map(|port| format!("{}/{}", other.address, port.number))
    });
    let said = run(remote, &script("check", "", &endpoints.collect::<Vec<_>>())).await?;
    let mut silent: Vec<String> = said.lines().map(str::to_owned).collect();
    silent.sort();
    Ok(silent)
}

/// Stops the timer, and lets the machine load the rules at boot.
pub(crate) async fn keep(remote: &Remote) -> Result<(), LoadError> {
    run(remote, &script("keep", "", &[])).await.map(drop)
}

/// Removes the table, and everything that would load it again.
pub(crate) async fn remove(remote: &Remote) -> Result<(), LoadError> {
    run(remote, &script("remove", "", &[])).await.map(drop)
}
