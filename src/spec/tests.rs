//! What loads, and what people read when it does not.

use super::*;
use crate::model::{ClusterName, SshKeySource};

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
fn the_reference_page_is_what_the_schema_says() {
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

/// Whatever stands in a file, it loads or it has problems with places; nothing panics.
#[test]
fn no_text_breaks_the_loader() {
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
fn depth_is_limited() {
    // Deeper still the parser itself has a limit for brackets, and none for dashes.
    for (open, count, close) in [("[", 100, "]"), ("{a: ", 100, "}"), ("- ", 100_000, "")] {
        let text = wrong(&format!("instances: {{}}\nname:\n  {}1{}\n", open.repeat(count), close.repeat(count)));
        assert!(text.contains("nested too deeply"), "{open}: {text}");
    }
    assert!(wrong(&"[".repeat(100_000)).contains("not valid YAML"));
}

#[test]
fn what_init_writes_loads_as_it_is() {
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
fn all_but_instances_has_a_default() {
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
    let empty = "etcd: {}\npostgres: {}\npatroni: {timers: }\nverify: {drills: }\ndefaults:\nplatform: {}\n";
    assert_eq!(good(&format!("{empty}{THREE}")), good(THREE));
}

#[test]
fn all_problems_come_at_once_with_their_places() {
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
fn changed_assets_lie_beside_the_file_and_are_whole() {
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
fn each_rule_says_what_it_wants() {
    let table: &[(&str, &str)] = &[
        ("", "c.yaml:1:1: the file is empty: it needs at least `instances`\n"),
        ("# only a comment\n", "c.yaml:1:1: the file is empty: it needs at least `instances`\n"),
        ("- a\n", "c.yaml:1:1: a cluster file is a map of `key: value` lines, with at least `instances`\n"),
        (
            "name: a\n",
            "c.yaml:1:1: `instances` is missing, for example `instances: {node1: {}, node2: {}, node3: {}}`\n",
        ),
        ("instances:\n\tnode1: {}\n", "c.yaml:2:1: a tab in the indentation: YAML takes spaces only\n"),
        ("instances: {a: {}}\ninstances: {b: {}}\n", "c.yaml:2:1: instances: `instances` is given twice\n"),
        ("instances: {a: {}}\n---\nname: x\n", "c.yaml:3:1: a second document: a cluster file is one YAML document\n"),
        (
            "instances: {a: {roles: [patroni]}}\n",
            "c.yaml:1:1: instances: every instance has `roles`, and none has etcd: Patroni needs at least one voter\n",
        ),
        (
            "instances: {a: {vm_name: x}, b: {vm_name: x}}\n",
            "c.yaml:1:43: instances.b.vm_name: host name `x` is also that of instance a\n",
        ),
        (
            "instances: {all: {}}\n",
            "c.yaml:1:13: instances.all: `all` is a word of the inventory: an instance cannot have it\n",
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
            "c.yaml:2:1: instances: 2 instances: more than max_instances, which is 1; raise it if that is meant\n",
        ),
        ("instances: [a, b]\n", "c.yaml:1:1: instances: expected a section (`key: value` lines), found a list\n"),
    ];
    for (text, expected) in table {
        assert_eq!(wrong(text), *expected, "{text}");
    }
}

#[test]
fn each_field_says_what_it_wants() {
    let table: &[(&str, &str)] = &[
        (
            "platform: {terraform: {pass: [instance, cluster]}}",
            "1:12: platform.terraform: `dir` is missing\n\
             1:31: platform.terraform.pass[0]: `instance` is not one of authorized_keys, cluster, cluster_uuid, instances \
             (did you mean instances?)\n",
        ),
        (
            "platform: host",
            "1:11: platform: `host` is not one of local, proxmox, hosts, terraform (did you mean hosts?)\n",
        ),
        ("platform: [hosts]", "1:1: platform: expected a section (`key: value` lines), found a list\n"),
        ("adopted: true", "1:10: adopted: needs `platform: hosts`: an adopted cluster runs on machines that exist\n"),
        (
            "platform: {local: {subnet: 10.1.0.1/24}}",
            "1:28: platform.local.subnet: `10.1.0.1/24` is an address within a network (did you mean 10.1.0.0/24?)\n",
        ),
        (
            "platform: {local: {subnet: 10.1.0.0/29}}",
            "1:28: platform.local.subnet: 10.1.0.0/29 does not fit: nodes get addresses from the tenth up, 3 of them; take a /24\n",
        ),
        (
            "platform: {local: {subnet: 127.0.0.0/24}}",
            "1:28: platform.local.subnet: 127.0.0.0/24 cannot be the network of machines; take one of 10.0.0.0/8\n",
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
            "1:20: secrets.rewind.command: the first word is the program, and it is empty\n",
        ),
        (
            "verify: {drills: [swichover, soak, patroni-crash/dead]}",
            "1:19: verify.drills[0]: `swichover` is not one of @DRILLS@ (did you mean switchover?)\n\
             1:30: verify.drills[1]: `soak` is not one of @DRILLS@\n",
        ),
        (
            "verify: {drills: []}",
            "1:10: verify.drills: an empty list proves nothing; without the field the default ones are run\n",
        ),
        ("verify: {drills: [all, all]}", "1:24: verify.drills[1]: `all` is given twice\n"),
        ("verify: {drill: [all]}", "1:10: verify.drill: unknown key (did you mean drills?)\n"),
        ("assets: none", "1:9: assets: none does not exist; `hactl eject DIR` makes such a directory\n"),
        (
            "etcd: {version: 3.10}",
            "1:17: etcd.version: 3.10 is a number to YAML, and the same as 3.1 (did you mean \"3.10\" in quotes?)\n",
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
            "1:20: patroni.version: Patroni 4.0.6 does not know PostgreSQL 18: 4.0.7 is the oldest that does (did you mean 4.1.5?)\n",
        ),
        (
            "etcd: {mirror: \"https://me:pw@example.org/etcd\"}",
            "1:16: etcd.mirror: `https://me:pw@example.org/etcd` is not valid: expected an http:// or https:// address without user, password and query\n",
        ),
        (
            "etcd: {mirror: \"http://a/etcd\", archive: a.tar.gz}",
            "1:16: etcd.mirror: not together with `archive`: etcd comes from one of them\n1:42: etcd.archive: needs `sha256`: an archive is taken only when its sum is known\n",
        ),
        ("patroni: {timers: {ttl: 10}}", "1:25: patroni.timers.ttl: 10 is too small: expected at least 20\n"),
        ("patroni: 5", "1:10: patroni: expected a section (`key: value` lines), found the number 5\n"),
        (
            "postgres: {databases: {postgres: {}}}",
            "1:24: postgres.databases.postgres: database `postgres` is there already\n1:24: postgres.databases.postgres.owner: `postgres` is a role of PostgreSQL or hactl: an application gets one of its own\n",
        ),
        (
            "postgres: {databases: {app: {owner: App}}}",
            "1:37: postgres.databases.app.owner: `App` is not valid: expected 1 to 63 lower-case letters, digits and underscores, starting with a letter, not starting with pg_\n",
        ),
        (
            "postgres: {access: [10.0.0.1]}",
            "1:21: postgres.access[0]: `10.0.0.1` is not a network in CIDR notation, such as 192.168.1.0/24 (did you mean 10.0.0.1/32?)\n",
        ),
        (
            "postgres: {parameters: {port: 1}}",
            "1:31: postgres.parameters.port: not for the cluster file: hactl keeps it at 5432\n",
        ),
        (
            "postgres: {parameters: {synchronous_commit: off}}",
            "1:45: postgres.parameters.synchronous_commit: it would acknowledge commits that only the primary has: `patroni.durability: async` says that openly\n",
        ),
        (
            "postgres: {parameters: {work_mem: [1]}}",
            "1:25: postgres.parameters.work_mem: expected true or false or a number or text, found a list\n",
        ),
        ("defaults: {disk_gb: 0}", "1:21: defaults.disk_gb: 0 is too small: expected at least 1\n"),
        ("defaults: {cores: 0}", "1:19: defaults.cores: 0 is too small: expected at least 1\n"),
        ("disposable: maybe", "1:13: disposable: expected true or false, found the text `maybe`\n"),
        ("env: *x", "1:6: not valid YAML: while parsing node, found unknown anchor\n"),
    ];
    for (field, expected) in table {
        let got = wrong(&format!("{field}\n{THREE}")).replace("c.yaml:", "");
        let expected = expected.replace("@DRILLS@", &crate::model::DRILL_NAMES.join(", "));
        assert_eq!(got, expected, "{field}");
    }
}

#[test]
fn durability_needs_the_nodes_that_it_counts_on() {
    for durability in ["quorum", "quorum-strict"] {
        let text = wrong(&format!("instances: {{a: {{}}}}\npatroni: {{durability: {durability}}}\n"));
        assert!(text.contains("needs a commit on two nodes") && text.contains("did you mean async?"), "{text}");
        good(&format!("instances: {{a: {{}}, b: {{}}}}\npatroni: {{durability: {durability}}}\n"));
    }
}

#[test]
fn dns_needs_zone_server_and_key_and_the_rest_has_defaults() {
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
fn numbers_do_for_versions_where_nothing_is_lost() {
    assert_eq!(good(&format!("etcd: {{version: 3.5}}\n{THREE}")).etcd.minor, 5);
    assert_eq!(good(&format!("etcd: {{version: 3.5.11}}\n{THREE}")).etcd.patch, 11);
}

#[test]
fn bytes_that_are_no_text_are_pointed_at() {
    let problems = load("c.yaml", b"name: a\nx: \xff", "c").unwrap_err();
    assert_eq!(problems.problems()[0].to_string(), "c.yaml:2:4: not UTF-8 text");
    let problems = load("c.yaml", &vec![b' '; 5 * 1024 * 1024], "c").unwrap_err();
    assert_eq!(problems.problems()[0].to_string(), "c.yaml:1:1: 5 MiB: a cluster file has at most 4 MiB");
}

#[test]
fn a_name_is_searched_in_order() {
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
}

#[test]
fn the_schema_describes_every_field() {
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

#[test]
fn an_adopted_cluster_needs_addresses_and_nothing_else() {
    let text = "adopted: true\nplatform: hosts\ninstances:\n  pg1: {address: 10.0.0.1}\n  \
                pg2: {address: pg2.example.org, ssh_host: nat.example.org, ssh_port: 2202}\n";
    let spec = load("c.yaml", text.as_bytes(), "c").unwrap();
    assert!(spec.platform.is_adopted() && !spec.disposable);
    let crate::model::Platform::Adopted(hosts) = &spec.platform else { panic!("{:?}", spec.platform) };
    let places: Vec<String> =
        hosts.machines.values().map(|host| format!("{}@{}:{}", host.user, host.host, host.port)).collect();
    assert_eq!(places, ["root@10.0.0.1:22", "root@nat.example.org:2202"]);
    assert_eq!(spec.drills, ["switchover", "postgres-crash", "primary-isolated"]);
    let text = "adopted: true\nplatform: {hosts: {ssh: {user: admin, port: 2222, key: keys/id}, superuser: dba}}\n\
                instances: {pg1: {address: 10.0.0.1}}\nsecrets: {superuser: {command: [pass, pg]}}\n";
    let spec = load("c.yaml", text.as_bytes(), "c").unwrap();
    let crate::model::Platform::Adopted(hosts) = &spec.platform else { panic!("{:?}", spec.platform) };
    let host = hosts.machines.values().next().unwrap();
    assert_eq!((host.user.as_str(), host.port, hosts.superuser.as_deref()), ("admin", 2222, Some("dba")));
    let SshKeySource::File(key) = &hosts.ssh_key else { panic!("{:?}", hosts.ssh_key) };
    assert!(key.ends_with("keys/id"));
}

#[test]
fn hosts_are_addresses_and_how_they_are_reached() {
    let spec = good("platform: hosts\ninstances: {a: {address: 10.0.0.1}}\n");
    let Platform::Hosts(hosts) = &spec.platform else { panic!("{:?}", spec.platform) };
    assert_eq!((hosts.ssh.user.as_str(), &hosts.ssh.key), ("root", &SshKeySource::User));
    assert_eq!((spec.platform.release().unwrap().to_string(), spec.disposable), ("debian:12".to_owned(), false));
    assert_eq!(spec.drills, crate::model::DEFAULT_DRILLS_BY_SSH);

    let spec = good(
        "platform: {hosts: {release: 'ubuntu:24.04', ssh: {user: ops, port: 2222, key: agent, bastion: me@b}}}\n\
         disposable: true\ndefaults: {memory: 4096}\n\
         instances: {a: {address: 10.0.0.1}, b: {address: 10.0.0.2, ssh_host: nat, ssh_port: 2202, roles: [etcd]}}\n",
    );
    let Platform::Hosts(hosts) = &spec.platform else { panic!("{:?}", spec.platform) };
    assert_eq!((hosts.ssh.port, &hosts.ssh.key), (2222, &SshKeySource::Agent));
    assert_eq!(hosts.ssh.bastion.as_ref().unwrap().to_string(), "me@b:22");
    let b = &hosts.machines[&InstanceKey::new("b").unwrap()];
    assert_eq!(
        (b.address.to_string(), b.ssh_host.as_deref(), b.ssh_port),
        ("10.0.0.2".into(), Some("nat"), Some(2202))
    );
    assert!(spec.disposable && spec.instances.values().all(|instance| instance.memory_mib == 4096));
}

#[test]
fn a_module_of_ones_own_is_a_directory_and_what_it_is_given() {
    let module = |text: &str| {
        let spec = good(&format!("platform: {{terraform: {{{text}}}}}\n{THREE}"));
        let Platform::Terraform(module) = spec.platform else { panic!("{:?}", spec.platform) };
        module
    };
    let least = module("dir: infra");
    assert!(least.dir.ends_with("infra") && least.destroy && least.pass.is_empty() && least.workspace.is_none());
    assert_eq!(least.ssh.key, SshKeySource::User);
    let passed =
        module("dir: ~/infra, pass: [authorized_keys], destroy: false, var_files: [a.tfvars], workspace: prod");
    assert_eq!(
        (passed.dir.to_str(), passed.destroy, passed.workspace.as_deref()),
        (Some("~/infra"), false, Some("prod"))
    );
    // Machines that are made with hactl's key are opened by it.
    assert_eq!(passed.ssh.key, SshKeySource::Vault);
    assert_eq!(module("dir: x, pass: [authorized_keys], ssh: {key: k}").ssh.key, SshKeySource::File("k".into()));
}

#[test]
fn what_hosts_cannot_be_is_said_at_once() {
    let table: &[(&str, &str)] = &[
        (
            "platform: {hosts: {unit: p, superuser: dba, release: 'debian:11', ssh: {bastion: 'a@b:0'}}}\n\
             instances: {a: {}, b: {address: 127.0.0.1}, c: {address: db.example.org}, d: {address: 10.0.0.4/24},\n  \
             e: {address: 10.0.0.5, disk_gb: 20, vlan: 3}, f: {address: 10.0.0.5, ssh_port: 2202}}\n",
            "c.yaml:1:26: platform.hosts.unit: only with `adopted: true`: of a cluster that hactl makes it is known\n\
             c.yaml:1:40: platform.hosts.superuser: only with `adopted: true`: of a cluster that hactl makes it is known\n\
             c.yaml:1:54: platform.hosts.release: `debian:11` is no release that hactl knows packages for: expected one of \
             debian:12, debian:13, ubuntu:22.04, ubuntu:24.04\n\
             c.yaml:1:82: platform.hosts.ssh.bastion: `a@b:0` is no bastion: expected USER@HOST or USER@HOST:PORT, such as \
             me@bastion:22\n\
             c.yaml:2:13: instances.a: needs an `address`, for example `{address: 192.168.1.21}`\n\
             c.yaml:2:33: instances.b.address: 127.0.0.1 cannot be the address of a machine that others reach\n\
             c.yaml:2:58: instances.c.address: `db.example.org` is no IPv4 address, by which members of the cluster reach \
             each other; a name by which SSH answers is `ssh_host`\n\
             c.yaml:2:88: instances.d.address: `10.0.0.4/24`: on platform hosts an address has no prefix (did you mean \
             10.0.0.4?)\n\
             c.yaml:3:35: instances.e.disk_gb: not on platform hosts: PGDATA lies on the disk that the machine has\n\
             c.yaml:3:45: instances.e.vlan: only on platform proxmox\n\
             c.yaml:3:62: instances.f.address: 10.0.0.5 is also the address of e\n",
        ),
        (
            "adopted: true\nplatform: {hosts: {release: 'debian:12', ssh: {bastion: me@b}}}\ninstances: {a: {address: a.b}}\n",
            "c.yaml:2:29: platform.hosts.release: not of an adopted cluster: hactl installs nothing there\n\
             c.yaml:2:57: platform.hosts.ssh.bastion: an adopted cluster is not reached by way of a bastion yet\n",
        ),
        (
            "platform: {terraform: {dir: infra, workspace: 'a b', ssh: {bastion: b}}}\n\
             dns: {zone: a.b, server: 10.0.0.9, key_name: k}\n\
             instances: {a: {address: 10.0.0.1, ssh_port: 22, disk_gb: 1, tags: [x]}}\n",
            "c.yaml:1:47: platform.terraform.workspace: `a b` is not valid: expected a workspace's name: letters, digits and \
             - . _ ~\n\
             c.yaml:1:69: platform.terraform.ssh.bastion: `b` is not valid: expected USER@HOST or USER@HOST:PORT\n\
             c.yaml:2:1: dns: not on platform terraform: records belong into the module that makes the machines; hactl's \
             resource hactl_dns_record_set is there for it\n\
             c.yaml:3:26: instances.a.address: not on platform terraform: the module's output `vms` tells it\n\
             c.yaml:3:46: instances.a.ssh_port: not on platform terraform: the module's output `vms` tells it\n\
             c.yaml:3:59: instances.a.disk_gb: not on platform terraform: the module makes the machine with its disks\n\
             c.yaml:3:62: instances.a.tags: only on platform proxmox\n",
        ),
        (
            "adopted: true\nplatform: hosts\ninstances: {a: {}, b: {address: 10.0.0.1}, c: {address: 10.0.0.1}}\n",
            "c.yaml:3:13: instances.a: needs an `address`, for example `{address: 192.168.1.21}`\n\
             c.yaml:3:44: instances.c: the same machine as b: 10.0.0.1, port 22\n",
        ),
        (
            "adopted: true\nplatform: hosts\ninstances: {a: {address: 10.0.0.1, memory: 1024}}\npatroni: {timers: {ttl: 30}}\n",
            "c.yaml:3:44: instances.a.memory: not of an adopted cluster: hactl reads it there, and changes nothing\n\
             c.yaml:4:1: patroni: not of an adopted cluster: hactl reads it there, and changes nothing\n",
        ),
        (
            "instances: {a: {address: 10.0.0.1}}\n",
            "c.yaml:1:26: instances.a.address: only on platforms hosts and proxmox: a local node is given its address\n",
        ),
        (
            "adopted: true\nplatform: hosts\ninstances: {a: {address: '10.0.0.1; reboot'}}\n",
            "c.yaml:3:26: instances.a.address: `10.0.0.1; reboot` is not valid: expected an IPv4 address, with its prefix on proxmox, or a \
             host name\n",
        ),
        (
            "adopted: true\nplatform: hosts\ninstances: {a: {address: 10.0.0.1/24, vlan: 3}}\n",
            "c.yaml:3:26: instances.a.address: `10.0.0.1/24`: on platform hosts an address has no prefix (did you mean \
             10.0.0.1?)\n\
             c.yaml:3:45: instances.a.vlan: only on platform proxmox\n",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(wrong(text), *expected, "{text}");
    }
}

fn on_proxmox(text: &str) -> (Spec, crate::model::Proxmox) {
    let spec = good(text);
    let crate::model::Platform::Proxmox(proxmox) = spec.platform.clone() else { panic!("{:?}", spec.platform) };
    (spec, proxmox)
}

#[test]
fn machines_on_proxmox_have_defaults_and_each_may_say_otherwise() {
    let (spec, proxmox) = on_proxmox("platform: proxmox\ninstances: {a: {}}\n");
    let json = serde_json::to_value(&proxmox).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "kind": "vm", "endpoint": null, "ca_cert": null, "release": "debian:12", "bridge": "vmbr0", "pool": null,
            "ssh": {"user": "debian", "port": 22, "key": "vault", "bastion": null}, "nameservers": [],
            "search_domain": null, "watchdog": false, "protection": false, "agent_timeout_s": 180, "single": false,
            "machines": {"a": {"node": "pve1", "template": 9002, "template_node": null, "datastore": "local-lvm", "vlan": null,
                "address": "dhcp", "gateway": null, "reserved": false, "pool_id": null, "tags": [], "renamed_from": null}}
        })
    );
    assert_eq!((spec.instances.values().next().unwrap().memory_mib, spec.disposable), (2048, false));
    assert_eq!(spec.drills, crate::model::DEFAULT_DRILLS_BY_SSH);

    let (spec, proxmox) = on_proxmox(
        "platform:\n  proxmox: {kind: lxc, endpoint: 'https://pve1:8006/', ca_cert: ca.pem, release: 'debian:13',\n    \
         template: 'nfs:vztmpl/debian-13.tar.zst', node: pve9, vlan: 30, pool: team/pg, nameservers: [192.168.1.13],\n    \
         search_domain: home.sflab.io, ssh: {port: 2222, key: ~/.ssh/id, bastion: 'me@b:2022'}}\n\
         defaults: {gateway: 192.168.1.1, tags: [pg, prod], memory: 4096}\n\
         instances:\n  a: {address: 192.168.1.21/24, node: pve2, vlan: 31, pool_id: own, tags: [big]}\n  \
         b: {reserved: true, template: 'local:vztmpl/x.tar.zst', datastore: ceph, renamed_from: default}\n",
    );
    let [a, b] = ["a", "b"].map(|key| &proxmox.machines[&InstanceKey::new(key).unwrap()]);
    assert_eq!((a.node.as_str(), a.vlan, a.gateway.unwrap().to_string()), ("pve2", Some(31), "192.168.1.1".into()));
    assert_eq!((a.address.to_string(), a.pool_id.as_ref().unwrap().as_str()), ("192.168.1.21/24".into(), "own"));
    assert_eq!((a.template.to_string(), a.tags.len()), ("nfs:vztmpl/debian-13.tar.zst".into(), 1));
    assert_eq!((b.node.as_str(), b.vlan, b.gateway, b.reserved, b.tags.len()), ("pve9", Some(30), None, true, 2));
    assert_eq!((b.template.to_string(), b.datastore.as_str()), ("local:vztmpl/x.tar.zst".into(), "ceph"));
    assert_eq!((proxmox.ssh.user.as_str(), proxmox.ssh.port), ("root", 2222));
    assert_eq!(proxmox.ssh.bastion.unwrap().to_string(), "me@b:2022");
    assert_eq!(proxmox.ssh.key, crate::model::SshKeySource::File("~/.ssh/id".into()));
    assert_eq!(spec.instances.values().next().unwrap().memory_mib, 4096);
}

#[test]
fn a_single_machine_comes_from_target_ip_and_no_machines_from_empty_instances() {
    let text = "name: pg\nplatform: proxmox\ntarget_ip: 192.168.1.60/24\ndefaults: {roles: [], gateway: 192.168.1.1}\n";
    for text in [text.to_owned(), format!("{text}instances: {{}}\n"), format!("{text}instances:\n")] {
        let (spec, proxmox) = on_proxmox(&text);
        let (key, instance) = spec.instances.first_key_value().unwrap();
        assert_eq!((key.as_str(), instance.hostname.as_str()), ("default", "pg-prod-22d3"));
        assert!(proxmox.single && !instance.is_data_node());
        assert_eq!(proxmox.machines[key].address.to_string(), "192.168.1.60/24");
    }
    let (spec, _) = on_proxmox("platform: proxmox\ntarget_ip: dhcp\nhostname_suffix: 3f9a\n");
    assert_eq!(spec.instances.values().next().unwrap().hostname.as_str(), "c-prod-3f9a");
    let (spec, proxmox) = on_proxmox("platform: {proxmox: {pool: p}}\ninstances: {}\n");
    assert!(spec.instances.is_empty() && !proxmox.single && proxmox.pool.is_some());
}

#[test]
fn what_proxmox_cannot_make_is_said_at_once() {
    let table: &[(&str, &str)] = &[
        (
            "platform: {proxmox: {kind: lxc, template: 9002, watchdog: true, agent_timeout: 9m, ssh: {user: debian}}}\n\
             instances: {a: {template: '9002'}}\n",
            "c.yaml:1:43: platform.proxmox.template: a container is made from a template file in a storage, such as \
             local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst\n\
             c.yaml:1:59: platform.proxmox.watchdog: containers have no watchdog device: it is for `kind: vm`\n\
             c.yaml:1:80: platform.proxmox.agent_timeout: containers have no guest agent: it is for `kind: vm`\n\
             c.yaml:1:96: platform.proxmox.ssh.user: containers are made with keys for root, and have no other user yet\n\
             c.yaml:2:27: instances.a.template: a container is made from a template file in a storage, such as \
             local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst\n",
        ),
        (
            "platform: {proxmox: {endpoint: 'http://pve1', pool: a//b, vlan: 0, agent_timeout: 3h, nameservers: [ns1]}}\n\
             instances: {a: {template: '9002', tags: [Prod], node: pve.1}}\n",
            "c.yaml:1:32: platform.proxmox.endpoint: `http://pve1` is not valid: expected an https:// address without user \
             and path, such as https://pve1:8006/\n\
             c.yaml:1:53: platform.proxmox.pool: `a//b` is not valid: expected the name of a pool: letters, digits and . _ \
             -, with slashes between at most three levels\n\
             c.yaml:1:65: platform.proxmox.vlan: 0 is too small: expected at least 1\n\
             c.yaml:1:83: platform.proxmox.agent_timeout: `3h` is not valid: expected a time such as 90s or 3m\n\
             c.yaml:1:101: platform.proxmox.nameservers[0]: `ns1` is not an IP address: machines ask name servers by \
             address\n\
             c.yaml:2:27: instances.a.template: a virtual machine is cloned from the id of a template, such as 9002 (did \
             you mean 9002 without quotes?)\n\
             c.yaml:2:42: instances.a.tags[0]: `Prod` is not valid: expected a tag of Proxmox: lower-case letters, digits \
             and _ + . -, not starting with + . -\n\
             c.yaml:2:55: instances.a.node: `pve.1` is not valid: expected the name of a Proxmox node: letters, digits and \
             hyphens, neither starting nor ending with a hyphen\n",
        ),
        (
            "platform: proxmox\ndefaults: {gateway: 192.168.1.1}\ninstances:\n  a: {address: 192.168.1.21}\n  \
             b: {address: 192.168.1.0/24}\n  c: {address: 192.168.1.1/24}\n  d: {address: 10.0.0.4/24}\n  \
             e: {address: 10.0.0.4/24, gateway: 10.0.0.1, reserved: true}\n  f: {gateway: 10.0.0.1, ssh_port: 22}\n  \
             g: {address: 127.0.0.1/8, gateway: 127.0.0.2}\n  h: {address: 10.0.0.9/33}\n",
            "c.yaml:4:16: instances.a.address: `192.168.1.21` is neither dhcp nor an IPv4 address with its prefix, such as \
             192.168.1.21/24 (did you mean 192.168.1.21/24?)\n\
             c.yaml:5:16: instances.b.address: 192.168.1.0/24 is the network itself, not a machine in it\n\
             c.yaml:6:16: instances.c.address: 192.168.1.1 is the gateway and the machine's own address\n\
             c.yaml:7:16: instances.d.address: gateway 192.168.1.1 is not in 10.0.0.0/24\n\
             c.yaml:8:16: instances.e.address: 10.0.0.4 is also the address of d\n\
             c.yaml:8:58: instances.e.reserved: only with address dhcp: a fixed address is the machine's own\n\
             c.yaml:9:16: instances.f.gateway: not with address dhcp: the DHCP server says which gateway it is\n\
             c.yaml:9:36: instances.f.ssh_port: only on platform hosts\n\
             c.yaml:10:16: instances.g.address: 127.0.0.1 cannot be the address of a machine\n\
             c.yaml:11:16: instances.h.address: `10.0.0.9/33` is neither dhcp nor an IPv4 address with its prefix, such as \
             192.168.1.21/24\n",
        ),
        (
            "platform: proxmox\ninstances: {a: {renamed_from: b}, b: {}, c: {renamed_from: x}, d: {renamed_from: x}}\n\
             target_ip: dhcp\n",
            "c.yaml:2:31: instances.a.renamed_from: `b` is an instance of this file: a machine has one key\n\
             c.yaml:2:82: instances.d.renamed_from: c is renamed from `x`, too\n\
             c.yaml:3:12: target_ip: not together with `instances`: there an address is `instances.KEY.address`, and an \
             instance with `renamed_from: default` keeps the machine that was made by `target_ip`\n",
        ),
        (
            "target_ip: dhcp\nhostname_suffix: abc\n",
            "c.yaml:1:12: target_ip: only on platform proxmox: elsewhere machines are those of `instances`\n\
             c.yaml:2:18: hostname_suffix: `abc` is not valid: expected four hexadecimal digits, such as 3f9a, in quotes \
             where they are all numbers\n",
        ),
        (
            "platform: proxmox\nhostname_suffix: 3f9a\n",
            "c.yaml:1:1: `instances` is missing, for example `instances: {node1: {}, node2: {}, node3: {}}`\n\
             c.yaml:2:18: hostname_suffix: needs `target_ip`: the host names of `instances` end with their keys\n",
        ),
        (
            "platform: {proxmox: {}, hosts: {}}\ninstances: {a: {address: 10.0.0.1}}\n",
            "c.yaml:1:1: platform: exactly one platform, and there are 2: proxmox and hosts\n",
        ),
        (
            "instances: {a: {vlan: 3, tags: [x]}}\ndefaults: {gateway: 10.0.0.1}\n",
            "c.yaml:1:23: instances.a.vlan: only on platform proxmox\n\
             c.yaml:1:26: instances.a.tags: only on platform proxmox\n\
             c.yaml:2:21: defaults.gateway: only on platform proxmox\n",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(wrong(text), *expected, "{text}");
    }
}

/// The settings of the backend that `text` means, beside three instances.
fn backend_of(text: &str) -> Value {
    let backend = good(&format!("name: pg-a\nbackend: {text}\n{THREE}")).backend.unwrap();
    serde_json::json!({backend.kind.as_str(): backend.settings})
}

#[test]
fn a_backend_is_this_clusters_alone_and_always_locked() {
    use serde_json::json;
    assert_eq!(good(THREE).backend, None);
    assert_eq!(backend_of("pg"), json!({"pg": {"schema_name": "hactl_pg_a"}}));
    assert_eq!(
        backend_of("{pg: {conn_str: 'postgres://tf@db/x', schema_name: own}}"),
        json!({"pg": {"conn_str": "postgres://tf@db/x", "schema_name": "own"}})
    );
    assert_eq!(
        backend_of("{s3: {bucket: b, endpoints: {s3: 'https://minio:9000'}}}"),
        json!({"s3": {"bucket": "b", "key": "hactl/pg-a/terraform.tfstate", "encrypt": true, "use_lockfile": true,
            "endpoints": {"s3": "https://minio:9000"}}})
    );
    let with_table = backend_of("{s3: {bucket: b, dynamodb_table: locks}}");
    assert_eq!(
        (&with_table["s3"]["use_lockfile"], &with_table["s3"]["dynamodb_table"]),
        (&Value::Null, &json!("locks"))
    );
    assert_eq!(
        backend_of("{http: {address: 'https://git/state/pg-a'}}"),
        json!({"http": {"address": "https://git/state/pg-a", "lock_address": "https://git/state/pg-a/lock",
            "lock_method": "POST", "unlock_address": "https://git/state/pg-a/lock", "unlock_method": "DELETE"}})
    );
    assert_eq!(backend_of("consul"), json!({"consul": {"path": "hactl/pg-a/terraform", "lock": true}}));
}

#[test]
fn what_a_backend_cannot_be_is_said_without_its_secrets() {
    let said = |backend: &str, words: &[&str]| {
        let text = wrong(&format!("backend: {backend}\n{THREE}"));
        for word in words {
            assert!(text.contains(word), "no `{word}` in {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    };
    said("{pg: {password: hunter2}}", &["c.yaml:1:", "backend.pg.password: a secret", "PGPASSWORD"]);
    said("{pg: {conn_str: 'postgres://tf:hunter2@db/x'}}", &["backend.pg.conn_str", "PGPASSWORD"]);
    said("{pg: {conn_str: 'host=db password=hunter2'}}", &["backend.pg.conn_str", "PG_CONN_STR"]);
    said("{s3: {bucket: b, access_key: hunter2}}", &["AWS_ACCESS_KEY_ID"]);
    said("{s3: {bucket: b, secret_key: hunter2}}", &["AWS_SECRET_ACCESS_KEY"]);
    said("{s3: {bucket: b, token: hunter2}}", &["AWS_SESSION_TOKEN"]);
    said("{http: {address: 'https://me:hunter2@git/x'}}", &["backend.http.address", "TF_HTTP_PASSWORD"]);
    said("{http: {address: 'https://git/x', password: hunter2}}", &["TF_HTTP_PASSWORD"]);
    said("{http: {address: 'https://git/x?private_token=hunter2'}}", &["without a query"]);
    said("{consul: {access_token: hunter2}}", &["CONSUL_HTTP_TOKEN"]);
    // All at once, and wrong keys as anywhere else.
    said(
        "{s3: {secret_key: hunter2, buket: b}}",
        &["did you mean bucket", "AWS_SECRET_ACCESS_KEY", "`bucket` is missing"],
    );
    said("{pg: {shema_name: x}}", &["did you mean schema_name"]);
    said("http", &["`address` is missing"]);
    said("{http: {address: git}}", &["expected an http:// or https:// address"]);
    said("etcd", &["is not one of pg, s3, http, consul"]);
    said("{gcs: {}}", &["unknown key"]);
    said("{pg: {}, s3: {bucket: b}}", &["exactly one backend, and there are 2: pg and s3"]);
    said("{}", &["exactly one backend, one of pg, s3, http, consul"]);
    said("{s3: {bucket: b, use_lockfile: false}}", &["write over each other's state"]);
    let long = format!("name: {}\nbackend: {{pg: {{schema_name: {}}}}}\n{THREE}", "a".repeat(40), "s".repeat(64));
    assert!(wrong(&long).contains("1 to 63 letters"), "{}", wrong(&long));
}

#[test]
fn a_state_on_the_cluster_itself_is_refused() {
    let on = |host: &str| {
        let text = format!(
            "name: pg\nplatform: proxmox\nbackend: {{pg: {{conn_str: 'postgres://tf@{host}/x'}}}}\n\
             dns: {{zone: a.b, server: 10.0.0.1, key_name: k}}\ndefaults: {{gateway: 10.0.0.1}}\n\
             instances: {{node1: {{address: 10.0.0.4/24}}, node2: {{address: 10.0.0.5/24}}}}\n"
        );
        match load("c.yaml", text.as_bytes(), "c") {
            Ok(_) => String::new(),
            Err(problems) => problems.problems().iter().map(|problem| problem.to_string() + "\n").collect(),
        }
    };
    assert_eq!(on("10.0.0.6"), "");
    for (host, key) in [("10.0.0.5", "node2"), ("pg-prod-node1:5433", "node1"), ("db,PG-prod-node2.a.b", "node2")] {
        assert!(on(host).contains(&format!("is {key}, a machine of this cluster")), "{host}: {}", on(host));
    }
    let adopted = "adopted: true\nplatform: hosts\nbackend: pg\ninstances: {a: {address: 10.0.0.4}}\n";
    assert!(wrong(adopted).contains("not with `adopted: true`"), "{}", wrong(adopted));
}
