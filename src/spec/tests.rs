//! What loads, and what people read when it does not.

mod backend;
mod backup;
mod connections;
mod endpoint;
mod platforms;
mod slots;
mod yaml_values;

use super::*;
use crate::model::{ClusterName, Durability, SshKeySource};

/// Every problem of `text`, a line each, as the user sees it.
fn wrong(text: &str) -> String {
    match load("c.yaml", text.as_bytes(), "c") {
        Ok(spec) => panic!("loads: {spec:?}"),
        Err(problems) => problems.problems().iter().map(|p| p.to_string() + "\n").collect(),
    }
}

fn good(text: &str) -> Spec {
    load("c.yaml", text.as_bytes(), "c").unwrap_or_else(|problems| panic!("{}", crate::error::Error::from(problems)))
}

const THREE: &str = "instances: {node1: {}, node2: {}, node3: {}}\n";

#[test]
fn every_blueprint_loads() {
    let names: Vec<_> = blueprints().map(|(name, _)| name).collect();
    assert_eq!(names, ["patroni-1node", "patroni-3node", "patroni-5node"]);
    for (name, text) in blueprints() {
        let spec = load(name, text.as_bytes(), "other").unwrap_or_else(|p| panic!("{}", crate::error::Error::from(p)));
        assert_eq!(spec.name.as_str(), name);
    }
}

#[test]
fn cluster_file_page_matches_the_schema() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster-file.md");
    if std::env::var_os("HACTL_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, reference()).unwrap();
    }
    assert_eq!(
        reference(),
        std::fs::read_to_string(&path).unwrap(),
        "HACTL_BLESS=1 cargo test writes {}",
        path.display()
    );
}

/// Any file loads or has problems with positions; the parser never panics.
#[test]
fn damaged_cluster_file_loads_or_has_problems_without_panic() {
    let good = init_text(&ClusterName::new("x").unwrap(), Template::Local);
    let extras = [
        "\t", "{", "}", "[", "]", ":", ": ", "- ", "&a ", "*a", "!!int ", "? ", "\"", "'", "|", "\n", "~", "9",
        "\u{0}", "é", "#", ",",
    ];
    let lines = good.lines().count();
    for (index, (at, _)) in good.char_indices().enumerate() {
        let extra = extras[index % extras.len()];
        for text in [good[..at].to_owned(), format!("{}{extra}{}", &good[..at], &good[at..])] {
            if let Err(problems) = load("f", text.as_bytes(), "x") {
                assert!(!problems.problems().is_empty(), "{text}");
                for problem in problems.problems() {
                    assert!((1..=lines + 3).contains(&problem.line) && problem.column >= 1, "{problem}");
                }
            }
        }
    }
}

#[test]
fn deeply_nested_cluster_file_is_refused() {
    // Deeper still the parser itself has a limit for brackets, and none for dashes.
    for (open, count, close) in [("[", 100, "]"), ("{a: ", 100, "}"), ("- ", 100_000, "")] {
        let text = wrong(&format!("instances: {{}}\nname:\n  {}1{}\n", open.repeat(count), close.repeat(count)));
        assert!(text.contains("nested too deeply"), "{open}: {text}");
    }
    assert!(wrong(&"[".repeat(100_000)).contains("not valid YAML"));
}

#[test]
fn init_files_load_unchanged() {
    let spec = load("x.yaml", init_text(&ClusterName::new("my-pg").unwrap(), Template::Local).as_bytes(), "x").unwrap();
    assert_eq!(spec.name.as_str(), "my-pg");
    assert_eq!(spec.instances.len(), 3);
    let spec =
        load("x.yaml", init_text(&ClusterName::new("my-pg").unwrap(), Template::Adopted).as_bytes(), "x").unwrap();
    assert!(spec.platform.is_adopted() && spec.instances.len() == 3);
    let spec =
        load("x.yaml", init_text(&ClusterName::new("my-pg").unwrap(), Template::Proxmox).as_bytes(), "x").unwrap();
    assert_eq!((spec.platform.as_str(), spec.instances.len()), ("proxmox", 3));
    for (template, platform) in [(Template::Hosts, "hosts"), (Template::Terraform, "terraform")] {
        let spec = good(&init_text(&ClusterName::new("my-pg").unwrap(), template));
        assert_eq!((spec.platform.as_str(), spec.platform.is_adopted(), spec.instances.len()), (platform, false, 3));
    }
}

