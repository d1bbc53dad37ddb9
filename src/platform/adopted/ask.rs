//! What runs on a machine: asked over SSH as root, in two scripts. Nothing is changed there.

use std::{net::Ipv4Addr, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::config::{self, Local};
use crate::{
    component::patroni::LEASE_GUARD,
    model::Secret,
    ssh::{Remote, quoted},
};

/// How long a script may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a machine reported.
#[derive(Debug, Default)]
pub(super) struct MachineReport {
    /// The machine's own addresses, without those that every machine has.
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) patroni: Option<Patroni>,
    /// The unit of the etcd that runs here, if one does; `-` if systemd does not run it.
    pub(super) etcd_unit: Option<String>,
}

/// The Patroni that runs on a machine.
#[derive(Debug)]
pub(super) struct Patroni {
    pub(super) unit: String,
    pub(super) user: String,
    pub(super) local: Local,
    /// Addresses of the hosts that its configuration names, as this machine resolves them.
    pub(super) resolved: Vec<(String, Ipv4Addr)>,
    /// Whether the watchdog's device is there, where one is used.
    pub(super) watchdog: bool,
    /// Whether hactl's lease guard runs: the cluster was made by another hactl.
    pub(super) guard: bool,
    /// Certificate and key for etcd, and for the REST API.
    pub(super) etcd_client: Option<(String, Secret)>,
    pub(super) ctl_client: Option<(String, Secret)>,
}

impl Patroni {
    /// The IPv4 address of a host that the configuration names.
    pub(super) fn resolve(&self, host: &str) -> Option<Ipv4Addr> {
        let literal = host.parse().ok();
        literal.or_else(|| self.resolved.iter().find(|(name, _)| name == host).map(|(_, address)| *address))
    }
}

/// Asks a machine. `unit` chooses among several Patronis.
///
/// # Errors
/// What was seen instead of an answer.
pub(super) async fn ask(remote: &Remote, unit: Option<&str>) -> Result<MachineReport, String> {
    let said = script(remote, include_str!("processes.sh")).await?;
    let found = parse(&said);
    let mut told = MachineReport { addresses: found.addresses, patroni: None, etcd_unit: found.etcd_unit };
    let Some(process) = choose(found.patronis, unit)? else { return Ok(told) };
    let local = config::read(&process.files, &process.environment)?;
    let second = second(&local);
    let said = script(remote, &second).await?;
    let lines = Lines(&said);
    let resolved = lines.all("address").filter_map(|rest| {
        let (host, address) = rest.split_once(' ')?;
        Some((host.to_owned(), address.parse().ok()?))
    });
    told.patroni = Some(Patroni {
        unit: process.unit,
        user: process.user,
        resolved: resolved.collect(),
        watchdog: lines.all("watchdog").next().is_some(),
        guard: lines.all("guard").next().is_some(),
        etcd_client: pair(&lines, "etcd"),
        ctl_client: pair(&lines, "ctl"),
        local,
    });
    Ok(told)
}

async fn script(remote: &Remote, text: &str) -> Result<String, String> {
    let done = remote.run("/bin/sh", text.as_bytes(), PATIENCE).await.map_err(|error| error.causes().join("; "))?;
    // What it says on stderr comes from tools; the configuration goes to stdout only.
    done.output()
}

/// The words behind each tag.
struct Lines<'a>(&'a str);

impl<'a> Lines<'a> {
    fn all(&self, tag: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.lines().filter_map(move |line| line.strip_prefix(tag)?.strip_prefix(' '))
    }
}

fn pair(lines: &Lines<'_>, name: &'static str) -> Option<(String, Secret)> {
    let mut words = lines.all(name).next()?.split(' ');
    let certificate = decoded(words.next()?)?;
    let key = decoded(words.next()?)?;
    (certificate.contains("BEGIN") && key.contains("BEGIN")).then(|| (certificate, Secret::new(key)))
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(text.trim()).ok()?).ok()
}

/// The second script: names are resolved, certificates and keys read.
fn second(local: &Local) -> String {
    let etcd = match &local.dcs {
        config::LocalDcs::Etcd { client, .. } => client.as_ref(),
        config::LocalDcs::Other(_) => None,
    };
    let files = |files: Option<&[String; 2]>| {
        files.map_or_else(String::new, |files| files.each_ref().map(|file| quoted(file)).join(" "))
    };
    include_str!("configured.sh")
        .replace("@HOSTS@", &hosts(local).join(" "))
        .replace("@GUARD@", LEASE_GUARD)
        .replace("@WATCHDOG@", &quoted(local.watchdog_device.as_deref().unwrap_or_default()))
        .replace("@ETCD@", &files(etcd))
        .replace("@CTL@", &files(local.ctl.as_ref()))
}

