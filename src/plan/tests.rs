//! What is decided, case by case.

use super::*;
use crate::{model::InstanceKey, spec};

fn spec(text: &str) -> spec::Spec {
    spec::load("t", text.as_bytes(), "t").unwrap_or_else(|problems| panic!("{}", crate::error::Error::from(problems)))
}

fn plan(text: &str) -> Plan {
    decide(&spec(text), &Choices::default()).unwrap()
}

fn voters(plan: &Plan) -> String {
    plan.voters().map(|node| node.key.to_string()).collect::<Vec<_>>().join(" ")
}

fn codes(plan: &Plan) -> Vec<&str> {
    plan.warnings.iter().map(|warning| warning.code.as_str()).collect()
}

fn choices(voters: &[&str]) -> Choices {
    Choices { voters: voters.iter().map(|key| InstanceKey::new(*key).unwrap()).collect(), ..Choices::default() }
}

#[test]
fn voters_depend_on_the_number_of_data_nodes_and_the_roles() {
    let table: &[(&str, &str, &[&str])] = &[
        ("{}", "", &[]),
        ("{a: {}}", "a", &["single-data-node"]),
        ("{a: {}, b: {}}", "a", &["single-voter"]),
        ("{a: {}, b: {}, c: {}}", "a b c", &[]),
        ("{a: {}, b: {}, c: {}, d: {}}", "a b c", &[]),
        ("{a: {}, b: {}, c: {}, d: {}, e: {}}", "a b c d e", &[]),
        ("{a: {}, b: {}, c: {}, d: {}, e: {}, f: {}}", "a b c d e", &[]),
        ("{a: {}, b: {}, c: {}, d: {}, e: {}}\netcd: {voters: 3}", "a b c", &[]),
        // Plain machines are never picked.
        ("{a: {roles: []}, b: {}}", "b", &["single-data-node"]),
        ("{a: {roles: []}}", "", &[]),
        // Explicit roles are exact; voters are picked among the others.
        ("{a: {roles: [patroni]}, b: {}, c: {}, d: {}}", "b c d", &[]),
        (
            "{a: {roles: [patroni]}, b: {roles: [patroni]}, c: {roles: [patroni]}, w: {roles: [etcd]}}",
            "w",
            &["single-voter"],
        ),
        ("{a: {}, b: {}, w: {roles: [etcd]}}", "w", &["single-voter"]),
        ("{a: {roles: [patroni, etcd]}, b: {roles: [patroni, etcd]}, w: {roles: [etcd]}}", "a b w", &[]),
        ("{a: {roles: [patroni, etcd]}, b: {roles: [patroni, etcd]}}", "a b", &["even-voters"]),
    ];
    for (instances, expected, warnings) in table {
        let plan = plan(&format!("instances: {instances}"));
        assert_eq!(voters(&plan), *expected, "{instances}");
        assert_eq!(codes(&plan), *warnings, "{instances}");
    }
}

#[test]
fn voters_of_the_last_run_are_kept() {
    let table: &[(&str, &[&str], &str)] = &[
        ("{a: {}, b: {}, c: {}, d: {}, e: {}}", &["c", "d", "e"], "c d e"),
        // A voter that is gone is replaced, the others stay.
        ("{a: {}, b: {}, d: {}, e: {}}", &["c", "d", "e"], "a d e"),
        // Growing adds, shrinking takes no vote away.
        ("{a: {}, b: {}, c: {}}", &["c"], "a b c"),
        ("{a: {}, b: {}}", &["a", "b", "c"], "a b"),
        // What `roles` says is stronger than an earlier choice.
        ("{a: {}, b: {}, c: {}, d: {roles: [patroni]}}", &["b", "c", "d"], "a b c"),
    ];
    for (instances, chosen, expected) in table {
        let plan = decide(&spec(&format!("instances: {instances}")), &choices(chosen)).unwrap();
        assert_eq!(voters(&plan), *expected, "{instances} after {chosen:?}");
    }
    let five = "instances: {a: {}, b: {}, c: {}, d: {}, e: {}}";
    let kept = decide(&spec(five), &choices(&["c", "d", "e"])).unwrap();
    assert_eq!(codes(&kept), ["more-voters"]);
    let hint = kept.warnings[0].hint.as_deref().unwrap();
    assert!(hint.starts_with("Set `etcd.voters: 5` in the cluster file: etcd then survives the loss of 2"), "{hint}");
    let asked = decide(&spec(&format!("{five}\netcd: {{voters: 5}}")), &choices(&["c", "d", "e"])).unwrap();
    assert_eq!((voters(&asked).as_str(), codes(&asked).len()), ("a b c d e", 0));
}

