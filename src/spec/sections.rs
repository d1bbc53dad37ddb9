//! Sections on etcd, Patroni, PostgreSQL and the rest -> versions and settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ipnet::IpNet;

use super::{
    Pin, SecretCommand,
    checker::Checker,
    file::{DatabaseFile, PatroniFile, PostgresFile, SecretsFile, TimersFile},
    settings,
};
use crate::{
    assets,
    model::{
        Account, Backup, DEFAULT_DRILLS, DEFAULT_DRILLS_BY_SSH, DRILL_NAMES, DatabaseName, Durability, EtcdSource,
        EtcdVersion, IcuLocales, Locale, Patroni, Platform, Postgres, PostgresMajor, RESERVED_DATABASES,
        RESERVED_ROLES, RepositoryName, SlotKind, Timers, default_synchronous_nodes, nearest, version::PATRONI_NEWEST,
    },
};

pub(super) fn patroni(checker: &mut Checker<'_, '_>, written: PatroniFile, data_nodes: Option<usize>) -> Patroni {
    let timers = timers(checker, &written.timers.unwrap_or_default());
    let default = Durability::default_for(data_nodes.unwrap_or(0));
    if let (Some(durability), Some(nodes @ 1..)) = (written.durability, data_nodes)
        && nodes < durability.least_data_nodes()
    {
        let message = format!(
            "`{durability}` needs a commit on two nodes, and the cluster has one data node: every write would wait"
        );
        checker.meant(&["patroni", "durability"], message, Some(Durability::Async.to_string()));
    }
    if let (Some(wanted), Some(nodes @ 1..)) = (written.synchronous_nodes, data_nodes)
        && wanted as usize >= nodes
    {
        let message = format!(
            "`{wanted}` replicas are more than the cluster has: it has {nodes} data nodes, and one is the primary"
        );
        checker.say(&["patroni", "synchronous_nodes"], message);
    }
    let synchronous_nodes = default_synchronous_nodes(data_nodes.unwrap_or(0));
    Patroni {
        version: written.version.unwrap_or_else(|| PATRONI_NEWEST.to_owned()),
        durability: written.durability.unwrap_or(default),
        timers,
        failsafe: true,
        synchronous_nodes: written.synchronous_nodes.unwrap_or(synchronous_nodes),
        slots: written.slots,
        ignore_slots: written.ignore_slots,
        // The plan knows the disks.
        slots_are_bounded: false,
    }
}

/// Whether Patroni and PostgreSQL can make the slots.
pub(super) fn slots(checker: &mut Checker<'_, '_>, patroni: &Patroni, postgres: &Postgres) {
    let level = postgres.parameters.get("wal_level").and_then(|level| level.as_str()).unwrap_or_default();
    let logical = level.eq_ignore_ascii_case("logical");
    for (name, slot) in patroni.slots.iter().flatten() {
        let path = ["patroni", "slots", name];
        let told = slot.database.is_some() && slot.plugin.is_some();
        match slot.kind {
            SlotKind::Logical if !told => checker.say(&path, "a logical slot needs `database` and `plugin`"),
            SlotKind::Logical if !logical => {
                checker.say(&path, "a logical slot needs `wal_level: logical` in `postgres.parameters`");
            }
            SlotKind::Physical if slot.database.is_some() || slot.plugin.is_some() => {
                checker.say(&path, "a physical slot has no `database` and no `plugin`");
            }
            SlotKind::Logical | SlotKind::Physical => {}
        }
    }
    for (index, slot) in patroni.ignore_slots.iter().flatten().enumerate() {
        if (&slot.name, slot.kind, &slot.database, &slot.plugin) == (&None, None, &None, &None) {
            let message =
                "an entry without a property would fit every slot: give `name`, `type`, `database` or `plugin`";
            checker.say(&["patroni", "ignore_slots", &index.to_string()], message);
        }
    }
}

