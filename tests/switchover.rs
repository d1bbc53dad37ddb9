//! The primary moves, servers restart and a replica gets a new copy, on one cluster under clients that write: no acknowledged row is lost,
//! and a run that is interrupted or killed in between leaves a cluster that heals. With `HACTL_TEST_LONG` a member really
//! diverges, and another one has no room for a second copy.

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{Bench, application::Application, docker, steps::Steps, terminal};

const NAME: &str = "t-switchover";
const NODES: [&str; 3] = ["node1", "node2", "node3"];

fn file(parameters: &str) -> String {
    format!(
        "disposable: false\ninstances: {{node1: {{}}, node2: {{}}, node3: {{}}}}\ndefaults: {{memory: 640, cores: 1}}\n\
         postgres: {{parameters: {{{parameters}}}}}\n"
    )
}

fn node(key: &str, command: &str) -> String {
    docker(&["exec", &format!("{NAME}-{key}"), "sh", "-c", command]).trim().to_owned()
}

/// A query on one server, by its socket.
fn ask(key: &str, query: &str) -> String {
    node(key, &format!("runuser -u postgres -- psql -XAtq -c \"{query}\" postgres"))
}

/// The primary of a cluster that is healthy, or becomes so.
fn primary(bench: &Bench) -> &'static str {
    let status = bench.healthy_within(Duration::from_secs(180));
    NODES.into_iter().find(|key| status["leader"] == *key).unwrap()
}

fn replica(primary: &str) -> &'static str {
    NODES.into_iter().rev().find(|key| *key != primary).unwrap()
}

/// The seconds without a primary that a switchover tells, and the new primary.
fn moved(events: &[Value]) -> (f64, String) {
    let event = events.iter().find(|event| event["type"] == "switched-over").expect("an event tells it");
    (event["without_primary_ms"].as_f64().unwrap() / 1000.0, event["to"].as_str().unwrap().to_owned())
}

/// The time on a machine, for [`starts`].
fn now(key: &str) -> String {
    node(key, "date +%s")
}

/// How often a server was started since then, by its own log.
fn starts(key: &str, since: &str) -> String {
    node(key, &format!("journalctl -u patroni --since @{since} -o cat | grep -c 'LOG:  starting PostgreSQL' || :"))
}

/// The members that a restart tells, in their order.
fn restarted(events: &[Value]) -> Vec<String> {
    let events = events.iter().filter(|event| event["type"] == "restarted");
    events.map(|event| event["node"].as_str().unwrap().to_owned()).collect()
}

