//! What the poolers say -> problems: pure.

use super::{Pool, PoolerState};
use crate::{
    component::{
        findings::{Findings, Hint},
        haproxy::{ProxyServer, ProxyView},
        view::Observations,
    },
    plan::Plan,
};

/// How long a client may wait for a connection until it is a problem, in seconds: longer than a switchover takes.
const LONG_WAIT: u64 = 15;

/// Finds poolers that do not answer, hold clients back or let them wait, and notes the state of each.
pub(super) fn diagnose(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    let Some(entry) = &plan.endpoint else { return };
    for (key, view) in seen {
        let Some(pooler) = &view.pooler else { continue };
        let pools: &[Pool] = pooler.as_ref().map_or(&[][..], |pooler| &pooler.pools);
        let sum = |of: fn(&Pool) -> u64| pools.iter().map(of).sum::<u64>();
        let proxy = view.proxy.as_ref().and_then(|proxy| proxy.as_ref().ok());
        let up = |servers: &[ProxyServer]| -> Vec<String> {
            ProxyView::up(servers).into_iter().map(str::to_owned).collect()
        };
        findings.poolers.push(PoolerState {
            node: key.to_string(),
            pooler: match pooler {
                Ok(pooler) if pooler.paused => "paused",
                Ok(_) => "running",
                Err(_) => "silent",
            },
            version: pooler.as_ref().ok().map(|pooler| pooler.version.clone()),
            clients: sum(|pool| pool.active + pool.waiting),
            waiting: sum(|pool| pool.waiting),
            servers: sum(|pool| pool.servers),
            primary: proxy.map(|proxy| up(&proxy.primary)).unwrap_or_default(),
            replicas: proxy.map(|proxy| up(&proxy.replicas)).unwrap_or_default(),
        });
        match pooler {
            Err(said) => findings.failed("pooler-silent", key, "PgBouncer does not answer", said),
            Ok(pooler) if pooler.paused => {
                let hint = format!(
                    "Run `psql -h /run/pgbouncer -p {} -U pgbouncer -c RESUME pgbouncer` as the user postgres on the machine, \
                     unless an operator works on the cluster",
                    entry.port
                );
                findings.add("pooler-paused", Some(key), "PgBouncer is paused: its clients wait", Hint::Text(hint));
            }
            Ok(_) => {}
        }
        for pool in pools.iter().filter(|pool| pool.longest_wait >= LONG_WAIT) {
            let message = format!(
                "{} clients of {} on {} wait for a connection, the first of them for {} s, with {} connections open",
                pool.waiting, pool.user, pool.database, pool.longest_wait, pool.servers
            );
            let hint = "Shorten the transactions of the clients, or raise `max_connections`: the pools grow with it";
            findings.notice("pool-exhausted", Some(key), message, hint);
        }
    }
}