#[test]
fn every_field_except_instances_has_a_default() {
    let spec = good(THREE);
    assert_eq!(spec.name.as_str(), "c");
    assert_eq!(spec.instances.values().next().unwrap().hostname.as_str(), "c-prod-node1");
    assert_eq!(spec.patroni.durability, Durability::QuorumStrict);
    assert!(spec.disposable);
    assert_eq!(good("instances: {a: , b: }").patroni.durability, Durability::Quorum);
    assert_eq!(good("instances:\n  a:\nplatform:\n  local:\n").patroni.durability, Durability::Async);
    assert!(good("instances: {}").instances.is_empty());
    assert_eq!(good(THREE).postgres.databases.len(), 1);
    assert_eq!(good(THREE).drills, ["switchover", "postgres-crash", "node-loss"]);
    assert_eq!(good(&format!("{THREE}verify: {{drills: [node-loss, slow-network/loss]}}")).drills.len(), 2);
    let limits = good(&format!("{THREE}verify: {{limits: {{switchover: 5s, patroni-crash/dead: 1m 30s}}}}")).limits_ms;
    assert_eq!(limits.into_values().collect::<Vec<_>>(), [90_000, 5_000]);
    let empty = "etcd: {}\npostgres: {}\npatroni: {timers: }\nverify: {drills: }\ndefaults:\nplatform: {}\n";
    assert_eq!(good(&format!("{empty}{THREE}")), good(THREE));
}

#[test]
fn problems_of_a_cluster_file_are_all_reported_with_their_places() {
    let text = "\
name: PG
platfrom: {local: {}}
instances:
  node1: {memroy: 2048}
  node2: {memory: lots, roles: [etc]}
  Node_3: {}
patroni:
  durability: strict
  timers: {ttl: 20, loop_wait: 10, retry_timeout: 10}
postgres:
  access: [192.168.1.7/24]
  version: 13
";
    assert_eq!(
        wrong(text),
        "\
c.yaml:1:7: name: `PG` is not valid: expected 1 to 40 lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen
c.yaml:2:1: platfrom: unknown key (did you mean platform?)
c.yaml:4:11: instances.node1.memroy: unknown key (did you mean memory?)
c.yaml:5:19: instances.node2.memory: expected a whole number, found the text `lots`
c.yaml:5:33: instances.node2.roles[0]: `etc` is not one of etcd, patroni (did you mean etcd?)
c.yaml:6:3: instances.Node_3: `Node_3` is not a valid instance key: 1 to 32 lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen
c.yaml:8:15: patroni.durability: `strict` is not one of quorum-strict, quorum, async (did you mean quorum-strict?)
c.yaml:9:3: patroni.timers: loop_wait 10 + 2 * retry_timeout 10 = 30 is more than ttl 20: a primary would lose its key while it still tries to renew it (did you mean ttl: 30?)
c.yaml:11:12: postgres.access[0]: `192.168.1.7/24` is an address within a network (did you mean 192.168.1.0/24?)
c.yaml:12:12: postgres.version: 13 is too small: expected at least 14
"
    );
}

#[test]
fn assets_directory_is_found_beside_the_file_and_must_be_complete() {
    let dir = tempfile::tempdir().unwrap();
    let place = |text: &str| match super::load::load_from(dir.path(), "c.yaml", text.as_bytes(), "c") {
        Ok(spec) => Ok(spec.assets),
        Err(problems) => Err(problems.problems().iter().map(ToString::to_string).collect::<Vec<_>>()),
    };
    let ours = dir.path().join("ours");
    for tree in crate::assets::TREES {
        crate::assets::Assets::embedded().write(tree, &ours.join(tree)).unwrap();
    }
    assert_eq!(place(THREE), Ok(None));
    assert_eq!(place(&format!("{THREE}assets: ours\n")), Ok(Some(ours.clone())));

    std::fs::remove_file(ours.join("playbooks/node-image.yml")).unwrap();
    std::fs::remove_dir_all(ours.join("roles/etcd")).unwrap();
    let found = place(&format!("{THREE}assets: ours\netcd: {{version: \"3.4\"}}\n")).unwrap_err();
    assert_eq!(found.len(), 3, "{found:?}");
    for (text, file) in found.iter().zip(["ours/playbooks/node-image.yml", "ours/roles/etcd/tasks/main.yml"]) {
        assert!(text.starts_with("c.yaml:2:9: assets: /") && text.contains(file), "{text}");
    }
}