/// Patroni before 4.0.7 does not support PostgreSQL 18.
pub(super) fn patroni_knows(checker: &mut Checker<'_, '_>, version: &str, major: PostgresMajor) {
    const OLDEST: [u32; 3] = [4, 0, 7];
    let parts: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    if major.number() >= 18 && parts.as_slice() < OLDEST.as_slice() {
        let message =
            format!("Patroni {version} does not support PostgreSQL {major}: 4.0.7 is the oldest version that does");
        checker.meant(&["patroni", "version"], message, Some(PATRONI_NEWEST.to_owned()));
    }
}

fn timers(checker: &mut Checker<'_, '_>, written: &TimersFile) -> Timers {
    let timers = Timers {
        ttl: written.ttl.unwrap_or(20),
        loop_wait: written.loop_wait.unwrap_or(3),
        retry_timeout: written.retry_timeout.unwrap_or(7),
        primary_start_timeout: written.primary_start_timeout.unwrap_or(30),
        primary_stop_timeout: written.primary_stop_timeout.unwrap_or(15),
    };
    let Timers { ttl, loop_wait, retry_timeout, .. } = timers;
    let needed = loop_wait + 2 * retry_timeout;
    if needed > ttl {
        // Patroni would shorten the timers by itself, and /config would still show the written values.
        let message = format!(
            "loop_wait {loop_wait} + 2 * retry_timeout {retry_timeout} = {needed} is more than ttl {ttl}: \
             a primary would lose its key while it still tries to renew it"
        );
        checker.meant(&["patroni", "timers"], message, Some(format!("ttl: {needed}")));
    }
    timers
}

/// The commands that print passwords; every owner among them owns a database.
pub(super) fn secrets(
    checker: &mut Checker<'_, '_>,
    written: SecretsFile,
    databases: &BTreeMap<DatabaseName, DatabaseName>,
    backup: Option<&Backup>,
) -> Vec<SecretCommand> {
    let mut accounts = written.accounts;
    let mut given: Vec<_> = Account::of_every_cluster()
        .into_iter()
        .map(|account| {
            let secret = accounts.remove(&account).flatten();
            (account, secret)
        })
        .collect();
    for (owner, secret) in written.owners.unwrap_or_default() {
        if !databases.values().any(|known| *known == owner) {
            let known = databases.values().map(DatabaseName::as_str);
            let message = format!("`{owner}` owns no database of this file");
            checker.meant(&["secrets", "owners", owner.as_str()], message, nearest(owner.as_str(), known));
        }
        given.push((Account::Owner(owner), secret));
    }
    for (name, secrets) in written.backup.unwrap_or_default() {
        if !backup.is_some_and(|backup| backup.repositories.contains_key(&name)) {
            let known = backup.into_iter().flat_map(|backup| backup.repositories.keys()).map(RepositoryName::as_str);
            let message = format!("`{name}` is no repository of this file");
            checker.meant(&["secrets", "backup", name.as_str()], message, nearest(name.as_str(), known));
        }
        given.extend(secrets.into_iter().map(|(what, secret)| (Account::Repository(name.clone(), what), secret)));
    }
    let commands = given.into_iter().filter_map(|(account, secret)| {
        let command = secret?.command;
        if command.first().is_some_and(String::is_empty) {
            let path = format!("secrets.{account}.command");
            checker.say(&path.split('.').collect::<Vec<_>>(), "the first word, which is the program, is empty");
        }
        Some(SecretCommand { account, command })
    });
    commands.collect()
}

/// The words that select drills, each once, in the file's order; the schema has checked that they are known.
pub(super) fn drills(checker: &mut Checker<'_, '_>, written: Option<Vec<String>>, platform: &Platform) -> Vec<String> {
    let default = match platform {
        Platform::Local(_) => DEFAULT_DRILLS,
        // Nothing powers such machines off unless the user names a drill that does.
        _ => DEFAULT_DRILLS_BY_SSH,
    };
    let Some(words) = written else { return default.map(str::to_owned).to_vec() };
    if words.is_empty() {
        checker.say(
            &["verify", "drills"],
            "the list is empty: name a drill, or remove the field to run the default drills",
        );
    }
    let mut seen = BTreeSet::new();
    for (index, word) in words.iter().enumerate().filter(|(_, word)| !seen.insert(word.as_str())) {
        checker.say(&["verify", "drills", &index.to_string()], format!("`{word}` is given twice"));
    }
    words
}

