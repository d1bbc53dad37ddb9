//! What the file says of machines: hosts, a module of the user's own, Proxmox.

use super::*;

#[test]
fn adopted_cluster_requires_only_addresses() {
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
fn hosts_platform_takes_addresses_and_ssh_settings() {
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
fn terraform_platform_takes_a_directory_and_passed_values() {
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
fn invalid_hosts_settings_are_all_reported() {
    let table: &[(&str, &str)] = &[
        (
            "platform: {hosts: {unit: p, superuser: dba, release: 'debian:11', ssh: {bastion: 'a@b:0'}}}\n\
             instances: {a: {}, b: {address: 127.0.0.1}, c: {address: db.example.org}, d: {address: 10.0.0.4/24},\n  \
             e: {address: 10.0.0.5, disk_gb: 20, vlan: 3}, f: {address: 10.0.0.5, ssh_port: 2202},\n  \
             g: {address: 10.0.0.6, ssh_host: nat}, h: {address: 10.0.0.7, ssh_host: nat, ssh_port: 2202},\n  \
             i: {address: 10.0.0.8, ssh_host: nat, ssh_port: 22}}\n",
            "c.yaml:1:26: platform.hosts.unit: only with `adopted: true`: hactl knows it for a cluster that it makes\n\
             c.yaml:1:40: platform.hosts.superuser: only with `adopted: true`: hactl knows it for a cluster that it makes\n\
             c.yaml:1:54: platform.hosts.release: `debian:11` is not a release that hactl supports: expected one of \
             debian:12, debian:13, ubuntu:22.04, ubuntu:24.04\n\
             c.yaml:1:82: platform.hosts.ssh.bastion: `a@b:0` is not a bastion: expected USER@HOST or USER@HOST:PORT, such as \
             me@bastion:22\n\
             c.yaml:2:13: instances.a: needs an `address`, for example `{address: 192.168.1.21}`\n\
             c.yaml:2:33: instances.b.address: 127.0.0.1 cannot be the address of a machine, because other machines cannot reach it\n\
             c.yaml:2:58: instances.c.address: `db.example.org` is not an IPv4 address, which members of the cluster \
             need to reach each other; put a host name for SSH into `ssh_host`\n\
             c.yaml:2:88: instances.d.address: `10.0.0.4/24`: an address on platform hosts has no prefix (did you mean \
             10.0.0.4?)\n\
             c.yaml:3:35: instances.e.disk_gb: not allowed on platform hosts: PGDATA is on the machine's existing disk\n\
             c.yaml:3:45: instances.e.vlan: only on platform proxmox\n\
             c.yaml:3:62: instances.f.address: 10.0.0.5 is also the address of e\n\
             c.yaml:5:3: instances.i: SSH reaches the same machine as for g: nat, port 22\n",
        ),
        (
            "adopted: true\nplatform: {hosts: {release: 'debian:12', ssh: {bastion: me@b}}}\ninstances: {a: {address: a.b}}\n",
            "c.yaml:2:29: platform.hosts.release: not allowed for an adopted cluster: hactl installs nothing there\n\
             c.yaml:2:57: platform.hosts.ssh.bastion: not supported yet: hactl cannot reach an adopted cluster through a bastion\n",
        ),
        (
            "platform: {terraform: {dir: infra, workspace: 'a b', ssh: {bastion: b}}}\n\
             dns: {zone: a.b, server: 10.0.0.9, key_name: k}\n\
             instances: {a: {address: 10.0.0.1, ssh_port: 22, disk_gb: 1, tags: [x]}}\n",
            "c.yaml:1:47: platform.terraform.workspace: `a b` is not valid: expected a workspace's name: letters, digits and \
             - . _ ~\n\
             c.yaml:1:69: platform.terraform.ssh.bastion: `b` is not valid: expected USER@HOST or USER@HOST:PORT\n\
             c.yaml:2:1: dns: not allowed on platform terraform: make the records in the module that makes the \
             machines, with hactl's resource hactl_dns_record_set\n\
             c.yaml:3:26: instances.a.address: not allowed on platform terraform: the module's output `vms` has it\n\
             c.yaml:3:46: instances.a.ssh_port: not allowed on platform terraform: the module's output `vms` has it\n\
             c.yaml:3:59: instances.a.disk_gb: not allowed on platform terraform: the module makes the machine's \
             disks\n\
             c.yaml:3:62: instances.a.tags: only on platform proxmox\n",
        ),
        (
            "adopted: true\nplatform: hosts\ninstances: {a: {}, b: {address: 10.0.0.1}, c: {address: 10.0.0.1}}\n",
            "c.yaml:3:13: instances.a: needs an `address`, for example `{address: 192.168.1.21}`\n\
             c.yaml:3:44: instances.c: the same machine as b: 10.0.0.1, port 22\n",
        ),
        (
            "adopted: true\nplatform: hosts\ninstances: {a: {address: 10.0.0.1, memory: 1024}}\npatroni: {timers: {ttl: 30}}\n",
            "c.yaml:3:44: instances.a.memory: not allowed for an adopted cluster: hactl reads it from the machines and changes nothing\n\
             c.yaml:4:1: patroni: not allowed for an adopted cluster: hactl reads it from the machines and changes nothing\n",
        ),
        (
            "instances: {a: {address: 10.0.0.1}}\n",
            "c.yaml:1:26: instances.a.address: only on platforms hosts and proxmox: hactl assigns the address of a local node\n",
        ),
        (
            "adopted: true\nplatform: hosts\ninstances: {a: {address: '10.0.0.1; reboot'}}\n",
            "c.yaml:3:26: instances.a.address: `10.0.0.1; reboot` is not valid: expected an IPv4 address, with its prefix on proxmox, or a \
             host name\n",
        ),
        (
            "adopted: true\nplatform: hosts\ninstances: {a: {address: 10.0.0.1/24, vlan: 3}}\n",
            "c.yaml:3:26: instances.a.address: `10.0.0.1/24`: an address on platform hosts has no prefix (did you mean \
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
fn proxmox_machines_have_defaults_that_each_instance_can_override() {
    let (spec, proxmox) = on_proxmox("platform: proxmox\ninstances: {a: {}}\n");
    let json = serde_json::to_value(&proxmox).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "kind": "vm", "endpoint": null, "ca_cert": null, "release": "debian:12", "bridge": "vmbr0", "pool": null,
            "ssh": {"user": "debian", "port": 22, "key": "vault", "bastion": null}, "nameservers": [],
            "search_domain": null, "watchdog": false, "protection": null, "agent_timeout_s": 180, "single": false,
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
    assert_eq!(
        (a.hypervisor.as_str(), a.vlan, a.gateway.unwrap().to_string()),
        ("pve2", Some(31), "192.168.1.1".into())
    );
    assert_eq!((a.address.to_string(), a.pool_id.as_ref().unwrap().as_str()), ("192.168.1.21/24".into(), "own"));
    assert_eq!((a.template.to_string(), a.tags.len()), ("nfs:vztmpl/debian-13.tar.zst".into(), 1));
    assert_eq!((b.hypervisor.as_str(), b.vlan, b.gateway, b.reserved, b.tags.len()), ("pve9", Some(30), None, true, 2));
    assert_eq!((b.template.to_string(), b.datastore.as_str()), ("local:vztmpl/x.tar.zst".into(), "ceph"));
    assert_eq!((proxmox.ssh.user.as_str(), proxmox.ssh.port), ("root", 2222));
    assert_eq!(proxmox.ssh.bastion.unwrap().to_string(), "me@b:2022");
    assert_eq!(proxmox.ssh.key, crate::model::SshKeySource::File("~/.ssh/id".into()));
    assert_eq!(spec.instances.values().next().unwrap().memory_mib, 4096);
}

#[test]
fn single_machines_by_dhcp_have_names_of_their_clusters() {
    let hostname = |text: &str| {
        let (spec, _) = on_proxmox(&format!("platform: proxmox\n{text}"));
        spec.instances.values().next().unwrap().hostname.to_string()
    };
    let dhcp = |name: &str| hostname(&format!("name: {name}\napp: pg\ntarget_ip: dhcp\n"));
    assert_ne!(dhcp("one"), dhcp("two"));
    // The name of a cluster whose app is its name is as it has always been, and so is that of a fixed address.
    assert_eq!(dhcp("pg"), format!("pg-prod-{}", crate::model::derived_suffix("pg", "prod", "dhcp")));
    let fixed = |name: &str| hostname(&format!("name: {name}\napp: pg\ntarget_ip: 192.168.1.60/24\n"));
    assert_eq!([fixed("one"), fixed("two")], ["pg-prod-22d3", "pg-prod-22d3"]);
}

#[test]
fn invalid_hardware_of_proxmox_machines_is_all_reported() {
    let text = "platform: {proxmox: {kind: lxc}}\n\
                defaults:\n  hardware: {cpu_type: host, mtu: 90}\n\
                instances:\n  a: {data_datastore: nvme}\n  b:\n    hardware:\n      disk: {cache: fast}\n      \
                extra_nic: {address: 10.0.0.300/24}\n";
    assert_eq!(
        wrong(text),
        "c.yaml:3:24: defaults.hardware.cpu_type: only with `kind: vm`: containers have the hypervisor's CPU\n\
         c.yaml:3:35: defaults.hardware.mtu: 90 is too small: expected at least 576\n\
         c.yaml:5:23: instances.a.data_datastore: needs `data_disk_gb`, the size of the disk for PostgreSQL's data\n\
         c.yaml:8:7: instances.b.hardware.disk: only with `kind: vm`: the disks of containers have no such flags\n\
         c.yaml:8:21: instances.b.hardware.disk.cache: `fast` is not valid: expected none, directsync, writethrough, \
         writeback or unsafe\n\
         c.yaml:9:7: instances.b.hardware.extra_nic: `10.0.0.300/24` is not an IPv4 address with its prefix\n\
         c.yaml:9:7: instances.b.hardware.extra_nic: `bridge` is missing, for example `extra_nic: {bridge: vmbr1}`\n"
    );
    let text = "platform: proxmox\ninstances: {a: {hardware: {memory: 1}}}\n";
    assert!(wrong(text).contains("instances.a.hardware"), "{}", wrong(text));
    assert!(
        wrong("instances: {a: {hardware: {mtu: 1500}}}\n").contains("instances.a.hardware: only on platform proxmox")
    );
}

#[test]
fn target_ip_gives_a_single_machine_and_empty_instances_give_none() {
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
fn invalid_proxmox_settings_are_all_reported() {
    let table: &[(&str, &str)] = &[
        (
            "platform: {proxmox: {kind: lxc, template: 9002, watchdog: true, agent_timeout: 9m, ssh: {user: debian}}}\n\
             instances: {a: {template: '9002'}}\n",
            "c.yaml:1:43: platform.proxmox.template: a container is made from a template file in a storage, such as \
             local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst\n\
             c.yaml:1:59: platform.proxmox.watchdog: only with `kind: vm`: containers have no watchdog device\n\
             c.yaml:1:80: platform.proxmox.agent_timeout: only with `kind: vm`: containers have no guest agent\n\
             c.yaml:1:96: platform.proxmox.ssh.user: containers support only the user root\n\
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
             c.yaml:1:101: platform.proxmox.nameservers[0]: `ns1` is not an IP address: machines need the IP address \
             of a name server\n\
             c.yaml:2:27: instances.a.template: a virtual machine is cloned from a template, given by its ID, such as \
             9002 (did you mean 9002 without quotes?)\n\
             c.yaml:2:42: instances.a.tags[0]: `Prod` is not valid: expected a tag of Proxmox: lower-case letters, digits \
             and _ + . -, not starting with + . -\n\
             c.yaml:2:55: instances.a.node: `pve.1` is not valid: expected the name of a hypervisor: letters, digits and \
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
             c.yaml:6:16: instances.c.address: 192.168.1.1 is both the gateway and the machine's own address\n\
             c.yaml:7:16: instances.d.address: gateway 192.168.1.1 is not in 10.0.0.0/24\n\
             c.yaml:8:16: instances.e.address: 10.0.0.4 is also the address of d\n\
             c.yaml:8:58: instances.e.reserved: only with `address: dhcp`: a fixed address never changes\n\
             c.yaml:9:16: instances.f.gateway: not allowed with `address: dhcp`: the DHCP server assigns the gateway\n\
             c.yaml:9:36: instances.f.ssh_port: only on platform hosts\n\
             c.yaml:10:16: instances.g.address: 127.0.0.1 cannot be the address of a machine\n\
             c.yaml:11:16: instances.h.address: `10.0.0.9/33` is neither dhcp nor an IPv4 address with its prefix, such as \
             192.168.1.21/24\n",
        ),
        (
            "platform: proxmox\ninstances: {a: {renamed_from: b}, b: {}, c: {renamed_from: x}, d: {renamed_from: x}}\n\
             target_ip: dhcp\n",
            "c.yaml:2:31: instances.a.renamed_from: `b` is also an instance of this file: a machine has only one key\n\
             c.yaml:2:82: instances.d.renamed_from: c is also renamed from `x`\n\
             c.yaml:3:12: target_ip: not allowed together with `instances`: set `instances.KEY.address` instead; an \
             instance with `renamed_from: default` keeps the machine that `target_ip` made\n",
        ),
        (
            "target_ip: dhcp\nhostname_suffix: abc\n",
            "c.yaml:1:12: target_ip: only on platform proxmox: on other platforms, list the machines in `instances`\n\
             c.yaml:2:18: hostname_suffix: `abc` is not valid: expected four hexadecimal digits, such as 3f9a, in \
             quotes if all of them are decimal digits\n",
        ),
        (
            "platform: proxmox\nhostname_suffix: 3f9a\n",
            "c.yaml:1:1: `instances` is missing, for example `instances: {node1: {}, node2: {}, node3: {}}`\n\
             c.yaml:2:18: hostname_suffix: needs `target_ip`: the host names of `instances` end with their keys\n",
        ),
        (
            "platform: {proxmox: {}, hosts: {}}\ninstances: {a: {address: 10.0.0.1}}\n",
            "c.yaml:1:1: platform: expected exactly one platform, found 2: proxmox and hosts\n",
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

#[test]
fn malformed_address_on_proxmox_has_no_second_cause() {
    for address in ["192.168.1.300/24", "192.168.1.21", "somewhere", "7"] {
        let text = format!(
            "platform: proxmox\ninstances:\n  a: {{address: {address}, gateway: 192.168.1.1, reserved: true}}\n"
        );
        let found = wrong(&text);
        assert!(found.lines().count() == 1 && found.contains("instances.a.address: "), "{found}");
    }
}

#[test]
fn watchdog_device_is_used_where_machines_have_one() {
    let hosts = "platform: hosts\ninstances: {a: {address: 10.0.0.1}}\n";
    assert!(good(&format!("{hosts}machine: {{watchdog: true}}\n")).watchdog);
    assert!(!good(hosts).watchdog);
    assert!(good("platform: {proxmox: {watchdog: true}}\ninstances: {a: {}}\n").watchdog);
    let refused = [
        ("local", "the machines are containers, which have no watchdog device"),
        ("{proxmox: {kind: lxc}}", "the machines are containers, which have no watchdog device"),
        ("proxmox", "set `platform.proxmox.watchdog`, which also gives the machines the device"),
    ];
    for (platform, words) in refused {
        let text = format!("platform: {platform}\ninstances: {{a: {{}}}}\nmachine: {{watchdog: true}}\n");
        let said = wrong(&text);
        assert!(said.contains(words), "{platform}: {said}");
    }
}

#[test]
fn power_commands_of_hosts_are_taken_and_checked() {
    let file = |power: &str| {
        format!(
            "platform: {{hosts: {{power: {{{power}}}}}}}\n\
             instances: {{a: {{address: 10.0.0.1}}, b: {{address: 10.0.0.2}}, c: {{address: 10.0.0.3}}}}\n"
        )
    };
    let text = file("off: [ipmi, 'bmc-{{ instance }}', off], on: [bin/wake, '{{host}}'], state: ['~/s', '{{ host }}']");
    let spec = crate::spec::load::load_from(std::path::Path::new("some"), "some/c.yaml", text.as_bytes(), "c").unwrap();
    let power = spec.platform.power_commands().unwrap();
    assert_eq!(power.off, ["ipmi", "bmc-{{ instance }}", "off"]);
    assert!(power.on[0].ends_with("some/bin/wake"), "{power:?}");
    assert_eq!(power.state, ["~/s", "{{ host }}"]);

    let all =
        wrong(&file("off: [off], on: ['', '{{ instance }}'], state: [show, '{{ hots }}', '{{.State}} {{ host }}']"));
    for words in [
        "platform.hosts.power.off: has neither {{ instance }} nor {{ host }}",
        "platform.hosts.power.on: the first word, which is the program, is empty",
        "`{{ hots }}` is unknown",
        "host",
    ] {
        assert!(all.contains(words), "{words}: {all}");
    }
    assert_eq!(all.trim().lines().count(), 3, "{all}");
}
