//! Records per second, and time to ask for all of them, against BIND and Knot on loopback:
//! `cargo bench --bench dns`.
//!
//! Prints one JSON line per server. Needs `named`, `knotd` and `nsupdate`: `.ci/setup --test`.

#![allow(clippy::print_stdout, reason = "the result of a benchmark")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hactl::dns::{
    self, Records, SECRET_VARIABLE, Zone,
    ask::{Asker, Names},
};
use servers::{Kind, Server, ZONE};
use tokio_util::sync::CancellationToken;

#[allow(dead_code, reason = "a benchmark uses a part of it")]
#[path = "../tests/dns/servers.rs"]
mod servers;

const NAMES: u32 = 1000;
/// As Terraform works on resources of a large cluster.
const AT_ONCE: usize = 100;

#[tokio::main]
async fn main() {
    for kind in [Kind::Bind, Kind::Knot] {
        let server = Server::start(kind);
        let env = BTreeMap::from([(SECRET_VARIABLE.to_owned(), servers::secret())]);
        let zone = Zone::new(server.dns(), &dns::secret(&env).expect("it is base64")).expect("a valid key");
        let cluster = Some(uuid::Uuid::from_u128(1));
        let record = |number: u32| {
            let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
            (format!("n{number}"), Records { addresses: BTreeSet::from([address]), ttl: 300, cluster })
        };

        let started = Instant::now();
        for number in 0..NAMES / 10 {
            let (name, wanted) = record(number);
            zone.create(&name, &wanted).await.expect("the server takes it");
        }
        let one_by_one = f64::from(NAMES / 10) / started.elapsed().as_secs_f64();

        let started = Instant::now();
        let rest = (NAMES / 10..NAMES).map(record).map(Ok);
        let written = stream::iter(rest)
            .try_for_each_concurrent(AT_ONCE, async |(name, wanted)| zone.create(&name, &wanted).await);
        written.await.expect("the server takes it");
        let at_once = f64::from(NAMES - NAMES / 10) / started.elapsed().as_secs_f64();

        let names: Names = (0..NAMES)
            .map(|number| {
                let (name, wanted) = record(number);
                (format!("{name}.{ZONE}"), wanted.addresses)
            })
            .collect();
        let mut asked = f64::MAX;
        for _ in 0..5 {
            let asker = Asker::new(&server.dns()).await.expect("an address");
            let started = Instant::now();
            let there = asker.until_there(&names, Duration::from_secs(10), &CancellationToken::new()).await;
            there.expect("all were written");
            asked = asked.min(started.elapsed().as_secs_f64());
        }

        let started = Instant::now();
        let all = (0..NAMES).map(record).map(|(name, wanted)| (name, wanted.addresses));
        let removed = stream::iter(all)
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, async |(name, addresses)| zone.remove(&name, &addresses, cluster).await);
        removed.await.expect("the server takes it");
        let gone = f64::from(NAMES) / started.elapsed().as_secs_f64();

        println!(
            "{}",
            serde_json::json!({
                "benchmark": "dns", "server": format!("{kind:?}"), "names": NAMES,
                "made per second, one by one": one_by_one, "made per second, 100 at once": at_once,
                "removed per second, 100 at once": gone, "all looked up, seconds": asked,
            })
        );
    }
}
