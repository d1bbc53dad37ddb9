//! Which versions a plan has: what the file sets, else what runs. And which of them a cluster that runs can move to.

use std::collections::BTreeSet;

use super::{
    Choices, Durability, Plan, Settled, Warning, birth, locale,
    refusal::{Refusal, field},
    roles,
};
use crate::{
    model::EtcdVersion,
    spec::{Pin, Spec},
};

/// The first release of etcd 3.5 from which 3.6 takes over every member: with an earlier one, a voter that began as a
/// learner is unknown to 3.6 (etcd#19557).
const OLDEST_BEFORE_3_6: EtcdVersion = EtcdVersion { major: 3, minor: 5, patch: 26 };

/// What `spec` sets, else what runs, else the defaults. What this hactl has newer is a warning.
pub(super) fn settle(spec: &Spec, choices: &Choices, warnings: &mut Vec<Warning>) -> Settled {
    let wanted = Settled {
        etcd: spec.etcd,
        patroni: spec.patroni.version.clone(),
        postgres: spec.postgres.major,
        own_network: spec.postgres.own_network,
        synchronous_nodes: spec.patroni.synchronous_nodes,
        memory_mib: spec.postgres.memory_mib,
        birth: birth::NEWEST,
        archives: true,
        entry_point: spec.endpoint.is_some(),
        // That of an adopted cluster is not known.
        locale: (!spec.platform.is_adopted()).then(|| locale::of_new_cluster(spec)),
        icu_locales: spec.postgres.icu_locales.clone(),
        data_nodes: BTreeSet::new(),
        voters: BTreeSet::new(),
    };
    let Some(runs) = &choices.settled else { return wanted };
    let pinned = spec.pinned;
    let same_minor = (runs.etcd.major, runs.etcd.minor) == (spec.etcd.major, spec.etcd.minor);
    let etcd = match pinned.etcd {
        Pin::Nothing => runs.etcd,
        Pin::Minor if same_minor => runs.etcd,
        Pin::Minor | Pin::Full => wanted.etcd,
    };
    let patroni = if pinned.patroni { wanted.patroni.clone() } else { runs.patroni.clone() };
    if etcd < wanted.etcd {
        warnings.push(newer("etcd", &etcd.to_string(), &wanted.etcd.to_string(), "etcd.version"));
    }
    if numbers(&patroni) < numbers(&wanted.patroni) {
        warnings.push(newer("Patroni", &patroni, &wanted.patroni, "patroni.version"));
    }
    Settled {
        etcd,
        patroni,
        postgres: if pinned.postgres { wanted.postgres } else { runs.postgres },
        // Only a file can have set `false` where the default is `true`: without the field it is the default again.
        own_network: wanted.own_network || !pinned.own_network && runs.own_network,
        synchronous_nodes: synchronous_nodes(spec, runs.synchronous_nodes, warnings),
        memory_mib: spec.postgres.memory_mib,
        birth: runs.birth,
        archives: runs.archives,
        entry_point: wanted.entry_point,
        locale: Some(locale::settled(spec, runs)),
        icu_locales: wanted.icu_locales,
        data_nodes: runs.data_nodes.clone(),
        voters: runs.voters.clone(),
    }
}

/// How many replicas hold a commit: what the file sets, else what runs, as long as there are so many replicas.
fn synchronous_nodes(spec: &Spec, runs: u32, warnings: &mut Vec<Warning>) -> u32 {
    let wanted = spec.patroni.synchronous_nodes;
    if spec.pinned.synchronous_nodes {
        return wanted;
    }
    let replicas = u32::try_from(spec.data_nodes().saturating_sub(1)).unwrap_or(u32::MAX);
    let kept = runs.min(replicas.max(1));
    if kept < wanted && spec.patroni.durability != Durability::Async {
        warnings.push(Warning {
            code: "synchronous-nodes".to_owned(),
            message: format!(
                "a commit waits for {kept} of {replicas} replicas, so no replica can take over after the loss of the primary \
                 and {} at once",
                if wanted > 1 { format!("{wanted} replicas") } else { "a replica".to_owned() }
            ),
            hint: Some(format!(
                "Set `patroni.synchronous_nodes: {wanted}` in the cluster file: every commit then waits for {wanted} replicas, \
                 and nothing restarts"
            )),
        });
    }
    kept
}

