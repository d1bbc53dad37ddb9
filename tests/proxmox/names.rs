//! Machines and their records by `hactl up`, on BIND and on Knot: what `tests/dns` shows of the provider and of plain
//! Terraform, through the whole program.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use hactl::dns::SECRET_VARIABLE;
use serde_json::json;

use super::{at_once, program::Program};
use crate::{
    common::{Running, recorded::Nowhere, steps::Steps},
    dns::servers::{KEY, Kind, Server, ZONE, secret},
    proxmox_api::simulator::{Simulator, World},
};

/// Few enough to be made in seconds: that there may be a hundred, `tests/dns` shows with Terraform alone, too.
const MACHINES: usize = 8;
const MANY: usize = 100;

#[test]
fn records_on_bind_and_knot_are_made_by_up_and_removed_by_down() {
    let machines = if std::env::var_os("HACTL_TEST_LONG").is_some() { MANY } else { MACHINES };
    at_once([Kind::Bind, Kind::Knot], |kind| live(kind, machines));
}

fn live(kind: Kind, machines: usize) {
    let (mut server, program) = (Server::start(kind), Program::new(Nowhere, Simulator::start(World::default())));
    let keys: Vec<String> = (0..machines).map(|number| format!("m{number:03}")).collect();
    let instances: String = keys.iter().map(|key| format!("  {key}: {{}}\n")).collect();
    let file = |dns: &str| {
        let rest = format!(
            "max_instances: {machines}\ndefaults: {{roles: []}}\ninstances:\n{instances}\
             dns: {{server: {}, port: {}, {dns}}}\n",
            server.address, server.port
        );
        program.file(", pool: p", &rest);
    };
    let name = |key: &str| format!("pg-prod-{key}");

    let mut steps = Steps::new();
    steps.step("up, with a wrong key, fails with its code and makes nothing", || {
        let wrong = [
            (format!("zone: {ZONE}, key_name: nokey."), "dns-key-name"),
            (format!("zone: {ZONE}, key_name: {KEY}, key_algorithm: hmac-sha384"), "dns-key-algorithm"),
            (format!("zone: example.org., key_name: {KEY}"), "dns-zone"),
        ];
        let refused = |secret: &str| {
            let mut command = program.command(&["up", "pg"]);
            command.env(SECRET_VARIABLE, secret);
            let started = Instant::now();
            let (code, error) = Running::new(command).end_in_error();
            assert!(code == 1 && started.elapsed() < Duration::from_secs(5), "{code} after {:?}", started.elapsed());
            error["code"].as_str().unwrap().to_owned()
        };
        for (dns, code) in &wrong {
            file(dns);
            assert_eq!(refused(&secret()), *code);
        }
        file(&format!("zone: {ZONE}, key_name: {KEY}"));
        assert_eq!(refused("d3Jvbmc="), "dns-secret");
        assert_eq!(program.recorded.done(), Vec::<String>::new());
    });

    file(&format!("zone: {ZONE}, key_name: {KEY}"));
    let addresses = |server: &Server| -> Vec<IpAddr> {
        keys.iter().filter_map(|key| server.addresses(&name(key))).flatten().collect()
    };

    let (right, first) =
        steps.must("up, with a server that dies meanwhile, fails, and the next up makes all records", || {
            let mut up = Running::new(program.command(&["up", "pg"]));
            up.wait_for("record", |event| {
                event["type"] == "resource" && event["address"].to_string().contains("hactl_dns_record_set")
            });
            server.kill();
            let (code, error) = up.end_in_error();
            assert!(code == 1 && error.to_string().contains("answer"), "{error:#}");
            server.resume();
            let (code, summary) = program.run(&["up", "pg"]);
            assert_eq!((code, &summary["ok"]), (0, &json!(true)), "{summary:#}");
            let right = addresses(&server);
            assert_eq!(right.len(), machines);
            let first = right[0];
            assert_eq!(server.dig(&name("m000"), "A"), [format!("300 IN A {first}")]);
            assert_eq!(program.run(&["up", "pg"]).1["changed"], false);
            (right, first)
        });

    steps.step("up, with records changed by others, restores them", || {
        server.nsupdate(&[
            &format!("update delete pg-prod-m000.{ZONE} A"),
            &format!("update add pg-prod-m000.{ZONE} 60 A 10.9.9.9"),
            &format!("update add pg-prod-m001.{ZONE} 300 A 10.9.9.8"),
            &format!("update delete pg-prod-m002.{ZONE}"),
        ]);
        let (code, summary) = program.run(&["up", "pg"]);
        assert_eq!((code, &summary["changed"]), (0, &json!(true)), "{summary:#}");
        assert_eq!(server.dig(&name("m000"), "A"), [format!("300 IN A {first}")]);
        assert_eq!(addresses(&server), right);
    });

    steps.step("down, with `--yes`, removes every name", || {
        let (code, summary) = program.run(&["down", "pg", "--yes"]);
        assert_eq!((code, &summary["ok"]), (0, &json!(true)), "{summary:#}");
        for key in &keys {
            assert_eq!(server.addresses(&name(key)), Some(Vec::new()), "{key}");
        }
        assert_eq!(server.status(&name("m000")), "NXDOMAIN");
    });
    steps.finish();
}
