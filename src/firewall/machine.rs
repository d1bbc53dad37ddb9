//! What runs on a machine: questions about the packet filter, loading it with a timer that removes it, and keeping it.

use std::{net::IpAddr, time::Duration};

use super::Rules;
use crate::{
    component::{self, FirewallView},
    fleet::FleetNode,
    ssh::{Remote, SshError},
};

/// After how many seconds a machine removes a table that no run has confirmed.
const CONFIRMED_WITHIN: u32 = 120;

/// The longest time that one step may take.
pub(crate) const STEP: Duration = Duration::from_secs(20);

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

/// What the steps need.
#[derive(Default)]
struct Values<'a> {
    /// The file that `load` loads.
    rules: &'a str,
    /// The members that `admit` lets in.
    members: &'a str,
    /// What `check` connects to.
    endpoints: &'a str,
    /// The ports whose connections `peers` lists.
    ports: &'a str,
}

/// The script of a step.
fn script(step: &str, values: &Values<'_>) -> String {
    let Values { rules, members, endpoints, ports } = values;
    include_str!("firewall.sh")
        .replace("@STEP@", step)
        .replace("@PORTS@", ports)
        .replace("@MEMBERS@", members)
        .replace("@ENDPOINTS@", endpoints)
        .replace("@PATIENCE@", &CONFIRMED_WITHIN.to_string())
        .replace("@RULES@", rules.trim_end())
}

async fn run(remote: &Remote, script: &str) -> Result<String, LoadError> {
    let done = remote.run("/bin/sh", script.as_bytes(), STEP).await?;
    match done.status {
        CANNOT => Err(LoadError::Refused(done.stdout.trim().to_owned())),
        _ => done.output().map_err(LoadError::Failed),
    }
}

/// Asks a machine about the packet filter; none if it does not answer.
pub(crate) async fn ask(remote: &Remote, patience: Duration) -> Option<FirewallView> {
    answer(remote, &script("ask", &Values::default()), patience).await
}

/// The same with the connections to the declared ports.
pub(crate) async fn ask_with_peers(remote: &Remote, node: &FleetNode) -> Option<FirewallView> {
    let ports: Vec<String> = component::ports(&node.node).map(|(_, port)| port.number.to_string()).collect();
    answer(remote, &script("peers", &Values { ports: &ports.join(" "), ..Values::default() }), STEP).await
}

async fn answer(remote: &Remote, script: &str, patience: Duration) -> Option<FirewallView> {
    let done = remote.run("/bin/sh", script.as_bytes(), patience).await.ok()?;
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

/// Lets the members of the rules into a table that is loaded.
pub(crate) async fn admit(remote: &Remote, rules: &Rules) -> Result<(), LoadError> {
    run(remote, &script("admit", &Values { members: &rules.members(), ..Values::default() })).await.map(drop)
}

/// Loads the rules, after a timer is set that removes them.
pub(crate) async fn load(remote: &Remote, rules: &Rules) -> Result<(), LoadError> {
    run(remote, &script("load", &Values { rules: &rules.text(), ..Values::default() })).await.map(drop)
}

/// The ports of the other machines that a machine cannot connect to, as `address/port`.
pub(crate) async fn check(remote: &Remote, node: &FleetNode, others: &[&FleetNode]) -> Result<Vec<String>, LoadError> {
    let others = others.iter().filter(|other| other.key() != node.key());
    let endpoints = others.flat_map(|other| {
        let ports = component::on(&other.node).flat_map(|component| (component.ports)(&other.node));
        ports.map(|port| format!("{}/{}", other.address, port.number))
    });
    let endpoints = endpoints.collect::<Vec<_>>().join(" ");
    let said = run(remote, &script("check", &Values { endpoints: &endpoints, ..Values::default() })).await?;
    let mut silent: Vec<String> = said.lines().map(str::to_owned).collect();
    silent.sort();
    Ok(silent)
}

/// Stops the timer, and lets the machine load the rules at boot.
pub(crate) async fn keep(remote: &Remote) -> Result<(), LoadError> {
    run(remote, &script("keep", &Values::default())).await.map(drop)
}

/// Removes the table, and everything that would load it again.
pub(crate) async fn remove(remote: &Remote) -> Result<(), LoadError> {
    run(remote, &script("remove", &Values::default())).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_of_a_machine_is_parsed_with_ipv4_and_ipv6_connections() {
        let said = "digest ab12\nloaded\nenabled\narmed\nrefused Error: Operation not supported\n\
                    peer ESTAB 0      0      10.0.0.10:5432  192.0.2.9:41234\n\
                    peer TIME-WAIT 0 0 [::ffff:10.0.0.10]:8008 [::ffff:192.0.2.8]:41235\n\
                    peer 0 0 [fe80::1%eth0]:5432 [fe80::2%eth0]:41236\n";
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let expected = FirewallView {
            digest: Some("ab12".to_owned()),
            loaded: true,
            enabled: true,
            armed: true,
            refused: Some("Error: Operation not supported".to_owned()),
            connected: vec![
                (5432, address("192.0.2.9")),
                (8008, address("::ffff:192.0.2.8")),
                (5432, address("fe80::2")),
            ],
        };
        assert_eq!(parse(said), expected);
        assert!(!expected.is_current("ab12"), "a timer will remove the table");
        assert!(FirewallView { armed: false, ..expected }.is_current("ab12"));
        assert!(!parse("").is_present());
    }

    #[test]
    fn scripts_have_no_placeholder_and_set_a_timer_before_the_table_is_loaded() {
        for step in ["ask", "peers", "admit", "load", "check", "keep", "remove"] {
            let rules = "table inet hactl {}\n";
            let script =
                script(step, &Values { rules, members: "10.0.0.10", endpoints: "10.0.0.11/2379", ports: "2379 5432" });
            assert!(script.contains(&format!("step='{step}'\n")), "{script}");
            assert!(script.contains("ports='2379 5432'\n"), "{script}");
            assert!(script.contains("<<'RULES'\ntable inet hactl {}\nRULES\n"), "{script}");
            assert!(!script.contains('@'), "{script}");
            let place = |text: &str| script.find(text).unwrap();
            assert!(place("systemd-run ") < place("said=$(nft -f \"$loading\""), "{script}");
        }
    }
}