#[test]
fn addresses_are_kept_and_a_new_node_gets_the_first_free_address() {
    let first = plan("instances: {a: {}, b: {}, c: {}}");
    assert_eq!(first.choices().address_indexes.values().copied().collect::<Vec<_>>(), [10, 11, 12]);
    let without_b = decide(&spec("instances: {a: {}, c: {}}"), &first.choices()).unwrap();
    assert_eq!(without_b.choices().address_indexes.values().copied().collect::<Vec<_>>(), [10, 12]);
    let with_aa = decide(&spec("instances: {a: {}, aa: {}, c: {}, d: {}}"), &without_b.choices()).unwrap();
    assert_eq!(with_aa.choices().address_indexes.values().copied().collect::<Vec<_>>(), [10, 11, 12, 13]);
}

#[test]
fn drills_come_from_the_file_or_are_the_default() {
    assert_eq!(plan("instances: {a: }").drills, crate::model::DEFAULT_DRILLS);
    assert_eq!(plan("instances: {a: }\nverify: {drills: [all]}").drills, ["all"]);
}

#[test]
fn equal_input_gives_an_equal_plan_that_survives_json() {
    let text = spec::blueprints().find(|(name, _)| *name == "patroni-5node").unwrap().1;
    let first = plan(text);
    assert_eq!(decide(&spec(text), &first.choices()).unwrap(), first);
    let json = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), first);
}

#[test]
fn durability_depends_on_the_nodes_and_maps_to_patroni() {
    let table = [
        ("{a: {}}", Durability::Async, "off", false),
        ("{a: {}, b: {}}", Durability::Quorum, "quorum", false),
        ("{a: {}, b: {}, c: {}}", Durability::QuorumStrict, "quorum", true),
        // A voter without data does not count.
        ("{a: {}, b: {}, w: {roles: [etcd]}}", Durability::Quorum, "quorum", false),
    ];
    for (instances, durability, mode, strict) in table {
        let plan = plan(&format!("instances: {instances}"));
        assert_eq!(plan.patroni.durability, durability, "{instances}");
        assert_eq!(durability.synchronous(), Synchronous { mode, strict }, "{instances}");
    }
    assert_eq!(
        codes(&plan("instances: {a: {}, b: {}}\npatroni: {durability: quorum-strict}")),
        ["single-voter", "strict-two-nodes"]
    );
    assert_eq!(codes(&plan("instances: {a: {}, b: {}, c: {}}\npatroni: {durability: async}")), ["async"]);
}

#[test]
fn parameters_fit_the_smallest_data_node_unless_the_user_sets_them() {
    let wal = |more: &str| {
        let text = format!("instances: {{a: {{disk_gb: 1}}, b: , w: {{roles: [etcd], disk_gb: 1}}}}\n{more}");
        plan(&text).postgres.parameters.get("max_wal_size").cloned()
    };
    assert_eq!(wal("defaults: {disk_gb: 2}"), Some("256MB".into()));
    assert_eq!(wal("postgres: {parameters: {max_wal_size: 1GB}}"), Some("1GB".into()));
    let plan = plan(
        "instances: {a: {memory: 8192}, b: {memory: 2048}, w: {roles: [etcd], memory: 512}}\n\
         postgres: {parameters: {max_connections: 50}}",
    );
    assert_eq!(plan.postgres.parameters["shared_buffers"], "448MB");
    assert_eq!(plan.postgres.parameters["max_connections"], 50);
}

#[test]
fn wal_fits_the_disk_of_the_data_where_the_machines_have_one() {
    let slots = |more: &str| {
        let plan = plan(&format!("platform: proxmox\ninstances: {{a: {{}}, b: {{}}, w: {{roles: [etcd]}}}}\n{more}"));
        let kept = plan.postgres.parameters.get("max_slot_wal_keep_size").cloned();
        (kept, plan.patroni.slots_are_bounded)
    };
    assert_eq!(slots("defaults: {disk_gb: 400}"), (Some("65536MB".into()), true));
    assert_eq!(slots("defaults: {disk_gb: 400, data_disk_gb: 40}"), (Some("10240MB".into()), true));
    assert_eq!(slots("defaults: {data_disk_gb: 40}"), (Some("10240MB".into()), true));
    assert_eq!(slots(""), (None, false));
}