/// The hosts that the configuration names; their characters are checked.
fn hosts(local: &Local) -> Vec<&str> {
    let endpoints: &[config::ServiceAddress] = match &local.dcs {
        config::LocalDcs::Etcd { endpoints, .. } => endpoints,
        config::LocalDcs::Other(_) => &[],
    };
    let places = endpoints.iter().chain([&local.patroni, &local.postgres]);
    let mut hosts: Vec<&str> = places.filter_map(|place| place.host.as_deref()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// What the first script printed. No `Debug`: it holds passwords in the clear.
#[derive(Default)]
struct ProcessList {
    addresses: Vec<Ipv4Addr>,
    etcd_unit: Option<String>,
    patronis: Vec<Process>,
}

#[derive(Default)]
struct Process {
    pid: String,
    parent: String,
    user: String,
    unit: String,
    environment: Vec<(String, String)>,
    files: Vec<String>,
}

/// Other lines come from the user's own shell.
fn parse(said: &str) -> ProcessList {
    let mut found = ProcessList::default();
    for line in said.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["addresses", ..] => {
                let own = words[1..].iter().filter_map(|word| word.parse::<Ipv4Addr>().ok());
                found.addresses = own.filter(|address| !address.is_loopback()).collect();
            }
            ["etcd", _, _, _, unit] => found.etcd_unit = Some(unit.to_owned()),
            ["patroni", pid, parent, user, unit] => {
                let [pid, parent, user, unit] = [pid, parent, user, unit].map(str::to_owned);
                found.patronis.push(Process { pid, parent, user, unit, ..Process::default() });
            }
            ["environment" | "file", pid, code] => {
                let process = found.patronis.iter_mut().rfind(|process| process.pid == pid);
                let (Some(process), Some(text)) = (process, decoded(code)) else { continue };
                if words[0] == "file" {
                    process.files.push(text);
                } else {
                    let pairs = text.lines().filter_map(|line| line.split_once('='));
                    process.environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                }
            }
            _ => {}
        }
    }
    found.addresses.sort_unstable();
    found.addresses.dedup();
    found
}

/// The one Patroni that is meant. Its children are not others.
fn choose(patronis: Vec<Process>, unit: Option<&str>) -> Result<Option<Process>, String> {
    let pids: Vec<String> = patronis.iter().map(|process| process.pid.clone()).collect();
    let mut meant: Vec<Process> = patronis
        .into_iter()
        .filter(|process| !pids.contains(&process.parent))
        .filter(|process| unit.is_none_or(|unit| unit == process.unit))
        .collect();
    if meant.len() > 1 {
        let units: Vec<&str> = meant.iter().map(|process| process.unit.as_str()).collect();
        return Err(format!(
            "{} Patronis run there, in the units {}: set `platform.hosts.unit` to one of them",
            units.len(),
            units.join(", ")
        ));
    }
    Ok(meant.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> String {
        let code = |text: &str| BASE64_STANDARD.encode(text);
        format!(
            "addresses 10.0.0.11 127.0.0.1 10.0.0.11 fe80::1\n\
             etcd 99 1 etcd etcd\n\
             patroni 200 1 postgres patroni@main\nenvironment 200 {}\nfile 200 {}\n\
             patroni 201 200 postgres patroni@main\nenvironment 201 \nfile 201 {}\n",
            code("PATRONI_NAME=a=b\n"),
            code("scope: s\n"),
            code("scope: s\n"),
        )
    }

    #[test]
    fn patroni_process_is_found_and_its_children_are_ignored() {
        let found = parse(&format!("Welcome to db1!\n{}", said()));
        assert_eq!(found.addresses, [Ipv4Addr::new(10, 0, 0, 11)]);
        assert_eq!(found.etcd_unit.as_deref(), Some("etcd"));
        let process = choose(found.patronis, None).unwrap().unwrap();
        assert_eq!(
            (process.pid.as_str(), process.unit.as_str(), process.user.as_str()),
            ("200", "patroni@main", "postgres")
        );
        assert_eq!(process.environment, [("PATRONI_NAME".to_owned(), "a=b".to_owned())]);
        assert_eq!(process.files, ["scope: s\n"]);
    }

    #[test]
    fn several_patroni_processes_require_the_unit_name() {
        let two = || {
            let process = |pid: &str, unit: &str| Process { pid: pid.into(), unit: unit.into(), ..Process::default() };
            vec![process("1", "patroni@a"), process("2", "patroni@b")]
        };
        assert!(choose(two(), None).err().unwrap().contains("units patroni@a, patroni@b"));
        assert_eq!(choose(two(), Some("patroni@b")).unwrap().unwrap().pid, "2");
        assert!(choose(two(), Some("patroni")).unwrap().is_none());
    }
}