#[test]
fn broken_rule_is_reported_with_the_expected_value() {
    let table: &[(&str, &str)] = &[
        ("", "c.yaml:1:1: the file is empty: it needs at least `instances`\n"),
        ("# only a comment\n", "c.yaml:1:1: the file is empty: it needs at least `instances`\n"),
        ("- a\n", "c.yaml:1:1: a cluster file is a map of `key: value` lines, with at least `instances`\n"),
        (
            "name: a\n",
            "c.yaml:1:1: `instances` is missing, for example `instances: {node1: {}, node2: {}, node3: {}}`\n",
        ),
        ("instances:\n\tnode1: {}\n", "c.yaml:2:1: a tab in the indentation: YAML allows only spaces\n"),
        ("instances: {a: {}}\ninstances: {b: {}}\n", "c.yaml:2:1: instances: `instances` is given twice\n"),
        ("instances: {a: {}}\n---\nname: x\n", "c.yaml:3:1: a second document: a cluster file is one YAML document\n"),
        (
            "instances: {a: {roles: [patroni]}}\n",
            "c.yaml:1:1: instances: every instance sets `roles`, and none of them has the role etcd: Patroni needs at \
             least one voter\n",
        ),
        (
            "instances: {a: {vm_name: x}, b: {vm_name: x}}\n",
            "c.yaml:1:43: instances.b.vm_name: host name `x` is also the host name of instance a\n",
        ),
        (
            "instances: {all: {}}\n",
            "c.yaml:1:13: instances.all: `all` is a reserved name of the Ansible inventory: choose another key\n",
        ),
        (
            "instances: {a: {memory: 100}}\n",
            "c.yaml:1:25: instances.a.memory: 100 is too small: expected at least 512\n",
        ),
        (
            "instances: {a: {memory: \"2048\"}}\n",
            "c.yaml:1:25: instances.a.memory: expected a whole number, found the text `2048` (did you mean 2048 without quotes?)\n",
        ),
        (
            "max_instances: 1\ninstances: {a: {}, b: {}}\n",
            "c.yaml:2:1: instances: 2 instances are more than max_instances, which is 1; raise max_instances if you \
             need them\n",
        ),
        ("instances: [a, b]\n", "c.yaml:1:1: instances: expected a section (`key: value` lines), found a list\n"),
    ];
    for (text, expected) in table {
        assert_eq!(wrong(text), *expected, "{text}");
    }
}