#[test]
fn image_of_local_nodes_without_roles_has_the_packages_of_all_others() {
    let packages = |file: &str| plan(file).postgres.packages;
    assert_eq!(packages("instances: {a: {roles: []}}"), packages("instances: {a: {}}"));
    let elsewhere = "platform: proxmox\ninstances: {a: {address: 10.0.0.21/24, roles: []}}";
    assert!(packages(elsewhere).is_empty());
}

#[test]
fn bounds_are_computed_and_explained_from_the_timers() {
    let seconds = |text: &str| {
        let plan = plan(text);
        plan.bounds.iter().map(|bound| format!("{} {}", bound.fault, bound.seconds)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        seconds("instances: {a: {}, b: {}, c: {}}"),
        "switchover 23, postgres-crash 46, patroni-hang 30, patroni-crash 30, node-loss 33, primary-isolated 33"
    );
    // The worst gaps measured with these timers were 26.4 and, after a race without a winner, 49.0 s.
    let of = |timers: &str| seconds(&format!("instances: {{a: , b: , c: }}\npatroni: {{timers: {timers}}}"));
    assert!(of("{ttl: 20, loop_wait: 5, retry_timeout: 5}").contains("node-loss 35"));
    assert!(of("{ttl: 30, loop_wait: 10, retry_timeout: 10}").contains("node-loss 50"));
    // One voter: no guarantee covers the loss of a machine; one data node: no replica can take over.
    assert_eq!(
        seconds("instances: {a: {}, b: {}}"),
        "switchover 23, postgres-crash 47, patroni-hang 31, patroni-crash 31"
    );
    // The last data node waits for no other under `async`, and forever under `quorum-strict`.
    let two = |more: &str| {
        let data = "{roles: [etcd, patroni]}";
        seconds(&format!("instances: {{a: {data}, b: {data}, c: {{roles: [etcd]}}}}\n{more}"))
    };
    assert!(two("").ends_with("node-loss 34, primary-isolated 34"), "{}", two(""));
    assert!(two("patroni: {durability: async}").ends_with("node-loss 28, primary-isolated 28"));
    // Patroni limits the stop of an asynchronous primary by no timeout.
    assert_eq!(
        seconds("instances: {a: {}, b: {}, c: {}}\npatroni: {durability: async}"),
        "postgres-crash 46, patroni-hang 30, patroni-crash 30, node-loss 33, primary-isolated 33"
    );
    assert_eq!(seconds("instances: {a: {}}"), "postgres-crash 33");
    assert_eq!(seconds("instances: {a: {roles: []}}"), "");
    let plan = plan("instances: {a: {}, b: {}, c: {}}");
    let loss = plan.bounds.iter().find(|bound| bound.fault == "node-loss").unwrap();
    assert_eq!(
        loss.formula,
        "etcd election and lease renewal 3 + ttl 20 + race 2 + (if no candidate wins) loop_wait 3 + race 2 + promote 3"
    );
    assert!(plan.fencing.starts_with("lease guard:") && plan.fencing.ends_with("; no watchdog device"));
}

#[test]
fn every_blueprint_and_example_gives_a_plan() {
    for (name, text) in spec::blueprints() {
        assert_eq!(plan(text).cluster.as_str(), name);
    }
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let dirs = crate::context::Dirs::new(&examples, &Default::default());
    let mut seen = 0;
    for dir in ["local", "inventory"] {
        for entry in std::fs::read_dir(examples.join(dir)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".yaml") {
                let source = spec::resolve(&format!("{dir}/{name}"), &dirs).unwrap();
                decide(&source.load().map_err(crate::error::Error::from).unwrap(), &Choices::default()).unwrap();
                seen += 1;
            }
        }
    }
    assert!(seen >= 4, "{seen}");
}

