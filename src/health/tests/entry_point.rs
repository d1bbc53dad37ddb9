//! Problems of poolers and proxies, and what status says of them.

use super::*;
use crate::component::{
    haproxy::{ProxyServer, ProxyView},
    pgbouncer::{Pool, PoolerView},
};

fn with_entry_point() -> Plan {
    let text = b"instances: {node1: {}, node2: {}, node3: {}}\nendpoint: {replicas: true}";
    plan::decide(&spec::load("t.yaml", text, "t").unwrap(), &Choices::default()).unwrap()
}

/// The same with an entry point without a problem.
fn good_entry(plan: &Plan) -> Observations {
    let mut seen = good(plan);
    let server = |name: &str, up: bool| ProxyServer { name: name.to_owned(), up, connections: if up { 4 } else { 0 } };
    for view in seen.values_mut() {
        view.proxy = Some(Ok(ProxyView {
            primary: vec![server(LEADER, true), server(REPLICAS[0], false), server(REPLICAS[1], false)],
            replicas: vec![server(LEADER, false), server(REPLICAS[0], true), server(REPLICAS[1], true)],
        }));
        let pool =
            Pool { database: "app".to_owned(), user: "app".to_owned(), active: 3, servers: 4, ..Pool::default() };
        let version = "PgBouncer 1.24.1".to_owned();
        view.pooler = Some(Ok(PoolerView { version, pools: vec![pool], paused: false }));
    }
    seen
}

#[test]
fn entry_point_without_a_problem_is_shown_and_a_cluster_without_one_has_no_word_of_it() {
    let plan = with_entry_point();
    let health = diagnose(&plan, &good_entry(&plan));
    assert!(health.is_healthy(), "{:?}", health.problems);
    let endpoints = crate::model::Endpoints { pooled: "p".into(), replicas: Some("r".into()), direct: "d".into() };
    let shown = serde_json::to_value(status(&plan, &health, "d".to_owned(), Some(endpoints))).unwrap();
    assert_eq!(shown["endpoints"], serde_json::json!({"pooled": "p", "replicas": "r", "direct": "d"}));
    let expected = serde_json::json!({
        "node": "node1", "pooler": "running", "version": "PgBouncer 1.24.1", "clients": 3, "waiting": 0, "servers": 4,
        "primary": [LEADER], "replicas": REPLICAS,
    });
    assert_eq!(shown["poolers"][0], expected);

    let plan = super::plan();
    let shown = serde_json::to_value(status(&plan, &diagnose(&plan, &good(&plan)), "d".to_owned(), None)).unwrap();
    assert!(shown.get("endpoints").is_none() && shown.get("poolers").is_none(), "{shown}");
}

#[test]
fn pooler_or_proxy_that_fails_is_a_problem_with_its_code() {
    let plan = with_entry_point();
    let found = |change: &dyn Fn(&mut NodeView)| -> Vec<(String, Option<String>)> {
        let mut seen = good_entry(&plan);
        change(seen.get_mut(&key(REPLICAS[0])).unwrap());
        let health = diagnose(&plan, &seen);
        let all = health.problems.into_iter().chain(health.notices);
        all.map(|problem| (problem.code, problem.node)).collect()
    };
    let on = |code: &str| vec![(code.to_owned(), Some(REPLICAS[0].to_owned()))];
    let silent = || ProbeError::Other("exit status 2".to_owned());
    assert_eq!(found(&|_| ()), []);
    assert_eq!(found(&|view| view.pooler = Some(Err(silent()))), on("pooler-silent"));
    assert_eq!(found(&|view| view.proxy = Some(Err(silent()))), on("proxy-silent"));
    let pooler = |view: &mut NodeView, change: &dyn Fn(&mut PoolerView)| {
        if let Some(Ok(pooler)) = &mut view.pooler {
            change(pooler);
        }
    };
    assert_eq!(found(&|view| pooler(view, &|pooler| pooler.paused = true)), on("pooler-paused"));
    let waits = |seconds: u64| found(&|view| pooler(view, &|pooler| pooler.pools[0].longest_wait = seconds));
    assert_eq!((waits(14), waits(15)), (Vec::new(), on("pool-exhausted")));
    let leads = |up: [bool; 3]| {
        found(&|view| {
            if let Some(Ok(proxy)) = &mut view.proxy {
                proxy.primary.iter_mut().zip(up).for_each(|(server, up)| server.up = up);
            }
        })
    };
    for up in [[false; 3], [false, true, false], [true, true, false]] {
        assert_eq!(leads(up), on("proxy-elsewhere"), "{up:?}");
    }
    assert_eq!(leads([true, false, false]), []);
}