/// The longest write gap that the user accepts, in milliseconds by drill.
pub(super) fn limits(
    checker: &mut Checker<'_, '_>,
    written: Option<BTreeMap<String, String>>,
) -> BTreeMap<String, u64> {
    let mut limits = BTreeMap::new();
    for (drill, text) in written.unwrap_or_default() {
        let path = ["verify", "limits", drill.as_str()];
        if !DRILL_NAMES.contains(&drill.as_str()) {
            let message = format!("no drill is called `{drill}`: `hactl verify --list` shows them");
            checker.meant(&path, message, nearest(&drill, DRILL_NAMES.iter().copied()));
        }
        let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|limit| u64::try_from(limit.as_millis()).ok());
        match parsed {
            Some(limit) if limit > 0 => drop(limits.insert(drill, limit)),
            _ => checker.say(&path, format!("`{text}` is not a duration above zero, such as `5s` or `1m 30s`")),
        }
    }
    limits
}

/// The directory of changed assets; reports everything that it lacks.
pub(super) fn assets(checker: &mut Checker<'_, '_>, dir: &str) -> PathBuf {
    let dir = checker.dir().join(dir);
    for message in assets::missing(&dir) {
        checker.say(&["assets"], message);
    }
    dir
}

pub(super) fn etcd_source(
    checker: &mut Checker<'_, '_>,
    archive: Option<String>,
    sha256: Option<String>,
    mirror: Option<String>,
) -> Option<EtcdSource> {
    if archive.is_some() && mirror.is_some() {
        checker.say(&["etcd", "mirror"], "not allowed together with `archive`: etcd comes from one of them");
    }
    match (archive, sha256) {
        (Some(location), Some(sha256)) => Some(EtcdSource::Archive { location, sha256 }),
        (Some(_), None) => {
            checker.say(&["etcd", "archive"], "needs `sha256`: hactl accepts an archive only with its checksum");
            None
        }
        (None, Some(_)) => {
            checker.say(&["etcd", "sha256"], "needs `archive`: `sha256` is the checksum of the archive");
            None
        }
        (None, None) => mirror.map(|address| EtcdSource::Mirror(address.trim_end_matches('/').to_owned())),
    }
}

/// etcd's version, and how much of it the file sets.
pub(super) fn etcd(checker: &mut Checker<'_, '_>, written: Option<serde_json::Value>) -> Option<(EtcdVersion, Pin)> {
    let path = ["etcd", "version"];
    let Some(value) = written else { return Some((EtcdVersion::DEFAULT, Pin::Nothing)) };
    let text = match value {
        serde_json::Value::String(text) => text,
        number => {
            // YAML reads 3.10 as 3.1. hactl still has the text, but other tools may not.
            let written = checker.written(&path).unwrap_or_default().to_owned();
            let read = number.to_string();
            if written != read {
                let message = format!("YAML reads {written} as the number {read}");
                checker.meant(&path, message, Some(format!("\"{written}\" in quotes")));
                return None;
            }
            written
        }
    };
    match EtcdVersion::resolve(&text) {
        Ok(version) => Some((version, if version.to_string() == text { Pin::Full } else { Pin::Minor })),
        Err(message) => {
            let known = EtcdVersion::NEWEST.map(|version| version.to_string());
            checker.meant(&path, message, nearest(&text, known.iter().map(String::as_str)));
            None
        }
    }
}