#[test]
fn proxmox_placement_that_weakens_the_cluster_gives_a_warning() {
    let of = |instances: &str| {
        let plan = plan(&format!("platform: proxmox\ndefaults: {{gateway: 10.0.0.1}}\ninstances: {instances}"));
        plan.warnings.iter().map(|warning| format!("{}: {}", warning.code, warning.message)).collect::<Vec<_>>()
    };
    let apart = |node: &str, address: &str| format!("{{node: {node}, address: {address}}}");
    let three = |a: &str, b: &str, c: &str| format!("{{a: {a}, b: {b}, c: {c}}}");
    let (a, b) = (apart("pve1", "10.0.0.21/24"), apart("pve2", "10.0.0.22/24"));
    assert!(of(&three(&a, &b, &apart("pve3", "10.0.0.23/24"))).is_empty());
    assert!(of(&three(&a, &b, "{node: pve3, reserved: true}")).is_empty());
    assert_eq!(
        of(&three(&a, &apart("pve1", "10.0.0.22/24"), "{node: pve3}")),
        [
            "voters-together: 2 of 3 etcd voters are on the hypervisor pve1 (a, b) and fail together with it",
            "dhcp-voter: etcd voters with addresses from DHCP: c; a voter that comes back with another address is lost \
             to the cluster",
        ]
    );
    // Machines without a vote may be on any hypervisor.
    assert!(of("{a: {roles: []}, b: {roles: []}}").is_empty());
    let plan = plan("platform: proxmox\ninstances: {a: {address: 10.0.0.21/24, roles: []}}");
    assert_eq!(codes(&plan), ["no-gateway"]);
    assert!(plan.postgres.packages.is_empty() && plan.choices().address_indexes.is_empty());
}

#[test]
fn voters_of_a_new_cluster_are_spread_over_the_hypervisors() {
    let of = |nodes: &[(&str, &str)], chosen: &[&str]| {
        let instances: Vec<String> = nodes.iter().map(|(key, node)| format!("{key}: {{node: {node}}}")).collect();
        let text = format!("platform: proxmox\ninstances: {{{}}}", instances.join(", "));
        voters(&decide(&spec(&text), &choices(chosen)).unwrap())
    };
    let four = [("a", "pve1"), ("b", "pve1"), ("c", "pve2"), ("d", "pve3")];
    assert_eq!(of(&four, &[]), "a c d");
    assert_eq!(of(&four, &["a", "b", "c"]), "a b c", "voters that were chosen stay");
    let six = [("a", "pve1"), ("b", "pve1"), ("c", "pve1"), ("d", "pve2"), ("e", "pve2"), ("f", "pve3")];
    assert_eq!(of(&six, &[]), "a b d e f", "five voters, two at most on one hypervisor");
    assert_eq!(of(&[("a", "pve1"), ("b", "pve1"), ("c", "pve1")], &[]), "a b c");
}

#[test]
fn renamed_voter_remains_a_voter() {
    let text = "platform: proxmox\ninstances: {z: {renamed_from: default}, a: {}, b: {}, c: {}}";
    let plan = decide(&spec(text), &choices(&["default"])).unwrap();
    assert_eq!(voters(&plan), "a b z");
}

#[test]
fn thousand_proxmox_machines_need_no_local_addresses() {
    let instances: Vec<String> = (0..1000).map(|n| format!("n{n}: {{roles: []}}")).collect();
    let text = format!("max_instances: 1000\nplatform: proxmox\ninstances: {{{}}}", instances.join(", "));
    assert_eq!(plan(&text).nodes.len(), 1000);
}

#[test]
fn init_file_for_proxmox_gives_a_plan_without_warnings() {
    let text = spec::init_text(&"my-pg".parse().unwrap(), spec::Template::Proxmox);
    assert_eq!(codes(&plan(&text)), [""; 0]);
}

#[test]
fn fencing_names_the_watchdog_device_where_patroni_uses_one() {
    let fencing =
        |instances: &str| plan(&format!("platform: {{proxmox: {{watchdog: true}}}}\ninstances: {instances}")).fencing;
    let device = "a watchdog device resets its machine 5 s before the lease runs out";
    assert_eq!(fencing("{a: {}}"), format!("{device}, when Patroni is dead or hangs"));
    let guarded = fencing("{a: {}, b: {}, c: {}}");
    assert!(guarded.starts_with("lease guard:") && guarded.ends_with(&format!("; {device}")), "{guarded}");
}