#[test]
fn invalid_field_is_reported_with_the_expected_value() {
    let table: &[(&str, &str)] = &[
        (
            "platform: {terraform: {pass: [instance, cluster]}}",
            "1:12: platform.terraform: `dir` is missing\n\
             1:31: platform.terraform.pass[0]: `instance` is not one of authorized_keys, cluster, cluster_uuid, instances, record \
             (did you mean instances?)\n",
        ),
        (
            "platform: host",
            "1:11: platform: `host` is not one of local, proxmox, hosts, terraform (did you mean hosts?)\n",
        ),
        ("platform: [hosts]", "1:1: platform: expected a section (`key: value` lines) or text, found a list\n"),
        ("adopted: true", "1:10: adopted: needs `platform: hosts`: an adopted cluster runs on existing machines\n"),
        (
            "platform: {local: {subnet: 10.1.0.1/24}}",
            "1:28: platform.local.subnet: `10.1.0.1/24` is an address within a network (did you mean 10.1.0.0/24?)\n",
        ),
        (
            "platform: {local: {subnet: 10.1.0.0/29}}",
            "1:28: platform.local.subnet: 10.1.0.0/29 is too small for 3 machines, which get addresses from the tenth up; \
             use a /24\n",
        ),
        (
            "platform: {local: {subnet: 127.0.0.0/24}}",
            "1:28: platform.local.subnet: 127.0.0.0/24 cannot be the network of machines; choose a network within \
             10.0.0.0/8\n",
        ),
        (
            "dns: {zone: home..io, server: \"10.0.0.1:5353\", key_name: ddnskey, key_algorithm: hmac-md5, ttl: 0}",
            "1:13: dns.zone: `home..io` is not valid: expected a domain name, for example home.sflab.io.: labels of at most 63 letters, digits, hyphens and underscores\n\
             1:31: dns.server: `10.0.0.1:5353` is not valid: expected an IP address or a host name, for example 192.168.1.13; a port other than 53 goes into `port` (did you mean server: 10.0.0.1, port: 5353?)\n\
             1:82: dns.key_algorithm: `hmac-md5` is not one of hmac-sha256, hmac-sha384, hmac-sha512\n\
             1:97: dns.ttl: 0 is too small: expected at least 1\n",
        ),
        ("dns: {zone: a.io}", "1:1: dns: `key_name` is missing\n1:1: dns: `server` is missing\n"),
        ("secrets: {superusr: {command: [a]}}", "1:11: secrets.superusr: unknown key (did you mean superuser?)\n"),
        (
            "secrets: {owners: {ap: {command: [a]}}}",
            "1:20: secrets.owners.ap: `ap` owns no database of this file (did you mean app?)\n",
        ),
        (
            "secrets: {rewind: {command: [\"\"]}}",
            "1:20: secrets.rewind.command: the first word, which is the program, is empty\n",
        ),
        (
            "verify: {drills: [swichover, soak, patroni-crash/dead]}",
            "1:19: verify.drills[0]: `swichover` is not one of @DRILLS@ (did you mean switchover?)\n\
             1:30: verify.drills[1]: `soak` is not one of @DRILLS@\n",
        ),
        (
            "verify: {drills: []}",
            "1:10: verify.drills: the list is empty: name a drill, or remove the field to run the default drills\n",
        ),
        (
            "verify: {limits: {swichover: 5s, node-loss: soon, postgres-crash: 0s}}",
            "1:30: verify.limits.swichover: no drill is called `swichover`: `hactl verify --list` shows them (did you mean switchover?)\n\
             1:45: verify.limits.node-loss: `soon` is not a duration above zero, such as `5s` or `1m 30s`\n\
             1:67: verify.limits.postgres-crash: `0s` is not a duration above zero, such as `5s` or `1m 30s`\n",
        ),
        ("verify: {drills: [all, all]}", "1:24: verify.drills[1]: `all` is given twice\n"),
        ("verify: {drill: [all]}", "1:10: verify.drill: unknown key (did you mean drills?)\n"),
        ("assets: none", "1:9: assets: none does not exist; run `hactl eject DIR` to create such a directory\n"),
        (
            "etcd: {version: 3.10}",
            "1:17: etcd.version: YAML reads 3.10 as the number 3.1 (did you mean \"3.10\" in quotes?)\n",
        ),
        ("etcd: {version: \"3.4\"}", "1:17: etcd.version: etcd 3.4 is not supported: expected 3.5 or 3.6\n"),
        (
            "patroni: {version: \"3.2.2\"}",
            "1:20: patroni.version: `3.2.2` is not valid: expected a full version of Patroni 4, for example 4.1.4; older ones have no quorum commit\n",
        ),
        (
            "patroni: {version: \"4.01.4\"}",
            "1:20: patroni.version: `4.01.4` is not valid: expected a full version of Patroni 4, for example 4.1.4; older ones have no quorum commit\n",
        ),
        (
            "patroni: {version: 4.0.6}\npostgres: {version: 18}",
            "1:20: patroni.version: Patroni 4.0.6 does not support PostgreSQL 18: 4.0.7 is the oldest version that \
             does (did you mean 4.1.5?)\n",
        ),
        (
            "etcd: {mirror: \"https://me:pw@example.org/etcd\"}",
            "1:16: etcd.mirror: `https://me:pw@example.org/etcd` is not valid: expected an http:// or https:// address without user, password and query\n",
        ),
        (
            "etcd: {mirror: \"http://a/etcd\", archive: a.tar.gz}",
            "1:16: etcd.mirror: not allowed together with `archive`: etcd comes from one of them\n1:42: etcd.archive: \
             needs `sha256`: hactl accepts an archive only with its checksum\n",
        ),
        ("patroni: {timers: {ttl: 10}}", "1:25: patroni.timers.ttl: 10 is too small: expected at least 20\n"),
        ("patroni: 5", "1:10: patroni: expected a section (`key: value` lines), found the number 5\n"),
        (
            "postgres: {databases: {postgres: {}}}",
            "1:24: postgres.databases.postgres: database `postgres` is reserved for PostgreSQL or hactl: choose another \
             name\n1:24: postgres.databases.postgres.owner: role `postgres` is reserved for PostgreSQL or hactl: choose \
             another role for the application\n",
        ),
        (
            "postgres: {databases: {app: {owner: hactl_verify}, hactl_verify: {owner: app}}}",
            "1:37: postgres.databases.app.owner: role `hactl_verify` is reserved for PostgreSQL or hactl: choose another \
             role for the application\n1:52: postgres.databases.hactl_verify: database `hactl_verify` is reserved for \
             PostgreSQL or hactl: choose another name\n",
        ),
        (
            "postgres: {databases: {app: {owner: App}}}",
            "1:37: postgres.databases.app.owner: `App` is not valid: expected 1 to 63 lower-case letters, digits and underscores, starting with a letter, not starting with pg_\n",
        ),
        (
            "postgres: {version: 14, databases: {app: {icu_locale: de-DE}}}",
            "1:55: postgres.databases.app.icu_locale: PostgreSQL 14 has no ICU locales of databases: 15 is the oldest version \
             that does\n",
        ),
        (
            "postgres: {locale: german, databases: {app: {icu_locale: de_DE.UTF-8}}}",
            "1:20: postgres.locale: `german` is not valid: expected `C`, `C.UTF-8` or a locale with UTF-8, such as de_DE.UTF-8\n\
             1:58: postgres.databases.app.icu_locale: `de_DE.UTF-8` is not valid: expected a language tag, such as de-DE or \
             en-US-u-kn-true\n",
        ),
        (
            "postgres: {access: [10.0.0.1]}",
            "1:21: postgres.access[0]: `10.0.0.1` is not a network in CIDR notation, such as 192.168.1.0/24 (did you mean 10.0.0.1/32?)\n",
        ),
        (
            "postgres: {parameters: {port: 1}}",
            "1:31: postgres.parameters.port: cannot be set in the cluster file: hactl keeps it at 5432\n",
        ),
        (
            "postgres: {parameters: {synchronous_commit: off}}",
            "1:45: postgres.parameters.synchronous_commit: this value would acknowledge commits that only the primary \
             has: to allow that, set `patroni.durability: async`\n",
        ),
        (
            "postgres: {parameters: {work_mem: [1]}}",
            "1:25: postgres.parameters.work_mem: expected true or false or a number or text, found a list\n",
        ),
        ("defaults: {disk_gb: 0}", "1:21: defaults.disk_gb: 0 is too small: expected at least 1\n"),
        ("defaults: {cores: 0}", "1:19: defaults.cores: 0 is too small: expected at least 1\n"),
        ("disposable: maybe", "1:13: disposable: expected true or false, found the text `maybe`\n"),
        ("firewall: On", "1:11: firewall: expected true or false, found the text `On` (did you mean true?)\n"),
        ("disposable: 'no'", "1:13: disposable: expected true or false, found the text `no` (did you mean false?)\n"),
        (
            "verify: {limits: {switchover: 5, node-loss: '30'}}",
            "1:31: verify.limits.switchover: expected text (a duration above zero, such as `5s` or `1m 30s`), found the number 5\n\
             1:45: verify.limits.node-loss: `30` is not valid: expected a duration above zero, such as `5s` or `1m 30s`\n",
        ),
        ("env: *x", "1:6: not valid YAML: while parsing node, found unknown anchor\n"),
    ];
    for (field, expected) in table {
        let got = wrong(&format!("{field}\n{THREE}")).replace("c.yaml:", "");
        let expected = expected.replace("@DRILLS@", &crate::model::DRILL_NAMES.join(", "));
        assert_eq!(got, expected, "{field}");
    }
}