fn causes(error: &Value) -> String {
    error["causes"].as_array().unwrap().iter().map(|cause| cause.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// What `key` has of a raised priority: its mark in the file, and the script of its timer.
fn preferred(key: &str) -> String {
    node(key, "grep -h ' # hactl-switchover$' /etc/patroni/patroni.yml; ls /run/hactl-switchover 2>/dev/null || :")
}

/// Starts a script on a machine, which ends by itself.
fn begin(key: &str, script: &str) -> Child {
    let machine = format!("{NAME}-{key}");
    Command::new("docker").args(["exec", &machine, "timeout", "60", "sh", "-c", script]).spawn().unwrap()
}

/// Nothing is locked: not here, on no machine, and not in etcd.
fn unlocked(bench: &Bench) {
    assert_eq!(bench.lock_holders(), Vec::<String>::new());
    for key in NODES {
        assert_eq!(node(key, "ls /run/hactl/lock 2>/dev/null || :"), "", "{key}");
    }
    let tls = "/etc/patroni/tls";
    let ask = format!(
        "etcdctl --endpoints https://127.0.0.1:2379 --cacert {tls}/control-ca.crt --cert {tls}/patroni.crt \
         --key {tls}/patroni.key get --prefix --keys-only /hactl/ && echo read"
    );
    assert_eq!(node("node1", &ask), "read");
}

/// The data directories that were kept aside.
fn kept(key: &str) -> Vec<String> {
    node(key, "ls -d /var/lib/postgresql/*/*.diverged-* 2>/dev/null || :").lines().map(str::to_owned).collect()
}

/// Takes the primary's Patroni and its fencing away, so that it accepts writes beside the new primary. Then it goes on past
/// the WAL that `pg_rewind` needs, and its Patroni starts again.
fn diverge(bench: &Bench, key: &str) {
    node(
        key,
        "systemctl stop hactl-lease-guard; kill -KILL $(systemctl show -p MainPID --value patroni); \
         systemctl stop patroni",
    );
    let deadline = Instant::now() + Duration::from_secs(90);
    while bench.status()["leader"].as_str().is_none_or(|leader| leader == key) {
        assert!(Instant::now() < deadline, "no other primary");
    }
    ask(key, "SET synchronous_commit = local; CREATE TABLE alone AS SELECT generate_series(1, 1000)");
    let said = node(
        key,
        "set -e
         bin=$(echo /usr/lib/postgresql/*/bin) dir=$(echo /var/lib/postgresql/*/t-switchover)
         for turn in 1 2; do
           runuser -u postgres -- psql -XAtqc 'SELECT pg_switch_wal()' -c CHECKPOINT postgres >/dev/null
         done
         runuser -u postgres -- $bin/pg_ctl -s -D $dir -m immediate stop
         keep=$($bin/pg_controldata $dir | sed -n 's/.*REDO WAL file: *//p')
         for file in $(ls $dir/pg_wal | grep -E '^[0-9A-F]{24}$'); do
           [ \"$file\" \\> \"$keep\" ] || [ \"$file\" = \"$keep\" ] || rm $dir/pg_wal/$file
         done
         echo diverged >$dir/alone
         systemctl start patroni hactl-lease-guard
         echo diverged",
    );
    assert!(said.ends_with("diverged"), "{said}");
}

/// Moves a replica's data onto a file system that has no room for a second copy.
fn confine(key: &str) {
    docker(&["update", "--memory", "1200m", "--memory-swap", "1200m", &format!("{NAME}-{key}")]);
    let said = node(
        key,
        "set -e
         systemctl stop patroni
         cd /var/lib/postgresql
         major=$(ls) && mv $major aside && mkdir $major && rm -rf aside/*.diverged-*
         mount -t tmpfs -o size=$(($(du -sk aside | cut -f 1) * 3 / 2))k tmpfs $major
         chown postgres: $major && chmod 700 $major
         cp -a aside/. $major/ && rm -r aside
         systemctl start patroni
         echo confined",
    );
    assert!(said.ends_with("confined"), "{said}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one cluster for all steps")]
fn moved_primary_and_new_copy_lose_no_row() {
    let bench = Bench::new(NAME, &file(""));
    let mut steps = Steps::new();
    let up = steps.must("up, without a cluster, makes one", || bench.up());
    let dsn = up["dsn"].as_str().unwrap().to_owned();
    let application = Application::start(&dsn, 2);

    steps.step("switchover, without a terminal and without --yes, changes nothing", || {
        let before = primary(&bench);
        let done = bench.hactl(&["switchover", NAME]);
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && said.contains("not-confirmed"), "{said}");
        assert_eq!(primary(&bench), before);
    });

    steps.step("switchover, without --to, moves the primary to the member that the vote chooses", || {
        let before = primary(&bench);
        let (code, events) = bench.follow(&["switchover", NAME, "--yes"]).end();
        assert_eq!(code, 0, "{:#?}", events.last());
        let (seconds, to) = moved(&events);
        println!("   {before} -> {to}, {seconds} s without a primary");
        let after = primary(&bench);
        assert!(after != before && after == to && seconds < 20.0, "{before} {after} {seconds}");
    });

    steps.step("switchover --to a replica moves the primary there and leaves no priority", || {
        let wanted = replica(primary(&bench));
        let (code, events) = bench.follow(&["switchover", NAME, "--to", wanted, "--yes"]).end();
        assert_eq!(code, 0, "{:#?}", events.last());
        println!("   -> {wanted}, {} s without a primary", moved(&events).0);
        assert_eq!(primary(&bench), wanted);
        assert_eq!(preferred(wanted), "");
    });

    steps.step("switchover, with an old transaction, names its process and user", || {
        let before = primary(&bench);
        let held = format!("{NAME}-{before}");
        docker(&[
            "exec",
            "-d",
            &held,
            "runuser",
            "-u",
            "postgres",
            "--",
            "psql",
            "-Xqc",
            "BEGIN; SELECT pg_sleep(600)",
            "postgres",
        ]);
        std::thread::sleep(Duration::from_secs(11));
        let (code, error) = bench.fail(&["switchover", NAME, "--yes"]);
        assert_eq!((code, error["code"].as_str()), (1, Some("switchover-refused")), "{error:#}");
        let pid = ask(
            before,
            "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND pid <> pg_backend_pid()",
        );
        let words = format!("process {pid} of user postgres in database postgres has had a transaction open for ");
        assert!(causes(&error).contains(&words), "{words}: {error:#}");
        assert_eq!(primary(&bench), before);
        ask(before, &format!("SELECT pg_terminate_backend({pid})"));
    });

    steps.step("switchover --to a replica that receives no WAL, at a high rate of commits, is refused", || {
        let before = primary(&bench);
        let wanted = replica(before);
        ask(before, "CREATE DATABASE load");
        let bench_of = "/usr/lib/postgresql/$(ls /usr/lib/postgresql)/bin/pgbench";
        node(before, &format!("runuser -u postgres -- {bench_of} -i -q load"));
        let load = format!("runuser -u postgres -- {bench_of} -n -N -c 8 -j 2 -T 25 load >/tmp/load 2>&1");
        docker(&["exec", "-d", &format!("{NAME}-{before}"), "sh", "-c", &load]);
        std::thread::sleep(Duration::from_secs(3));
        node(wanted, "kill -STOP $(pgrep -f '[w]alreceiver')");
        let (code, error) = bench.fail(&["switchover", NAME, "--to", wanted, "--yes"]);
        node(wanted, "kill -CONT $(pgrep -f '[w]alreceiver')");
        assert_eq!((code, error["code"].as_str()), (1, Some("switchover-refused")), "{error:#}");
        assert!(causes(&error).contains(wanted), "{error:#}");
        assert_eq!(preferred(wanted), "");
        std::thread::sleep(Duration::from_secs(25));
        println!("   {}", node(before, "grep -E '^tps|failed' /tmp/load"));
        assert_eq!(primary(&bench), before);
    });

    steps.step("switchover that is killed leaves a primary, and the timer takes the priority back", || {
        let before = primary(&bench);
        let wanted = replica(before);
        let mut run = bench.follow(&["switchover", NAME, "--to", wanted, "--yes"]);
        run.wait_for("preference", |event| event["step"].as_str().is_some_and(|step| step.contains("is preferred")));
        run.kill();
        assert!(preferred(wanted).contains("/run/hactl-switchover"), "{}", preferred(wanted));
        primary(&bench);
        // What the timer runs, without the wait of some minutes for it.
        let left = node(
            wanted,
            "systemctl show -p SubState --value hactl-switchover.timer; systemctl start hactl-switchover.service",
        );
        assert_eq!(left, "waiting");
        assert_eq!(preferred(wanted), "");
        primary(&bench);
    });

    steps.step("switchover, with Ctrl-C before its request, leaves the primary, no priority and no lock", || {
        let before = primary(&bench);
        let wanted = replica(before);
        // Patroni there cannot read its file again, and hactl waits for that.
        let stops = "until grep -q ' # hactl-switchover$' /etc/patroni/patroni.yml; do sleep 0.01; done; \
                     kill -STOP $(systemctl show -p MainPID --value patroni)";
        let mut stopping = begin(wanted, stops);
        let run = bench.follow(&["switchover", NAME, "--to", wanted, "--yes"]);
        let stopped = stopping.wait().unwrap();
        run.signal(Signal::SIGINT);
        let (code, error) = run.end_in_error();
        node(wanted, "kill -CONT $(systemctl show -p MainPID --value patroni)");
        assert!(stopped.success() && code == 130, "{error:#}");
        assert_eq!(preferred(wanted), "");
        unlocked(&bench);
        assert_eq!(primary(&bench), before);
    });

    steps.step("switchover, with Ctrl-C after its request, leaves a new primary, no priority and no lock", || {
        let before = primary(&bench);
        let wanted = replica(before);
        let asked = "since=$(date +%s); \
                     until journalctl -u patroni --since @$since -o cat | grep -q 'received switchover request'; do :; done";
        let mut asked = begin(before, asked);
        let run = bench.follow(&["switchover", NAME, "--to", wanted, "--yes"]);
        assert!(asked.wait().unwrap().success());
        run.signal(Signal::SIGINT);
        let (code, error) = run.end_in_error();
        assert!(code == 130 && causes(&error).contains("Patroni continues without hactl"), "{error:#}");
        assert_eq!(preferred(wanted), "");
        unlocked(&bench);
        let deadline = Instant::now() + Duration::from_secs(60);
        while primary(&bench) == before {
            assert!(Instant::now() < deadline, "{before} still leads");
        }
    });

    steps.step("restart of a replica starts its server again, and no other one", || {
        let before = primary(&bench);
        let key = replica(before);
        std::thread::sleep(Duration::from_secs(1));
        let since = now(key);
        let (code, events) = bench.follow(&["restart", NAME, key, "--yes"]).end();
        assert_eq!((code, restarted(&events)), (0, vec![key.to_owned()]), "{:#?}", events.last());
        assert_eq!(NODES.map(|other| starts(other, &since)), NODES.map(|other| u8::from(other == key).to_string()));
        assert_eq!(primary(&bench), before);
    });

    steps.step("restart, with a replica away, is refused and starts no server", || {
        let before = primary(&bench);
        let away = replica(before);
        let since = now(away);
        node(away, "systemctl stop patroni");
        let (code, error) = bench.fail(&["restart", NAME, "--yes"]);
        assert_eq!((code, error["code"].as_str()), (1, Some("restart-refused")), "{error:#}");
        assert!(causes(&error).contains(&format!("{away}: Patroni does not answer")), "{error:#}");
        assert_eq!(NODES.map(|key| starts(key, &since)), ["0"; 3]);
        node(away, "systemctl start patroni");
        assert_eq!(primary(&bench), before);
    });

    steps.step("restart that is killed is continued, starts each server once, and the primary hands over", || {
        let before = primary(&bench);
        std::thread::sleep(Duration::from_secs(1));
        let since = now(before);
        let command = ["restart", NAME, "--yes"];
        let mut run = bench.follow(&command);
        run.wait_for("restart", |event| event["type"] == "restarted");
        run.kill();
        let (code, events) = bench.follow(&command).end();
        // Patroni may have been asked for the second replica already.
        let order = restarted(&events);
        let last = order.last().is_some_and(|key| key == before);
        assert!(code == 0 && order.len() < 3 && last, "{order:?} {:#?}", events.last());
        println!("   {}, {} s without a primary", order.join(", "), moved(&events).0);
        assert_eq!(NODES.map(|key| starts(key, &since)), ["1"; 3]);
        assert_ne!(primary(&bench), before);
        let done = bench.act(&["restart", NAME, "--pending", "--yes"]);
        assert!(done["changed"] == false && done["message"].as_str().unwrap().contains("no setting waits"), "{done:#}");
        unlocked(&bench);
    });

    steps.step("reinit of the primary is refused", || {
        let before = primary(&bench);
        let (code, error) = bench.fail(&["reinit", NAME, before, "--yes"]);
        assert_eq!((code, error["code"].as_str()), (1, Some("reinit-refused")), "{error:#}");
        assert!(causes(&error).contains(&format!("{before} is the primary")), "{error:#}");
    });

    steps.step("reinit of a replica copies the data, keeps the old data aside and shows it in status", || {
        let key = replica(primary(&bench));
        let before = ask(key, "SELECT pg_postmaster_start_time()");
        let done = bench.act(&["reinit", NAME, key, "--yes"]);
        println!("   {}", done["message"]);
        primary(&bench);
        assert_ne!(ask(key, "SELECT pg_postmaster_start_time()"), before);
        let notices = bench.status()["notices"].as_array().unwrap().clone();
        let kept = notices.iter().find(|notice| notice["code"] == "copy-kept").expect("a notice about the old data");
        assert_eq!(kept["node"], key, "{kept:#}");
        assert_eq!(node(key, "ls -d /var/lib/postgresql/*/*.diverged-*/PG_VERSION | wc -l"), "1");
    });

    if std::env::var_os("HACTL_TEST_LONG").is_some() {
        let mut diverged = None;
        steps.step(
            "status, of a primary that went on alone and cannot be rewound, shows member-diverged within 60 s",
            || {
                let key = primary(&bench);
                diverge(&bench, key);
                let began = Instant::now();
                let found = loop {
                    let status = bench.status();
                    let problems = status["problems"].as_array().unwrap().clone();
                    let found = problems.into_iter().find(|problem| problem["code"] == "member-diverged");
                    if let Some(found) = found {
                        break found;
                    }
                    assert!(began.elapsed() < Duration::from_secs(60), "{status:#}");
                    std::thread::sleep(Duration::from_millis(500));
                };
                println!("   after {:.1} s: {}", began.elapsed().as_secs_f64(), found["message"]);
                assert_eq!(found["node"], key, "{found:#}");
                diverged = Some(key);
            },
        );
        steps.step("reinit that is killed completes by the same command, and keeps the diverged data", || {
            let key = diverged.expect("a member diverged");
            let before = kept(key);
            let mut run = bench.follow(&["reinit", NAME, key, "--yes"]);
            run.wait_for("move", |event| event["step"].as_str().is_some_and(|step| step.contains("moving the data")));
            std::thread::sleep(Duration::from_millis(300));
            run.kill();
            let done = bench.act(&["reinit", NAME, key, "--yes"]);
            println!("   {}", done["message"]);
            primary(&bench);
            assert_eq!(ask(key, "SELECT to_regclass('alone') IS NULL"), "t");
            let kept: Vec<String> = kept(key).into_iter().filter(|path| !before.contains(path)).collect();
            println!("   kept: {kept:?}");
            let rows = |path: &String| node(key, &format!("cat {path}/alone 2>/dev/null || :"));
            assert!(kept.iter().any(|path| rows(path) == "diverged"), "{kept:?}");
        });
        steps.step("reinit, without room for a second copy, asks by name, and a killed one is completed", || {
            let key = replica(primary(&bench));
            confine(key);
            primary(&bench);
            let (code, error) = bench.fail(&["reinit", NAME, key, "--yes"]);
            assert_eq!((code, error["code"].as_str()), (1, Some("reinit-refused")), "{error:#}");
            assert!(causes(&error).contains("too little to keep its data"), "{error:#}");
            assert!(error["hint"].as_str().unwrap().contains(&format!("--allow-destroy {key}")), "{error:#}");
            let before = ask(key, "SELECT pg_postmaster_start_time()");
            primary(&bench);
            assert_eq!(ask(key, "SELECT pg_postmaster_start_time()"), before);
            let allowed = ["reinit", NAME, key, "--yes", "--allow-destroy", key];
            let mut run = bench.follow(&allowed);
            run.wait_for("copy", |event| event["step"].as_str().is_some_and(|step| step.contains(" of about ")));
            run.kill();
            let done = bench.act(&allowed);
            println!("   {}", done["message"]);
            primary(&bench);
            assert_ne!(ask(key, "SELECT pg_postmaster_start_time()"), before);
            // The copy of the killed run goes on by itself. If it has ended, it may be small enough to be kept.
            let unfinished = |path: &String| node(key, &format!("ls {path}/backup_label 2>/dev/null || :"));
            assert!(kept(key).iter().all(|path| unfinished(path).is_empty()), "{:?}", kept(key));
        });
    }

    steps.step("up, with a member that a packet filter shuts out, names it and removes the new rules", || {
        let primary_is = primary(&bench);
        let from = replica(primary_is);
        let to = NODES.into_iter().find(|key| *key != primary_is && *key != from).unwrap();
        let drop = format!(
            "nft add table ip strange && nft add chain ip strange input '{{ type filter hook input priority -10; }}' && \
             nft add rule ip strange input ip saddr {} tcp dport 8008 ct state new drop",
            bench.address(from)
        );
        node(to, &drop);
        // Rules that no run has confirmed are loaded again.
        for key in NODES {
            node(key, "rm /etc/hactl/firewall.nft");
        }
        let up = ["up", NAME, "--no-verify", "--yes"];
        let (code, error) = bench.fail(&up);
        assert_eq!((code, error["code"].as_str()), (1, Some("firewall-blocks")), "{error:#}");
        let cause = format!("{from} could not connect to {}/8008 within 3 s", bench.address(to));
        assert_eq!(causes(&error), cause, "{error:#}");
        let look = "nft list table inet hactl >/dev/null 2>&1 && echo filtered; ls /run/hactl-firewall* 2>/dev/null || :";
        // They were loaded on one machine first.
        assert_eq!(NODES.map(|key| node(key, look)).iter().filter(|said| said.is_empty()).count(), 1);
        node(to, "nft delete table ip strange");
        bench.act(&up);
        assert_eq!(NODES.map(|key| node(key, look)), ["filtered"; 3]);
        primary(&bench);
    });

    steps.step("up at a terminal, with a restart of the primary, leaves it for `n` and does it for `yes`", || {
        bench.write_file(&file("max_connections: 150"));
        let before = primary(&bench);
        let up = ["up", NAME, "--no-verify"];
        let question = "or press Enter to leave it:";
        let no = terminal::answer(&bench, &up, question, "n\n");
        assert!(
            no.took > 0.0 && no.code == 1 && no.screen.contains("waits for a restart, which interrupts writes"),
            "{}: {}",
            no.code,
            no.screen
        );
        let shown = |key: &str| ask(key, "SHOW max_connections");
        assert!(NODES.iter().all(|key| shown(key) == if *key == before { "100" } else { "150" }), "{}", no.screen);
        let yes = terminal::answer(&bench, &up, question, "yes\n");
        assert!(yes.took > 0.0 && yes.code == 0, "{}: {}", yes.code, yes.screen);
        primary(&bench);
        assert_eq!(NODES.map(shown), ["150"; 3]);
    });

    steps.step("application, after all steps, finds every row", || {
        let (acknowledged, failed) = application.written();
        println!("   {acknowledged} rows acknowledged, {failed} failed");
        application.finish()
    });
    steps.finish();
}
