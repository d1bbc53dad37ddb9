//! The table of drills against its own rules.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::plan::{Durability, Timers};

fn titles(fits: impl Fn(&Drill) -> bool) -> Vec<String> {
    CATALOGUE.iter().filter(|drill| fits(drill)).map(Drill::title).collect()
}

fn drill(title: &str) -> &'static Drill {
    CATALOGUE.iter().find(|drill| drill.title() == title).unwrap()
}

#[test]
fn drill_titles_are_unique_and_variants_come_in_groups() {
    let unique: BTreeSet<String> = titles(|_| true).into_iter().collect();
    assert_eq!(unique.len(), CATALOGUE.len());
    assert_eq!(CATALOGUE.len(), 28);
    for drill in CATALOGUE {
        let alike = CATALOGUE.iter().filter(|other| other.name == drill.name).count();
        assert_eq!(drill.variant.is_some(), alike > 1, "{}", drill.title());
    }
}

#[test]
fn drill_names_in_a_cluster_file_equal_the_catalogue() {
    let titles = titles(|_| true);
    let names = CATALOGUE.iter().map(|drill| drill.name);
    let known: BTreeSet<&str> = titles.iter().map(String::as_str).chain(names).chain(["all"]).collect();
    assert_eq!(crate::model::DRILL_NAMES.iter().copied().collect::<BTreeSet<_>>(), known);
    let defaults = crate::model::DEFAULT_DRILLS.map(str::to_owned);
    assert_eq!(choose(&defaults).unwrap().len(), defaults.len());
}

#[test]
fn lasting_faults_have_an_undo_and_every_fault_has_an_effect() {
    for drill in CATALOGUE {
        assert_eq!(drill.until == Until::Once, drill.undo == "nothing to revert", "{}", drill.title());
        assert!(!drill.undo.is_empty() && !drill.effect.is_empty(), "{}", drill.title());
    }
}

#[test]
fn expectations_of_a_drill_are_consistent() {
    for drill in CATALOGUE {
        let planned = matches!(drill.bound, Bound::Planned(_) | Bound::Sum(..) | Bound::Behind(_));
        assert!(!(drill.new_leader == Expect::MustNot && planned), "{}: a failover's bound", drill.title());
        assert_eq!(drill.new_leader, drill.new_timeline, "{}: promotion begins a timeline", drill.title());
        assert!(
            !drill.failsafe || drill.new_leader == Expect::MustNot,
            "{}: failsafe holds the primary",
            drill.title()
        );
        let fails_over = drill.new_leader == Expect::Must;
        assert!(!fails_over || drill.data_nodes > 1, "{}: no member could take over", drill.title());
        assert!(drill.until != Until::Failover || fails_over, "{}: waits for nothing", drill.title());
    }
}

#[test]
fn every_bound_of_a_drill_is_in_the_plan() {
    let spec = crate::spec::load("t", b"instances: {a: , b: , c: }", "t").unwrap_or_else(|_| panic!());
    let plan = crate::plan::decide(&spec, &crate::plan::Choices::default()).unwrap();
    for drill in CATALOGUE {
        let faults = match drill.bound {
            Bound::Planned(fault) | Bound::Held(fault) | Bound::Behind(fault) => vec![fault],
            Bound::Sum(first, second) => vec![first, second],
            Bound::NoInterruption | Bound::Restart | Bound::Unmeasured => Vec::new(),
        };
        for fault in faults {
            assert!(plan.bounds.iter().any(|bound| bound.fault == fault), "{}", drill.title());
        }
    }
}

#[test]
fn drills_have_the_expected_tiers() {
    assert_eq!(titles(|drill| drill.tier == Tier::Gentle), ["switchover"]);
    let destructive = titles(|drill| drill.tier == Tier::Destructive);
    assert_eq!(destructive, ["etcd-quorum-loss", "disk-full", "cluster-power-off"]);
}