#[test]
fn quorum_durability_without_a_second_data_node_is_refused() {
    for durability in ["quorum", "quorum-strict"] {
        let text = wrong(&format!("instances: {{a: {{}}}}\npatroni: {{durability: {durability}}}\n"));
        assert!(text.contains("needs a commit on two nodes") && text.contains("did you mean async?"), "{text}");
        good(&format!("instances: {{a: {{}}, b: {{}}}}\npatroni: {{durability: {durability}}}\n"));
    }
}

#[test]
fn dns_requires_zone_server_and_key_and_defaults_the_rest() {
    let dns =
        good(&format!("dns: {{zone: Home.sflab.io, server: 192.168.1.13, key_name: ddnskey}}\n{THREE}")).dns.unwrap();
    assert_eq!((dns.zone.as_str(), dns.key_name.as_str()), ("home.sflab.io.", "ddnskey."));
    assert_eq!((dns.port, dns.ttl, dns.key_algorithm.as_str()), (53, 300, "hmac-sha256"));
    assert_eq!(good(&format!("dns:\n{THREE}")).dns, None);
    let zone = ["a"; 125].join(".");
    let text = wrong(&format!("dns: {{zone: {zone}, server: ns1, key_name: k}}\n{THREE}"));
    assert!(text.contains("longer than the 253 characters"), "{text}");
}