pub(super) fn postgres(
    checker: &mut Checker<'_, '_>,
    written: PostgresFile,
    durability: Durability,
    platform: &Platform,
) -> Postgres {
    let synchronous = durability != Durability::Async;
    let parameters = written.parameters.unwrap_or_default();
    for (name, value) in &parameters {
        if let Some(reason) = settings::refuse(name, value, synchronous) {
            checker.say(&["postgres", "parameters", name], reason);
        }
        if value.as_str().is_some_and(|text| text.contains(['\n', '\0'])) {
            checker.say(&["postgres", "parameters", name], "a parameter's value must be one line");
        }
    }
    // The schema has checked the range.
    let major = written.version.and_then(|version| version.try_into().ok()).unwrap_or(PostgresMajor::DEFAULT);
    let written_databases = written.databases.unwrap_or_default();
    let icu_locales = icu_locales(checker, &written_databases, major);
    Postgres {
        major,
        // The plan gives one that the file does not name.
        locale: written.locale.map(|name| Locale::new(&name, major)),
        icu_locales,
        // The plan adds them.
        packages: Vec::new(),
        pgdg_suite: None,
        given: parameters.keys().cloned().collect(),
        parameters,
        databases: databases(checker, written_databases),
        access: networks(checker, "access", written.access),
        monitoring: networks(checker, "monitoring", written.monitoring),
        load_balancers: networks(checker, "load_balancers", written.load_balancers),
        // The network around machines that hactl did not make may belong to strangers.
        memory_mib: written.memory,
        memory_is_given: written.memory.is_some(),
        birth: 0,
        own_network: written.own_network.unwrap_or(!matches!(platform, Platform::Hosts(_) | Platform::Terraform(_))),
    }
}

/// The first major version in which a database can have a locale of ICU.
const ICU: u8 = 15;

fn icu_locales(
    checker: &mut Checker<'_, '_>,
    written: &BTreeMap<DatabaseName, Option<DatabaseFile>>,
    major: PostgresMajor,
) -> IcuLocales {
    let given = written.iter().filter_map(|(name, file)| Some((name.clone(), file.as_ref()?.icu_locale.clone()?)));
    let locales: IcuLocales = given.collect();
    for name in locales.keys().filter(|_| major.number() < ICU) {
        let message =
            format!("PostgreSQL {major} has no ICU locales of databases: {ICU} is the oldest version that does");
        checker.say(&["postgres", "databases", name.as_str(), "icu_locale"], message);
    }
    locales
}

fn databases(
    checker: &mut Checker<'_, '_>,
    written: BTreeMap<DatabaseName, Option<DatabaseFile>>,
) -> BTreeMap<DatabaseName, DatabaseName> {
    let mut databases = BTreeMap::new();
    for (name, database) in written {
        if RESERVED_DATABASES.contains(&name.as_str()) {
            checker.say(
                &["postgres", "databases", name.as_str()],
                format!("database `{name}` is reserved for PostgreSQL or hactl: choose another name"),
            );
        }
        let owner = database.and_then(|database| database.owner).unwrap_or_else(|| name.clone());
        if RESERVED_ROLES.contains(&owner.as_str()) {
            let message =
                format!("role `{owner}` is reserved for PostgreSQL or hactl: choose another role for the application");
            checker.say(&["postgres", "databases", name.as_str(), "owner"], message);
        }
        databases.insert(name, owner);
    }
    if databases.is_empty()
        && let Ok(app) = DatabaseName::new("app")
    {
        databases.insert(app.clone(), app);
    }
    databases
}

fn networks(checker: &mut Checker<'_, '_>, field: &str, written: Option<Vec<String>>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (index, text) in written.unwrap_or_default().iter().enumerate() {
        let index = index.to_string();
        let path = ["postgres", field, index.as_str()];
        match text.parse::<IpNet>() {
            Ok(net) if net.addr() == net.network() => networks.push(net),
            Ok(net) => {
                let message = format!("`{text}` is an address within a network");
                checker.meant(&path, message, Some(net.trunc().to_string()));
            }
            Err(_) => {
                let single = text.parse::<std::net::IpAddr>().ok().map(|address| IpNet::from(address).to_string());
                let message = format!("`{text}` is not a network in CIDR notation, such as 192.168.1.0/24");
                checker.meant(&path, message, single);
            }
        }
    }
    networks.sort();
    networks.dedup();
    networks
}