#[test]
fn etcd_faults_expect_no_new_leader() {
    let stays = ["primary-cut-from-etcd", "etcd-leader-loss", "etcd-quorum-loss", "etcd-slow/late", "etcd-slow/bursts"];
    for title in stays {
        assert_eq!(drill(title).new_leader, Expect::MustNot, "{title}");
        assert_eq!(drill(title).bound, Bound::NoInterruption, "{title}");
    }
    assert_eq!(titles(|drill| drill.failsafe), ["primary-cut-from-etcd", "etcd-quorum-loss"]);
}

#[test]
fn loss_is_allowed_only_for_async_and_unplanned_failover() {
    for durability in [Durability::Quorum, Durability::QuorumStrict] {
        assert_eq!(titles(|drill| drill.loss(durability) != Loss::None), [""; 0]);
    }
    let reported = titles(|drill| drill.loss(Durability::Async) == Loss::Reported);
    assert_eq!(
        reported,
        [
            "postgres-crash",
            "oom-backend",
            "new-primary-crash",
            "patroni-crash/dead",
            "patroni-hang",
            "node-loss",
            "rest-exhausted",
            "node-loss-in-copy",
            "double-loss",
            "primary-isolated",
            "certificate-expired/primary",
            "disk-full",
            "slow-network/loss",
            "slow-network/latency",
            "cluster-power-off",
        ]
    );
}

#[test]
fn fault_hold_time_depends_on_the_drill_and_the_timers() {
    let timers =
        Timers { ttl: 20, loop_wait: 3, retry_timeout: 7, primary_start_timeout: 30, primary_stop_timeout: 15 };
    let table = [("switchover", 0.0), ("node-loss", 42.5), ("etcd-leader-loss", 28.0), ("cluster-power-off", 5.0)];
    for (title, seconds) in table {
        assert_eq!(drill(title).hold(&timers, 42.5), seconds, "{title}");
    }
}

#[test]
fn chosen_drills_are_in_catalogue_order() {
    let chosen = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        choose(&words).map(|drills| drills.iter().map(|drill| drill.title()).collect::<Vec<_>>())
    };
    assert_eq!(chosen(&["all"]).unwrap().len(), CATALOGUE.len());
    let named = chosen(&["node-loss", "patroni-crash", "switchover", "node-loss"]);
    assert_eq!(named.unwrap(), ["switchover", "patroni-crash/restart", "patroni-crash/dead", "node-loss"]);
    assert_eq!(chosen(&["patroni-crash/dead"]).unwrap(), ["patroni-crash/dead"]);
    assert_eq!(chosen(&["switchover", "restart"]), Err("restart".into()));
    assert_eq!(chosen(&[]).unwrap(), [""; 0]);
}

#[test]
fn limit_of_a_variant_wins_over_that_of_its_drill_and_of_all() {
    let limits = [("all", 60_000), ("patroni-crash", 30_000), ("patroni-crash/restart", 1_000)];
    let limits: BTreeMap<String, u64> = limits.map(|(word, limit)| (word.to_owned(), limit)).into();
    let table = [("switchover", 60_000), ("patroni-crash/dead", 30_000), ("patroni-crash/restart", 1_000)];
    for (title, limit) in table {
        assert_eq!(drill(title).limit_ms(&limits), Some(limit), "{title}");
    }
    assert_eq!(drill("switchover").limit_ms(&BTreeMap::new()), None);
}

#[test]
fn asynchronous_switchover_has_no_bound() {
    let text = b"instances: {a: , b: , c: }\npatroni: {durability: async}";
    let spec = crate::spec::load("t", text, "t").unwrap_or_else(|_| panic!());
    let plan = crate::plan::decide(&spec, &crate::plan::Choices::default()).unwrap();
    let bound = |title: &str| crate::verify::bound_ms(drill(title), &plan);
    assert_eq!([bound("switchover"), bound("new-primary-crash"), bound("postgres-crash")], [None, None, Some(46_000)]);
}
