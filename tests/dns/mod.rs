//! Records in real zones: BIND and Knot on loopback, changed by real Terraform, looked at by dig.
//!
//! Needs `terraform`, `named`, `dig`, `nsupdate` and `knotd`, and the container engine for the one
//! test through `hactl up`; `.ci/setup --test` installs them.
//!
//! Long because its tests share two real servers and their zones.

mod plain;
pub(crate) mod servers;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, TcpListener, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::common::{Bench, Running, steps::Steps};
use hactl::{
    dns::{
        self, Records, SECRET_VARIABLE, Zone,
        ask::{Asker, Names},
    },
    model::{Dns, KeyAlgorithm},
};
use plain::{OTHER_VARIABLE, Plain};
use serde_json::{Value, json};
use servers::{IDLE_KEY, KEY, KEY_512, Kind, OTHER_KEY, PLAIN_KEY, Server, ZONE, other_secret};
use tokio_util::sync::CancellationToken;

const UUID: &str = "4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11";
const OTHER_UUID: &str = "5c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a12";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn records_on_bind_and_knot_are_made_changed_and_destroyed() {
    both(life);
}

fn life(kind: Kind) {
    let (server, plain) = (Server::start(kind), Plain::new());
    let records = json!({
        "node1": {"name": "Node1", "vm_identifier": "node1"},
        "node2": {"name": "node2", "vm_identifier": "node2", "addresses": ["2001:db8::2"]},
        "db": {"name": "db.sub", "addresses": ["192.0.2.9"]},
    });
    let with = |ips: serde_json::Value, more: serde_json::Value| {
        let mut values = json!({"target_ips": ips, "records": records, "cluster_uuid": UUID});
        values.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        plain.set(&server, values);
    };
    let ips = json!({"node1": "192.0.2.1", "node2": "192.0.2.2"});

    let mut steps = Steps::new();
    steps.must("records, new, are made with A, AAAA and a mark", || {
        with(ips.clone(), json!({}));
        plain.apply().good();
        assert_eq!(server.dig("node1", "A"), ["300 IN A 192.0.2.1"]);
        assert_eq!(server.dig("node2", "A"), ["300 IN A 192.0.2.2"]);
        assert_eq!(server.dig("node2", "AAAA"), ["300 IN AAAA 2001:db8::2"]);
        assert_eq!(server.dig("db.sub", "A"), ["300 IN A 192.0.2.9"]);
        assert_eq!(server.dig("node1", "TXT"), [format!("300 IN TXT \"hactl={UUID}/192.0.2.1\"")]);
        plain.plan().good();
        assert!(!plain.state().contains(&plain.secret), "the secret is in the state");
    });

    steps.step("records, changed by others, are restored without a moment without an answer", || {
        server.nsupdate(&[
            "update delete node1.home.sflab.io. A",
            "update add node1.home.sflab.io. 300 A 10.9.9.9",
            "update add node2.home.sflab.io. 300 A 10.9.9.8",
            "update delete db.sub.home.sflab.io.",
        ]);
        let plan = plain.plan();
        assert!(plan.code == 2 && plan.text.contains("1 to add, 2 to change, 0 to destroy"), "{}", plan.text);
        // While it is repaired the name is asked all the time: it never answers nothing.
        let (ended, gap) = (AtomicBool::new(false), AtomicBool::new(false));
        let asked = std::thread::scope(|scope| {
            let asker = scope.spawn(|| {
                let mut count = 0;
                while !ended.load(Ordering::Relaxed) {
                    if server.addresses("node1").is_some_and(|addresses| addresses.is_empty()) {
                        gap.store(true, Ordering::Relaxed);
                    }
                    count += 1;
                }
                count
            });
            plain.apply().good();
            ended.store(true, Ordering::Relaxed);
            asker.join().unwrap()
        });
        println!("   asked {asked} times meanwhile");
        assert!(asked > 100 && !gap.load(Ordering::Relaxed), "there was a moment without an answer");
        assert_eq!(server.dig("node1", "A"), ["300 IN A 192.0.2.1"]);
        assert_eq!(server.dig("node2", "A"), ["300 IN A 192.0.2.2"]);
        assert_eq!(server.dig("db.sub", "A"), ["300 IN A 192.0.2.9"]);
    });

    steps.step("TTL, changed outside or in the configuration, is written", || {
        server.nsupdate(&["update delete node1.home.sflab.io. A", "update add node1.home.sflab.io. 60 A 192.0.2.1"]);
        plain.apply().good();
        assert_eq!(server.dig("node1", "A"), ["300 IN A 192.0.2.1"]);
        with(ips.clone(), json!({"ttl": 120}));
        plain.apply().good();
        assert_eq!(server.dig("node1", "A"), ["120 IN A 192.0.2.1"]);
        plain.plan().good();
    });

    steps.step("record, of a machine with another address, is changed in place with its mark", || {
        with(json!({"node1": "192.0.2.11", "node2": "192.0.2.2"}), json!({"ttl": 120}));
        plain.apply().good();
        assert_eq!(server.dig("node1", "A"), ["120 IN A 192.0.2.11"]);
        assert_eq!(server.dig("node1", "TXT"), [format!("120 IN TXT \"hactl={UUID}/192.0.2.11\"")]);
    });

    steps.step("record, of a machine without an address, fails alone", || {
        with(json!({"node1": null, "node2": "192.0.2.22"}), json!({"ttl": 120}));
        plain
            .apply()
            .bad(&["VM IP address is not available. Ensure QEMU guest agent is running.", "node1 has no address"]);
        assert_eq!(server.dig("node1", "A"), ["120 IN A 192.0.2.11"], "what it had stays");
        assert_eq!(server.dig("node2", "A"), ["120 IN A 192.0.2.22"], "the others are written");
        with(json!({"node1": "192.0.2.11", "node2": "192.0.2.22"}), json!({"ttl": 120}));
        plain.apply().good();
    });

    steps.step("records, removed from the state, are found by their mark or imported", || {
        plain.run(&["state", "rm", "hactl_dns_record_set.this[\"node1\"]", "hactl_dns_record_set.this[\"db\"]"]).good();
        let id = format!("127.0.0.1:{}/ddnskey./{ZONE}/db.sub", server.port);
        plain.run(&["import", "-no-color", "hactl_dns_record_set.this[\"db\"]", &id]).good();
        plain.apply().good();
        plain.plan().good();
    });

    steps.step("records, destroyed, are removed and those of others are kept", || {
        server.nsupdate(&["update add node2.home.sflab.io. 120 A 10.9.9.8"]);
        plain.destroy().good();
        assert_eq!(server.dig("node2", "ANY"), ["120 IN A 10.9.9.8"]);
        assert_eq!((server.status("node1"), server.status("db.sub")), ("NXDOMAIN".to_owned(), "NXDOMAIN".to_owned()));
        assert!(plain.destroy().good().text.contains("No changes"), "there was something left");
    });
    steps.finish();
}