fn newer(what: &str, runs: &str, newest: &str, field: &str) -> Warning {
    Warning {
        code: "version-newer".to_owned(),
        message: format!("{what} {runs} runs, and this release of hactl has {newest}"),
        hint: Some(format!("Set `{field}: \"{newest}\"` in the cluster file to move to it")),
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// Whether a cluster on which `runs` is settled can move to the roles and versions of `plan`.
///
/// # Errors
/// The first role that a machine would lose, or version that it cannot move to.
pub fn moves(plan: &Plan, runs: &Settled) -> Result<(), Refusal> {
    roles::kept(plan, runs)?;
    if plan.data_nodes().next().is_some() && plan.postgres.major != runs.postgres {
        return Err(Refusal {
            code: "version-refused",
            what: VERSION,
            field: field(["postgres", "version"]),
            message: format!(
                "the cluster has data of PostgreSQL {}, and PostgreSQL {} cannot use it",
                runs.postgres, plan.postgres.major
            ),
            hint: format!(
                "Set `postgres.version: {}`. To change the major version, create a second cluster with the new one and \
                 move the data with a dump or with logical replication",
                runs.postgres
            ),
        });
    }
    if plan.voters().next().is_some()
        && let Some((message, hint)) = etcd(runs.etcd, plan.etcd)
    {
        return Err(Refusal {
            code: "version-refused",
            what: VERSION,
            field: field(["etcd", "version"]),
            message,
            hint,
        });
    }
    entry_point(plan, runs)?;
    locale::of_cluster(plan, runs)?;
    memory(plan, runs)
}

/// Whether a cluster keeps its entry point: clients are connected there.
fn entry_point(plan: &Plan, runs: &Settled) -> Result<(), Refusal> {
    if !runs.entry_point || plan.endpoint.is_some() {
        return Ok(());
    }
    Err(Refusal {
        code: "endpoint-removed",
        what: "remove the entry point of",
        field: field(["endpoint", "pooler"]),
        message: "the machines run poolers, and this version of hactl does not remove them from a running cluster"
            .to_owned(),
        hint: "Add the section `endpoint` to the cluster file again".to_owned(),
    })
}

const VERSION: &str = "change a version of";

/// Whether the servers keep the memory that they are sized for. Every data node may become the primary and gets the same
/// parameters, so one smaller machine would shrink those of all.
fn memory(plan: &Plan, runs: &Settled) -> Result<(), Refusal> {
    let smallest = plan.data_nodes().min_by_key(|node| node.memory_mib);
    let (Some(smallest), Some(sized)) = (smallest, runs.memory_mib) else { return Ok(()) };
    if plan.postgres.memory_is_given || smallest.memory_mib >= sized {
        return Ok(());
    }
    let (key, memory) = (&smallest.key, smallest.memory_mib);
    Err(Refusal {
        code: "memory-shrinks",
        what: "shrink the servers of",
        field: field(["postgres", "memory"]),
        message: format!(
            "{key} has {memory} MiB of memory, and the servers are sized for {sized} MiB: all of them would get smaller \
             parameters and restart"
        ),
        hint: format!("Give {key} {sized} MiB, or set `postgres.memory: {memory}` to size all servers for it"),
    })
}

/// Why etcd cannot move from one version to another, and what to do.
fn etcd(from: EtcdVersion, to: EtcdVersion) -> Option<(String, String)> {
    let newest = |minor: u32| {
        let known = EtcdVersion::NEWEST.into_iter().find(|known| (known.major, known.minor) == (from.major, minor));
        known.map_or_else(|| format!("{}.{minor}", from.major), |version| version.to_string())
    };
    if (to.major, to.minor) < (from.major, from.minor) {
        return Some((
            format!("etcd {from} runs, and etcd cannot go back to {to}: its members would not start"),
            format!("Set `etcd.version: \"{from}\"`"),
        ));
    }
    if to.major > from.major || to.minor > from.minor + 1 {
        return Some((
            format!("etcd {from} runs, and etcd moves one minor version at a time"),
            format!("Set `etcd.version: \"{}\"` and run `hactl up` first", newest(from.minor + 1)),
        ));
    }
    if to.minor == 6 && from.minor == 5 && from < OLDEST_BEFORE_3_6 {
        return Some((
            format!("etcd {from} runs, and etcd 3.6 needs {OLDEST_BEFORE_3_6} or later on every member first"),
            format!("Set `etcd.version: \"{}\"` and run `hactl up` first", newest(5)),
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{IcuLocales, Locale},
        plan::decide,
        spec,
    };

    fn settled(etcd: &str) -> Settled {
        let postgres = 15.try_into().unwrap();
        let etcd = etcd.parse().unwrap();
        Settled {
            etcd,
            patroni: "4.1.4".to_owned(),
            postgres,
            own_network: true,
            synchronous_nodes: 1,
            memory_mib: Some(1024),
            birth: 0,
            archives: false,
            entry_point: false,
            locale: Some(Locale::of_earlier_releases()),
            icu_locales: IcuLocales::new(),
            data_nodes: BTreeSet::new(),
            voters: BTreeSet::new(),
        }
    }

    fn plan(text: &str, settled: Option<Settled>) -> Plan {
        let text = format!("instances: {{a: {{}}, b: {{}}, c: {{}}}}\n{text}");
        let spec = spec::load("t", text.as_bytes(), "t").unwrap();
        decide(&spec, &Choices { settled, ..Choices::default() }).unwrap()
    }

    #[test]
    fn versions_that_the_file_does_not_set_stay_what_runs() {
        let newest = EtcdVersion::DEFAULT.to_string();
        let table = [
            ("", "3.6.11", "3.6.11", 2),
            ("etcd: {version: \"3.6\"}", "3.6.11", "3.6.11", 2),
            ("etcd: {version: \"3.6\"}", "3.5.35", newest.as_str(), 1),
            ("etcd: {version: \"3.6.12\"}", "3.6.11", "3.6.12", 1),
            ("etcd: {version: \"3.6.10\"}\npatroni: {version: 4.1.4}", "3.6.11", "3.6.10", 0),
            // A record of a later release.
            ("patroni: {version: 4.1.4}", "3.7.0", "3.7.0", 0),
        ];
        for (text, runs, expected, warnings) in table {
            let plan = plan(text, Some(settled(runs)));
            assert_eq!(plan.etcd.to_string(), expected, "{text} on {runs}");
            let newer = plan.warnings.iter().filter(|warning| warning.code == "version-newer").count();
            assert_eq!(newer, warnings, "{text} on {runs}: {:?}", plan.warnings);
            assert_eq!((plan.patroni.version.as_str(), plan.postgres.major.number()), ("4.1.4", 15), "{text}");
        }
        let fresh = plan("", None);
        assert_eq!((fresh.etcd, fresh.warnings.len()), (EtcdVersion::DEFAULT, 0));
        let warned = plan("", Some(settled("3.6.11")));
        assert_eq!(warned.warnings[0].message, format!("etcd 3.6.11 runs, and this release of hactl has {newest}"));
        let roles = warned.settled();
        let (data_nodes, voters) = (roles.data_nodes.clone(), roles.voters.clone());
        assert_eq!((data_nodes.len(), voters.len()), (3, 3));
        assert_eq!(roles, Settled { data_nodes, voters, ..settled("3.6.11") });
    }

    #[test]
    fn networks_that_an_earlier_release_let_in_stay_until_the_file_says_so() {
        let hosts = |access: &str| {
            let text = format!(
                "platform: {{hosts: {{ssh: {{user: root}}}}}}\ninstances: {{a: {{address: 10.0.0.1}}}}\npostgres: {{{access}}}"
            );
            spec::load("t", text.as_bytes(), "t").unwrap()
        };
        let own = |access: &str, settled: Option<Settled>| {
            decide(&hosts(access), &Choices { settled, ..Choices::default() }).unwrap().postgres.own_network
        };
        assert!(!own("", None));
        assert!(own("", Some(settled("3.6.11"))));
        assert!(!own("own_network: false", Some(settled("3.6.11"))));
        assert!(own("own_network: true", None));
        assert!(plan("", None).postgres.own_network);
        // The file of a local cluster said `false`, and no longer does.
        let closed = Settled { own_network: false, ..settled("3.6.11") };
        assert!(plan("", Some(closed.clone())).postgres.own_network);
        assert!(!own("", Some(closed)));
    }

    #[test]
    fn running_cluster_keeps_its_number_of_synchronous_replicas_until_the_file_sets_one() {
        let newest = EtcdVersion::DEFAULT.to_string();
        let table = [
            (3, "", None, 1, false),
            (4, "", None, 1, false),
            (5, "", None, 2, false),
            (7, "", None, 3, false),
            (5, "durability: async", None, 2, false),
            (5, "", Some(1), 1, true),
            (5, "", Some(2), 2, false),
            (5, "synchronous_nodes: 2", Some(1), 2, false),
            (5, "synchronous_nodes: 1", Some(2), 1, false),
            (5, "durability: async", Some(1), 1, false),
            // Replicas that are gone hold no commit.
            (2, "", Some(3), 1, false),
        ];
        for (nodes, patroni, runs, expected, warned) in table {
            let instances: Vec<String> = (0..nodes).map(|n| format!("n{n}: {{}}")).collect();
            let text = format!("instances: {{{}}}\npatroni: {{version: 4.1.4, {patroni}}}", instances.join(", "));
            let settled = runs.map(|synchronous_nodes| Settled { synchronous_nodes, ..settled(&newest) });
            let spec = spec::load("t", text.as_bytes(), "t").unwrap();
            let plan = decide(&spec, &Choices { settled, ..Choices::default() }).unwrap();
            assert_eq!(plan.patroni.synchronous_nodes, expected, "{nodes} nodes, {patroni}, {runs:?}");
            let warnings: Vec<&str> = plan.warnings.iter().map(|warning| warning.code.as_str()).collect();
            assert_eq!(
                warnings.contains(&"synchronous-nodes"),
                warned,
                "{nodes} nodes, {patroni}, {runs:?}: {warnings:?}"
            );
        }
    }

    #[test]
    fn smaller_machine_does_not_shrink_all_servers_unless_the_file_says_so() {
        let table = [
            ("{a: {memory: 4096}, b: {memory: 4096}}", "", Some(4096), None),
            ("{a: {memory: 4096}, b: {memory: 8192}}", "", Some(4096), None),
            ("{a: {memory: 4096}, b: {memory: 1024}}", "", Some(4096), Some("b has 1024 MiB")),
            ("{a: {memory: 4096}, b: {memory: 1024}}", "memory: 1024", Some(4096), None),
            ("{a: {memory: 4096}, b: {memory: 1024}}", "", None, None),
            ("{a: {memory: 4096}, w: {memory: 512, roles: [etcd]}}", "", Some(4096), None),
        ];
        for (instances, postgres, memory_mib, refused) in table {
            let text = format!("instances: {instances}\npostgres: {{{postgres}}}");
            let spec = spec::load("t", text.as_bytes(), "t").unwrap();
            let runs = Settled { memory_mib, ..settled("3.6.16") };
            let plan = decide(&spec, &Choices { settled: Some(runs.clone()), ..Choices::default() }).unwrap();
            let refusal = moves(&plan, &runs).err();
            assert_eq!(refusal.as_ref().map(|refusal| refusal.code), refused.map(|_| "memory-shrinks"), "{instances}");
            assert!(refusal.is_none_or(|refusal| refusal.message.starts_with(refused.unwrap())), "{instances}");
        }
        let sized = plan("postgres: {memory: 512}", None);
        assert_eq!(
            (sized.settled().memory_mib, &sized.postgres.parameters["shared_buffers"]),
            (Some(512), &"64MB".into())
        );
    }

    #[test]
    fn parameters_of_new_clusters_are_not_given_to_one_that_runs() {
        let runs = |birth: u32| Some(Settled { birth, ..settled("3.6.16") });
        let archive = |plan: &Plan| plan.postgres.parameters.get("archive_mode").cloned();
        assert_eq!(archive(&plan("", None)), Some("on".into()));
        assert_eq!(archive(&plan("", runs(0))), None);
        assert_eq!(archive(&plan("", runs(1))), Some("on".into()));
        assert_eq!(archive(&plan("postgres: {parameters: {archive_mode: \"off\"}}", None)), Some("off".into()));
        assert_eq!((plan("", runs(0)).settled().birth, plan("", None).settled().birth), (0, birth::NEWEST));
    }

    #[test]
    fn cluster_moves_to_no_other_major_of_postgresql_and_by_one_minor_of_etcd() {
        let table = [
            ("", "3.6.16", None),
            ("postgres: {version: 15}", "3.6.16", None),
            ("postgres: {version: 16}", "3.6.16", Some("postgres.version")),
            ("postgres: {version: 14}", "3.6.16", Some("postgres.version")),
            ("etcd: {version: \"3.6.12\"}", "3.6.16", None),
            ("etcd: {version: \"3.5\"}", "3.6.16", Some("etcd.version")),
            ("etcd: {version: \"3.6\"}", "3.5.35", None),
            ("etcd: {version: \"3.6\"}", "3.5.26", None),
            ("etcd: {version: \"3.6\"}", "3.5.25", Some("etcd.version")),
            ("etcd: {version: \"3.6\"}", "3.4.30", Some("etcd.version")),
        ];
        for (text, runs, refused) in table {
            let runs = settled(runs);
            let refusal = moves(&plan(text, Some(runs.clone())), &runs).err();
            assert_eq!(
                refusal.as_ref().map(|refusal| refusal.field.join(".")).as_deref(),
                refused,
                "{text} on {runs:?}"
            );
            assert!(refusal.is_none_or(|refusal| refusal.hint.starts_with("Set `")));
        }
        let refusal = moves(&plan("etcd: {version: \"3.6\"}", None), &settled("3.5.11")).unwrap_err();
        assert_eq!(refusal.hint, "Set `etcd.version: \"3.5.35\"` and run `hactl up` first");
    }
}
