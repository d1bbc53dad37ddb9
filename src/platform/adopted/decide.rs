//! What the machines reported -> which members they are and how to reach them. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
};

use super::{
    ask::{MachineReport, Patroni},
    config::{LocalDcs, ServiceAddress},
    record::AdoptedRecord,
};
use crate::{
    component::{etcd, patroni, postgres},
    fleet::{Fleet, FleetNode, FoundServices, SshTarget},
    model::{Dcs, Endpoint, InstanceKey, Role},
    plan::{Plan, Watchdog},
};

/// The unit's name where none was found, which the drills then miss.
const NO_UNIT: &str = "-";

/// The machines, as far as they told.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) fleet: Fleet,
    pub(super) dcs: Dcs,
    pub(super) watchdogs: BTreeMap<InstanceKey, Watchdog>,
}

/// What is asked of a machine, and what came of it: an answer, or the words of what was seen instead.
pub(super) type Answers = BTreeMap<InstanceKey, (SshTarget, Result<MachineReport, String>)>;

/// Decides who the machines are. One that does not answer is what it was when it was asked last, and a member like the
/// others when it never was.
///
/// # Errors
/// Every machine that cannot be part of this cluster, and why.
pub(super) fn decide(plan: &Plan, answers: &Answers, known: Option<&AdoptedRecord>) -> Result<Decided, Vec<String>> {
    let mut problems = Vec::new();
    let patronis: BTreeMap<&InstanceKey, &Patroni> =
        answers.iter().filter_map(|(key, (_, told))| Some((key, told.as_ref().ok()?.patroni.as_ref()?))).collect();
    let scopes: BTreeSet<&str> = patronis.values().map(|patroni| patroni.local.scope.as_str()).collect();
    if scopes.len() > 1 {
        let of = |(key, patroni): (&&InstanceKey, &&Patroni)| format!("{key} belongs to {}", patroni.local.scope);
        problems.push(format!(
            "the instances belong to different clusters: {}",
            patronis.iter().map(of).collect::<Vec<_>>().join(", ")
        ));
    }
    let voters = Voters::of(answers, &patronis);
    let mut nodes = BTreeMap::new();
    for (key, (ssh, told)) in answers {
        let before = known.and_then(|known| known.fleet.nodes.get(key)).filter(|node| node.ssh.host == ssh.host);
        let given = plan.nodes[key].roles.clone();
        let mut node = plan.nodes[key].clone();
        let (address, found, roles) = match told {
            Ok(told) => match described(key, ssh, told, before, &voters, &given) {
                Ok(described) => described,
                Err(problem) => {
                    problems.push(format!("{key}: {problem}"));
                    continue;
                }
            },
            Err(_) => match before {
                Some(before) => (before.address, before.found.clone(), before.node.roles.clone()),
                None => match unseen(key, ssh, nodes.values().next(), &voters) {
                    Ok((address, found)) => (address, Some(found), given),
                    Err(problem) => {
                        problems.push(format!("{key}: {problem}"));
                        continue;
                    }
                },
            },
        };
        node.roles = roles;
        nodes.insert(
            key.clone(),
            FleetNode { node, address, machine_id: None, ssh: ssh.clone(), data_device: None, found },
        );
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let watchdogs = patronis.iter().map(|(key, patroni)| ((*key).clone(), watchdog(patroni))).collect();
    let dcs = match (patronis.is_empty(), known) {
        (true, Some(known)) => known.plan.dcs.clone(),
        _ => voters.dcs(),
    };
    Ok(Decided { fleet: Fleet { cluster: plan.cluster.clone(), nodes }, dcs, watchdogs })
}

fn watchdog(patroni: &Patroni) -> Watchdog {
    match (patroni.watchdog, patroni.local.watchdog_required) {
        (true, true) => Watchdog::Required,
        (true, false) => Watchdog::Automatic,
        (false, _) if patroni.guard => Watchdog::Guard,
        (false, _) => Watchdog::None,
    }
}

type Described = (Ipv4Addr, Option<FoundServices>, BTreeSet<Role>);

/// A machine that answered.
fn described(
    key: &InstanceKey,
    ssh: &SshTarget,
    told: &MachineReport,
    before: Option<&FleetNode>,
    voters: &Voters,
    given: &BTreeSet<Role>,
) -> Result<Described, String> {
    let voter = voters.endpoints.get(key);
    let etcd_unit = told.etcd_unit.clone().unwrap_or_else(|| etcd::UNIT.to_owned());
    let mut roles: BTreeSet<Role> = voter.map(|_| Role::Etcd).into_iter().collect();
    let (address, found) = if let Some(patroni) = &told.patroni {
        roles.insert(Role::Patroni);
        let own = told.addresses.first().copied();
        let address = match &patroni.local.postgres.host {
            Some(host) => patroni.resolve(host),
            None => ssh.host.parse().ok().or(own),
        };
        let address = address.ok_or("its PostgreSQL has no IPv4 address, and drills need one")?;
        let endpoint = |place: &ServiceAddress, tls| Endpoint {
            host: place.host.clone().unwrap_or_else(|| address.to_string()),
            port: place.port,
            tls,
        };
        let patroni_endpoint = endpoint(&patroni.local.patroni, patroni.local.patroni_tls);
        let mut addresses = vec![address];
        addresses.extend(patroni.resolve(&patroni_endpoint.host));
        addresses.extend(voter.and_then(|(_, address)| *address));
        let found = FoundServices {
            member: patroni.local.member.clone(),
            patroni: patroni_endpoint,
            postgres: endpoint(&patroni.local.postgres, true),
            etcd: voter.map_or_else(|| nowhere(address), |(endpoint, _)| endpoint.clone()),
            patroni_unit: checked(&patroni.unit)?,
            etcd_unit: checked(&etcd_unit)?,
            user: checked(&patroni.user)?,
            data_dir: patroni.local.data_dir.clone(),
            addresses: unique(addresses),
        };
        (address, Some(found))
    } else if let Some(before) = before {
        // Patroni does not run now. What it was is kept.
        roles.extend(&before.node.roles);
        (before.address, before.found.clone())
    } else if voter.is_some() || !given.is_empty() && Role::votes(given) {
        let address = voter.and_then(|(_, address)| *address).or_else(|| told.addresses.first().copied());
        let address = address.ok_or("it has no IPv4 address")?;
        let mut found = stranger(key, address);
        found.etcd = voter.map_or_else(|| nowhere(address), |(endpoint, _)| endpoint.clone());
        found.etcd_unit = checked(&etcd_unit)?;
        found.addresses = vec![address];
        (address, Some(found))
    } else {
        return Err("neither Patroni nor an etcd voter of the cluster runs there".to_owned());
    };
    // What the file says counts, and a machine on which Patroni has stopped is one all the same.
    if Role::votes(given) {
        roles.clone_from(given);
    }
    Ok((address, found, roles))
}

/// A machine that never answered: like another, under its own name.
fn unseen(
    key: &InstanceKey,
    ssh: &SshTarget,
    like: Option<&FleetNode>,
    voters: &Voters,
) -> Result<(Ipv4Addr, FoundServices), String> {
    let by_name = || voters.resolved.iter().find(|(name, _)| *name == ssh.host).map(|(_, address)| *address);
    let address: Ipv4Addr =
        ssh.host.parse().ok().or_else(by_name).ok_or("it does not answer, and hactl has never reached it")?;
    let mut found = stranger(key, address);
    if let Some(other) = like.and_then(|node| node.found.as_ref()) {
        let at = |endpoint: &Endpoint| Endpoint { host: address.to_string(), ..endpoint.clone() };
        (found.patroni, found.postgres, found.etcd) = (at(&other.patroni), at(&other.postgres), at(&other.etcd));
        (found.patroni_unit, found.etcd_unit) = (other.patroni_unit.clone(), other.etcd_unit.clone());
        (found.user, found.data_dir) = (other.user.clone(), other.data_dir.clone());
    }
    Ok((address, found))
}

/// What is reported about a machine of which only the address is known.
fn stranger(key: &InstanceKey, address: Ipv4Addr) -> FoundServices {
    let endpoint = |port| Endpoint { host: address.to_string(), port, tls: true };
    FoundServices {
        member: key.to_string(),
        patroni: endpoint(patroni::PORT),
        postgres: endpoint(postgres::PORT),
        etcd: nowhere(address),
        patroni_unit: patroni::UNIT.to_owned(),
        etcd_unit: etcd::UNIT.to_owned(),
        user: postgres::USER.to_owned(),
        data_dir: "/var/lib/postgresql".to_owned(),
        addresses: vec![address],
    }
}

fn nowhere(address: Ipv4Addr) -> Endpoint {
    Endpoint { host: address.to_string(), port: etcd::PORT, tls: false }
}

/// A unit's or user's name that goes into shell text as it is.
fn checked(name: &str) -> Result<String, String> {
    let name = if name == NO_UNIT { patroni::UNIT } else { name };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"@._:-".contains(&byte);
    match !name.is_empty() && !name.starts_with('-') && name.bytes().all(good) {
        true => Ok(name.to_owned()),
        false => Err(format!("the unit or user name `{name}` has characters that hactl does not support")),
    }
}

fn unique(mut addresses: Vec<Ipv4Addr>) -> Vec<Ipv4Addr> {
    addresses.retain(|address| !address.is_loopback());
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// etcd's voters, as the members' configurations name them.
struct Voters {
    /// Those that are machines of the cluster: where etcd answers there, and its address if that is known.
    endpoints: BTreeMap<InstanceKey, (Endpoint, Option<Ipv4Addr>)>,
    outside: BTreeSet<SocketAddrV4>,
    leader_key: Option<String>,
    /// The store, where it is not etcd.
    other: Option<String>,
    resolved: Vec<(String, Ipv4Addr)>,
}

impl Voters {
    fn of(answers: &Answers, patronis: &BTreeMap<&InstanceKey, &Patroni>) -> Self {
        let mut voters = Self {
            endpoints: BTreeMap::new(),
            outside: BTreeSet::new(),
            leader_key: None,
            other: None,
            resolved: patronis.values().flat_map(|patroni| patroni.resolved.clone()).collect(),
        };
        let addresses: BTreeMap<&InstanceKey, &[Ipv4Addr]> = answers
            .iter()
            .filter_map(|(key, (_, told))| Some((key, told.as_ref().ok()?.addresses.as_slice())))
            .collect();
        let targets: BTreeMap<Ipv4Addr, &InstanceKey> =
            answers.iter().filter_map(|(key, (ssh, _))| Some((ssh.host.parse().ok()?, key))).collect();
        let whose = |address: &Ipv4Addr| {
            let own = addresses.iter().find(|(_, own)| own.contains(address)).map(|(key, _)| *key);
            own.or_else(|| targets.get(address).copied())
        };
        let mut secured = false;
        for (key, patroni) in patronis {
            match &patroni.local.dcs {
                LocalDcs::Other(store) => voters.other = Some(store.clone()),
                LocalDcs::Etcd { endpoints, tls, leader_key, .. } => {
                    voters.leader_key.clone_from(leader_key);
                    secured = *tls;
                    for place in endpoints {
                        let Some(host) = &place.host else { continue };
                        let endpoint = Endpoint { host: host.clone(), port: place.port, tls: *tls };
                        match patroni.resolve(host) {
                            Some(address) if address.is_loopback() => {
                                // Each member asks the etcd beside it.
                                voters.endpoints.entry((*key).clone()).or_insert((endpoint, None));
                            }
                            Some(address) => match whose(&address) {
                                Some(machine) => {
                                    voters.endpoints.insert(machine.clone(), (endpoint, Some(address)));
                                }
                                None => drop(voters.outside.insert(SocketAddrV4::new(address, place.port))),
                            },
                            None => {}
                        }
                    }
                }
            }
        }
        if voters.other.is_none() {
            // A voter that no configuration names.
            for (key, (_, told)) in answers {
                if let Ok(MachineReport { etcd_unit: Some(_), addresses, .. }) = told
                    && let Some(address) = addresses.first()
                {
                    let endpoint = Endpoint { tls: secured, ..nowhere(*address) };
                    voters.endpoints.entry(key.clone()).or_insert((endpoint, Some(*address)));
                }
            }
        }
        voters
    }

    fn dcs(self) -> Dcs {
        match self.other {
            Some(store) => Dcs::Other(store),
            None => Dcs::Etcd { leader_key: self.leader_key, outside: self.outside.into_iter().collect() },
        }
    }
}