#[test]
fn records_at_names_of_others_are_refused() {
    both(|kind| {
        let (server, plain) = (Server::start(kind), Plain::new());
        let record = |name: &str, address: &str| json!({"name": name, "addresses": [address]});

        let mut steps = Steps::new();
        steps.step("records, with addresses or aliases of others, are refused", || {
        let records = json!({"a": record("taken", "192.0.2.1"), "b": record("alias", "192.0.2.2"), "c": record("node3", "192.0.2.3")});
        plain.set(&server, json!({"records": records, "cluster_uuid": UUID}));
        plain.apply().bad(&[
            "Cannot create the record taken.home.sflab.io.",
            "with addresses that hactl did not create: 192.0.2.99",
            "as an alias of ns1.home.sflab.io.",
        ]);
        assert_eq!(server.dig("taken", "A"), ["3600 IN A 192.0.2.99"]);
        assert_eq!(server.dig("node3", "A"), ["300 IN A 192.0.2.3"]);
        });

        steps.step("record, equal to one of another cluster, is refused and kept", || {
            plain.destroy().good();
            let records = json!({"a": record("taken", "192.0.2.99"), "c": record("node3", "192.0.2.3")});
            plain.set(&server, json!({"records": records, "cluster_uuid": UUID}));
            server.nsupdate(&[
                "update add node3.home.sflab.io. 300 A 192.0.2.3",
                &format!("update add node3.home.sflab.io. 300 TXT \"hactl={OTHER_UUID}/192.0.2.3\""),
            ]);
            plain.apply().bad(&["did not create: 192.0.2.99", "did not create: 192.0.2.3"]);
            assert_eq!(server.dig("node3", "TXT").len(), 1, "a mark was left on what is another's");
            plain.destroy().good();
            assert_eq!(server.dig("node3", "A"), ["300 IN A 192.0.2.3"], "a destroy removed what was never made");
        });

        steps.step("record, with a key that may write addresses only, is made without a mark", || {
            let plainkey = |address: &str| {
                let records = json!({"d": record("node4", address)});
                plain.set(&server, json!({"records": records, "cluster_uuid": UUID, "key_name": PLAIN_KEY}));
            };
            plainkey("192.0.2.4");
            plain.apply().good();
            assert_eq!(server.dig("node4", "ANY"), ["300 IN A 192.0.2.4"]);
            plain.run(&["state", "rm", "hactl_dns_record_set.this[\"d\"]"]).good();
            plain.apply().good();
            plainkey("192.0.2.44");
            plain.apply().good();
            assert_eq!(server.dig("node4", "A"), ["300 IN A 192.0.2.44"]);
            plain.run(&["state", "rm", "hactl_dns_record_set.this[\"d\"]"]).good();
            plainkey("192.0.2.4");
            plain.apply().bad(&["did not create: 192.0.2.44"]);
            plain.destroy().good();
        });

        steps.step("record, at a name that a wildcard answers, is made and removed", || {
            plain.set(&server, json!({"records": {"e": record("x.wild", "192.0.2.5")}, "cluster_uuid": UUID}));
            plain.apply().good();
            server.nsupdate(&["update delete x.wild.home.sflab.io."]);
            assert_eq!(server.dig("x.wild", "A"), ["3600 IN A 192.0.2.77"]);
            plain.apply().good();
            assert_eq!(server.dig("x.wild", "A"), ["300 IN A 192.0.2.5"]);
            plain.destroy().good();
            assert_eq!(server.dig("x.wild", "A"), ["3600 IN A 192.0.2.77"]);
        });
        steps.finish();
    });
}