#[test]
fn etcd_version_given_as_a_number_is_accepted() {
    assert_eq!(good(&format!("etcd: {{version: 3.5}}\n{THREE}")).etcd.minor, 5);
    assert_eq!(good(&format!("etcd: {{version: 3.5.11}}\n{THREE}")).etcd.patch, 11);
}

#[test]
fn cluster_file_that_is_not_utf8_or_too_large_is_refused() {
    let problems = load("c.yaml", b"name: a\nx: \xff", "c").unwrap_err();
    assert_eq!(problems.problems()[0].to_string(), "c.yaml:2:4: not UTF-8 text");
    let problems = load("c.yaml", &vec![b' '; 5 * 1024 * 1024], "c").unwrap_err();
    assert_eq!(problems.problems()[0].to_string(), "c.yaml:1:1: the file has 5 MiB: a cluster file has at most 4 MiB");
}

#[test]
fn cluster_name_is_searched_in_order() {
    let work = tempfile::tempdir().unwrap();
    let dirs = crate::context::Dirs::new(work.path(), &Default::default());
    let origin = |word: &str| resolve(word, &dirs).map(|source| source.origin);
    assert_eq!(origin("patroni-3node").unwrap(), Origin::Blueprint("patroni-3node".into()));
    let error = origin("patroni-3nodes").unwrap_err().to_string();
    assert!(error.contains("did you mean patroni-3node?"), "{error}");
    assert!(origin("no/such.yaml").unwrap_err().to_string().contains("hactl init"));

    // A recorded cluster has its own file; a file in the working directory comes before it.
    let elsewhere = work.path().join("elsewhere/pg.yaml");
    std::fs::create_dir(elsewhere.parent().unwrap()).unwrap();
    std::fs::write(&elsewhere, THREE).unwrap();
    let record = Record { source: Some(elsewhere.clone()), ..Record::default() };
    record.write(&dirs.cluster(&ClusterName::new("pg").unwrap()).record()).unwrap();
    let canonical = |path: &std::path::Path| Origin::File(path.canonicalize().unwrap());
    assert_eq!(origin("pg").unwrap(), canonical(&elsewhere));
    let here = work.path().join("pg.yaml");
    std::fs::write(&here, THREE).unwrap();
    assert_eq!(origin("pg").unwrap(), canonical(&here));
    assert_eq!(resolve("./pg.yaml", &dirs).unwrap().load().unwrap().name.as_str(), "pg");

    std::fs::write(work.path().join("other.yml"), THREE).unwrap();
    let hint = resolve("other", &dirs).unwrap_err().hint.unwrap();
    assert_eq!(hint, "Rename other.yml to other.yaml, or give its path: `other.yml`");
    assert_eq!(resolve("other.yml", &dirs).unwrap().load().unwrap().name.as_str(), "other");
}

#[test]
fn schema_describes_every_field() {
    fn look(value: &Value, path: &str, bare: &mut Vec<String>) {
        let Some(map) = value.as_object() else { return };
        for (name, field) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if field.get("description").is_none() {
                bare.push(format!("{path}.{name}"));
            }
        }
        map.iter().for_each(|(key, value)| look(value, &format!("{path}/{key}"), bare));
    }
    let mut bare = Vec::new();
    look(&schema(), "", &mut bare);
    assert!(bare.is_empty(), "{bare:?}");
}