/// Both servers at once: the machine has two cores, and most of the time goes into starting Terraform.
fn both(test: fn(Kind)) {
    std::thread::scope(|scope| {
        let threads = [Kind::Bind, Kind::Knot].map(|kind| scope.spawn(move || test(kind)));
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// What is wrong, as the library says it: code, text, and within seconds.
async fn wrong(dns: &Dns, secret: &str, code: &str, words: &[&str]) {
    let env = BTreeMap::from([(SECRET_VARIABLE.to_owned(), secret.to_owned())]);
    let wanted =
        Records { addresses: BTreeSet::from([ip("192.0.2.1")]), ttl: 300, cluster: Some(UUID.parse().unwrap()) };
    let started = Instant::now();
    let zone = Zone::new(dns.clone(), &dns::secret(&env).unwrap()).unwrap();
    let created = zone.create("node1", &wanted).await.unwrap_err();
    let took = started.elapsed();
    println!("   {took:?}: {created}");
    assert_eq!(created.code, code, "{created}");
    for word in words {
        assert!(created.to_string().contains(word), "no `{word}` in {created}");
    }
    assert!(took < Duration::from_secs(8), "{took:?}");
    // A key that is known and allowed nothing may read; silence takes its time.
    if !["dns-refused", "dns-silent"].contains(&code) {
        assert_eq!(zone.check().await.unwrap_err().code, code);
    }
}

#[tokio::test]
async fn wrong_settings_are_reported_each_with_its_code() {
    for kind in [Kind::Bind, Kind::Knot] {
        let server = Server::start(kind);
        let good = server.dns();
        let right = servers::secret();
        let key = |name: &str| Dns { key_name: name.parse().unwrap(), ..good.clone() };
        let algorithm = |dns: Dns, key_algorithm| Dns { key_algorithm, ..dns };
        let zone = |zone: &str| Dns { zone: zone.parse().unwrap(), ..good.clone() };
        let port = |port| Dns { port, ..good.clone() };

        wrong(&good, "d3Jvbmc=", "dns-secret", &["the TSIG secret is wrong", "ddnskey.", SECRET_VARIABLE]).await;
        wrong(&key("nokey."), &right, "dns-key-name", &["knows no key nokey."]).await;
        let other = algorithm(good.clone(), KeyAlgorithm::HmacSha384);
        wrong(&other, &right, "dns-key-algorithm", &["not with hmac-sha384", "Set `key_algorithm` to hmac-sha256"])
            .await;
        wrong(&key(KEY_512), &right, "dns-key-algorithm", &["Set `key_algorithm` to hmac-sha512"]).await;
        wrong(&zone("example.org"), &right, "dns-zone", &["does not serve the zone example.org."]).await;
        wrong(&zone("sub.home.sflab.io"), &right, "dns-zone", &["is inside its zone home.sflab.io."]).await;
        match kind {
            Kind::Bind => wrong(&key(IDLE_KEY), &right, "dns-refused", &["the key idlekey. may not change this"]).await,
            // To Knot a key that no list of the zone names is no key of the zone.
            Kind::Knot => wrong(&key(IDLE_KEY), &right, "dns-key-name", &["knows no key idlekey."]).await,
        }
        let closed = port(servers::free_port(server.address));
        wrong(&closed, &right, "dns-silent", &["connection refused"]).await;
        if kind == Kind::Bind {
            let silent = servers::free_port(server.address);
            let _udp = UdpSocket::bind((server.address, silent)).unwrap();
            let _tcp = TcpListener::bind((server.address, silent)).unwrap();
            wrong(&port(silent), &right, "dns-silent", &["UDP: no answer within 3 s; TCP: no answer within 3 s"]).await;
            let unknown = Dns { server: "no-such-host.invalid".parse().unwrap(), ..good.clone() };
            wrong(&unknown, &right, "dns-server", &["could not be resolved"]).await;
        }
        assert_eq!(server.status("node1"), "NXDOMAIN", "something was written");
    }
}

/// The zone of a server at another port.
fn zone_at(server: &Server, port: u16) -> Zone {
    let env = BTreeMap::from([(SECRET_VARIABLE.to_owned(), servers::secret())]);
    Zone::new(Dns { port, ..server.dns() }, &dns::secret(&env).unwrap()).unwrap()
}

/// Without a cluster no mark tells who made the record.
fn without_mark(address: &str) -> Records {
    Records { addresses: BTreeSet::from([ip(address)]), ttl: 300, cluster: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn record_after_a_lost_answer_is_found_by_the_next_datagram() {
    let server = Server::start(Kind::Bind);
    let port = servers::free_port(server.address);
    let relay = UdpSocket::bind((server.address, port)).unwrap();
    let (address, behind) = (server.address, server.port);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        for number in 0.. {
            let (length, client) = relay.recv_from(&mut buffer).unwrap();
            let socket = UdpSocket::bind((address, 0)).unwrap();
            socket.send_to(&buffer[..length], (address, behind)).unwrap();
            let length = socket.recv(&mut buffer).unwrap();
            if number > 0 {
                relay.send_to(&buffer[..length], client).unwrap();
            }
        }
    });
    zone_at(&server, port).create("lost", &without_mark("192.0.2.1")).await.unwrap();
    assert_eq!(server.dig("lost", "ANY"), ["300 IN A 192.0.2.1"]);
    // The same name again, with every answer: somebody else's.
    let error = zone_at(&server, port).create("lost", &without_mark("192.0.2.1")).await.unwrap_err();
    assert_eq!(error.code, "dns-foreign");
}

#[tokio::test(flavor = "multi_thread")]
async fn record_without_an_answer_by_udp_is_made_by_tcp() {
    let server = Server::start(Kind::Bind);
    let (address, behind) = (server.address, server.port);
    let port = servers::free_port(server.address);
    let _udp = UdpSocket::bind((server.address, port)).unwrap();
    let listener = tokio::net::TcpListener::bind((server.address, port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = tokio::net::TcpStream::connect((address, behind)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    zone_at(&server, port).create("tcp", &without_mark("192.0.2.2")).await.unwrap();
    assert_eq!(server.dig("tcp", "A"), ["300 IN A 192.0.2.2"]);
}

#[test]
fn wrong_settings_in_terraform_are_reported_at_the_resource() {
    let (server, mut plain) = (Server::start(Kind::Bind), Plain::new());
    let records = json!({"a": {"name": "node1", "addresses": ["192.0.2.1"]}});
    plain.set(&server, json!({"records": records}));
    let right = std::mem::replace(&mut plain.secret, "d3Jvbmc=".to_owned());
    plain.apply().bad(&[
        "Cannot create the record node1.home.sflab.io.",
        "the TSIG secret is wrong",
        "Hint:",
        "on main.tf line",
    ]);
    plain.secret = "hunter2!".to_owned();
    plain.apply().bad(&["does not hold base64"]);
    plain.secret = String::new();
    plain.apply().bad(&["TF_VAR_dns_key_secret is not set"]);
    plain.secret = right;
    plain.set(&server, json!({"records": records, "key_algorithm": "hmac-md5"}));
    plain.apply().bad(&["hmac-md5 is not supported"]);
}

#[test]
fn records_of_two_keys_in_one_configuration_are_made_each_with_its_secret() {
    let (server, mut plain) = (Server::start(Kind::Bind), Plain::new());
    plain.root = plain.path("tree/two");
    std::fs::create_dir(&plain.root).unwrap();
    let module = |name: &str, key: &str, more: Value| {
        let mut module = json!({
            "source": "../modules/dns-records", "zone": ZONE, "server": server.address, "port": server.port,
            "key_name": key, "records": {"a": {"name": name, "addresses": ["192.0.2.7"]}},
        });
        module.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        module
    };
    let write = |plain: &Plain, other: Value| {
        let both = json!({"module": {"home": module("home", KEY, json!({})), "lab": module("lab", OTHER_KEY, other)}});
        std::fs::write(plain.root.join("main.tf.json"), both.to_string()).unwrap();
    };
    write(&plain, json!({}));
    plain.run(&["init", "-no-color"]).good();
    plain.apply().bad(&["the TSIG secret is wrong", "for the key otherkey.", "Set TF_VAR_dns_key_secret"]);
    assert_eq!((server.dig("home", "A").len(), server.dig("lab", "A").len()), (1, 0));

    write(&plain, json!({"key_secret_variable": OTHER_VARIABLE}));
    plain.apply().good();
    assert_eq!(server.dig("lab", "A"), ["300 IN A 192.0.2.7"]);
    plain.plan().good();
    assert!(!plain.state().contains(&other_secret()), "the secret is in the state");
    plain.destroy().good();
    assert_eq!((server.dig("home", "A").len(), server.dig("lab", "A").len()), (0, 0));

    write(&plain, json!({"key_secret_variable": "NO_SUCH_SECRET"}));
    plain.apply().bad(&["the environment variable NO_SUCH_SECRET is not set"]);
}

#[test]
fn records_larger_than_a_datagram_are_made_with_hmac_sha512() {
    let (server, plain) = (Server::start(Kind::Bind), Plain::new());
    let many: Vec<String> = (1..=90).map(|number| format!("2001:db8::{number:x}")).collect();
    let records = json!({"a": {"name": "node1", "addresses": ["192.0.2.1"]}, "b": {"name": "big", "addresses": many}});
    plain.set(&server, json!({"records": records, "key_name": KEY_512, "key_algorithm": "hmac-sha512"}));
    plain.apply().good();
    assert_eq!(server.dig("node1", "ANY"), ["300 IN A 192.0.2.1"], "without a UUID there is no mark");
    assert_eq!(server.dig("big", "AAAA").len(), 90);
    plain.plan().good();
}

#[test]
fn server_killed_during_apply_has_all_records_after_the_next_apply() {
    let long = std::env::var_os("HACTL_TEST_LONG").is_some();
    for kind in [Kind::Bind, Kind::Knot].into_iter().take(if long { 2 } else { 1 }) {
        let (mut server, plain) = (Server::start(kind), Plain::new());
        let name = |number: usize| format!("n{number:03}");
        let records: serde_json::Map<_, _> = (0..100)
            .map(|number| (name(number), json!({"name": name(number), "addresses": [format!("192.0.2.{number}")]})))
            .collect();
        plain.set(&server, json!({"records": records, "cluster_uuid": UUID}));

        let there = |server: &Server| {
            (0..100).filter(|number| server.addresses(&name(*number)).is_some_and(|found| !found.is_empty())).count()
        };
        let apply = plain.start_apply();
        while there(&server) < 20 {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.kill();
        let ended = apply.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{text}");
        assert!(text.contains("did not answer"), "{text}");
        server.resume();
        let before = there(&server);
        let again = plain.apply().good();
        println!("   {kind:?}: {before} were there when it died; all after {:?} more", again.took);
        assert!((20..100).contains(&before), "{before} of 100 when it died");
        for number in 0..100 {
            assert_eq!(server.addresses(&name(number)), Some(vec![ip(&format!("192.0.2.{number}"))]));
        }
        assert_eq!(server.dig("n042", "A"), ["300 IN A 192.0.2.42"]);
        plain.destroy().good();
        assert_eq!((server.status("n000"), server.status("n099")), ("NXDOMAIN".to_owned(), "NXDOMAIN".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_server_are_compared_with_expected_addresses() {
    let server = Server::start(Kind::Bind);
    let asker = Asker::new(&server.dns()).await.unwrap();
    let (stop, soon) = (CancellationToken::new(), Duration::from_millis(300));
    let names = |pairs: &[(&str, &str)]| -> Names {
        pairs.iter().map(|(name, address)| (format!("{name}.{ZONE}"), BTreeSet::from([ip(address)]))).collect()
    };
    asker.until_there(&names(&[("taken", "192.0.2.99")]), soon, &stop).await.unwrap();

    let mut steps = Steps::new();
    server.nsupdate(&["update add taken.home.sflab.io. 300 AAAA 2001:db8::99"]);
    steps
        .step_async("addresses, wrong, missing or added, are named", async {
            let expected = names(&[("taken", "192.0.2.99"), ("ns1", "192.0.2.1"), ("none", "192.0.2.2")]);
            let error = asker.until_there(&expected, soon, &stop).await.unwrap_err();
            assert_eq!(error.code, "dns-answers");
            let lines = [
                "none.home.sflab.io.: expected 192.0.2.2, found nothing",
                "ns1.home.sflab.io.: expected 192.0.2.1, found 192.0.2.53",
                "taken.home.sflab.io.: expected 192.0.2.99, found 192.0.2.99, 2001:db8::99",
            ];
            assert_eq!(error.causes, lines);
        })
        .await;

    steps
        .step_async("addresses, changed during the wait, are accepted", async {
            let wait = Duration::from_secs(10);
            let later = |lines: &'static [&'static str]| async {
                tokio::time::sleep(Duration::from_millis(600)).await;
                tokio::task::block_in_place(|| server.nsupdate(lines))
            };
            let soon_there = names(&[("late", "192.0.2.7")]);
            let (there, ()) = tokio::join!(
                asker.until_there(&soon_there, wait, &stop),
                later(&["update add late.home.sflab.io. 300 A 192.0.2.7"])
            );
            there.unwrap();
            let (gone, ()) =
                tokio::join!(asker.until_gone(&soon_there, wait, &stop), later(&["update delete late.home.sflab.io."]));
            assert!(gone.unwrap().is_empty());
        })
        .await;

    steps
        .step_async("addresses, still there, are named and told from those of others", async {
            let error = asker.until_gone(&names(&[("taken", "192.0.2.99")]), soon, &stop).await.unwrap_err();
            assert_eq!(error.causes, ["taken.home.sflab.io.: expected no 192.0.2.99, found 192.0.2.99, 2001:db8::99"]);
            let kept = asker.until_gone(&names(&[("ns1", "192.0.2.1")]), soon, &stop).await.unwrap();
            assert_eq!(kept, names(&[("ns1", "192.0.2.53")]));
        })
        .await;

    let mut server = server;
    server.kill();
    steps
        .step_async("server, stopped, is no proof of removed names", async {
            let error = asker.until_gone(&names(&[("ns1", "192.0.2.1")]), soon, &stop).await.unwrap_err();
            assert!(error.causes[0].contains("no answer"), "{error}");
        })
        .await;
    steps.finish();
}

const NAME: &str = "t-dns";
const FILE: &str = "instances: {node1: {roles: []}}\ndefaults: {memory: 512, cores: 1}\n";

#[test]
fn record_of_a_machine_is_made_by_up_and_removed_by_down() {
    let mut server = Server::start(Kind::Bind);
    let file = |key: &str| {
        format!("{FILE}dns: {{zone: {ZONE}, server: {}, port: {}, key_name: {key}}}\n", server.address, server.port)
    };
    let bench = Bench::new(NAME, &file(KEY));
    let name = &format!("{NAME}-prod-node1");
    let hactl = |args: &[&str], secret: &str| {
        let mut command = bench.command(args);
        command.env(SECRET_VARIABLE, secret);
        Running::new(command)
    };
    let good = |args: &[&str]| {
        let started = Instant::now();
        let (code, events) = hactl(args, &servers::secret()).end();
        println!("   hactl {}: {:.1} s", args.join(" "), started.elapsed().as_secs_f64());
        assert_eq!(code, 0, "{args:?}: {:#?}", events.iter().rev().take(3).collect::<Vec<_>>());
        events
    };
    let bad = |args: &[&str], secret: &str| hactl(args, secret).end_in_error();

    let mut steps = Steps::new();
    steps.step("up, without the secret or with a wrong key, makes nothing", || {
        let (code, error) = bench.fail(&["up", NAME]);
        assert_eq!((code, &error["code"]), (3, &json!("dns-secret-missing")));
        assert_eq!(bad(&["up", NAME], "d3Jvbmc=").1["code"], "dns-secret");
        bench.write_file(&file("nokey."));
        assert_eq!(bad(&["up", NAME], &servers::secret()).1["code"], "dns-key-name");
        assert_eq!(bench.leftovers(), "");
    });

    bench.write_file(&file(KEY));

    let right = steps.must("up, with the secret, makes machine and record and asks the server", || {
        let events = good(&["up", NAME]);
        let stage = |events: &[Value]| {
            let finished = |event: &&Value| event["type"] == "stage-finished" && event["stage"] == "dns";
            events.iter().find(finished).map(|event| event["detail"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(stage(&events).unwrap(), format!("1 name resolves at 127.0.0.1:{}", server.port));
        let address = bench.address("node1");
        let right = vec![format!("300 IN A {address}")];
        assert_eq!(server.dig(name, "A"), right);
        let order: Vec<_> =
            events.iter().filter(|event| event["type"] == "resource" && event["state"] == "done").collect();
        assert!(order.last().unwrap()["address"].as_str().unwrap().starts_with("module.dns[0]"), "{order:#?}");
        assert!(good(&["up", NAME]).last().unwrap()["changed"] == false);
        right
    });

    steps.step("up, with a server that dies meanwhile, fails, and the next up restores the record", || {
        server
            .nsupdate(&[&format!("update delete {name}.{ZONE} A"), &format!("update add {name}.{ZONE} 60 A 10.9.9.9")]);
        let mut up = hactl(&["up", NAME], &servers::secret());
        up.wait_for_stage("provision");
        server.kill();
        let (code, error) = up.end_in_error();
        assert!(code == 1 && error.to_string().contains("did not answer"), "{error:#}");
        assert_eq!(bad(&["up", NAME], &servers::secret()).1["code"], "dns-silent");
        server.resume();
        good(&["up", NAME]);
        assert_eq!(server.dig(name, "A"), right);
    });

    steps.step("secret, after up, is in no file", || {
        let found =
            std::process::Command::new("grep").args(["-rlF", &servers::secret()]).arg(bench.path("")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    });

    steps.step("down, without the record in the state, removes it by its mark", || {
        let stack = bench.kept("terraform/stacks/local/terraform.tfstate");
        let mut state: Value = serde_json::from_slice(&std::fs::read(&stack).unwrap()).unwrap();
        state["resources"].as_array_mut().unwrap().retain(|resource| resource["type"] != "hactl_dns_record_set");
        std::fs::write(&stack, state.to_string()).unwrap();
        let events = good(&["down", NAME, "--yes"]);
        assert!(
            events.iter().any(|event| event.to_string().contains(&format!("removed record {name}"))),
            "{events:#?}"
        );
        assert_eq!(server.status(name), "NXDOMAIN");
        good(&["up", NAME]);
        assert_eq!(server.dig(name, "A").len(), 1);
        good(&["down", NAME, "--yes"]);
        assert_eq!((server.status(name).as_str(), bench.leftovers().as_str()), ("NXDOMAIN", ""));
    });
    steps.finish();
}

#[test]
fn tests_of_the_dns_module_pass() {
    let plain = Plain::new();
    let tested = plain.run(&["test", "-no-color"]).good();
    assert!(tested.text.contains("Success! 16 passed, 0 failed."), "{}", tested.text);
}

#[test]
fn tests_of_the_hosts_stack_pass() {
    let plain = Plain::new();
    let stack = format!("-chdir={}", plain.path("tree/stacks/hosts").display());
    plain.run(&[&stack, "init", "-no-color"]).good();
    let tested = plain.run(&[&stack, "test", "-no-color"]).good();
    assert!(tested.text.contains("Success! 6 passed, 0 failed."), "{}", tested.text);
}
