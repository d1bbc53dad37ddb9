//! Real downloads: needs a package index, the Go module proxy and Go. Bounded by the deadlines below.
//!
//! Without `HACTL_TEST_DOWNLOADS=1` nothing is downloaded and the tests say so, since a machine without
//! a network must be able to run the quick tests.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use hactl::{
    configure,
    context::{Context, Dirs},
    event::{Event, Events},
    exec::Command,
    fetch::{self, Arch},
    model::{EtcdVersion, PythonVersion},
};
use tokio::sync::mpsc::Receiver;

const DEADLINE: Duration = Duration::from_secs(600);

/// A context whose cache is `cache`, or none where downloads are not asked for.
fn context(cache: &Path) -> Option<(Context, Receiver<Event>)> {
    let mut env: BTreeMap<String, String> = std::env::vars().collect();
    if env.get("HACTL_TEST_DOWNLOADS").is_none_or(|value| value != "1") {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: HACTL_TEST_DOWNLOADS=1 is not set");
        }
        return None;
    }
    env.insert("HACTL_CACHE_DIR".to_owned(), cache.display().to_string());
    let (events, receiver) = Events::channel();
    Some((Context { dirs: Dirs::new(cache, &env), env, events, stop: Default::default() }, receiver))
}

/// Keeps the channel from filling up.
fn drain(mut events: Receiver<Event>) {
    tokio::spawn(async move { while events.recv().await.is_some() {} });
}

#[tokio::test]
async fn etcd_is_built_checked_and_cached() {
    let temp = tempfile::tempdir().unwrap();
    let Some((context, events)) = context(temp.path()) else { return };
    drain(events);
    let arch = Arch::here().unwrap();
    let version: EtcdVersion = "3.6.16".parse().unwrap();
    let fetch = async || fetch::etcd(&context, version, arch, None).await;
    let dir = tokio::time::timeout(DEADLINE, fetch()).await.unwrap().unwrap();
    for (program, argument) in [("etcd", "--version"), ("etcdctl", "version"), ("etcdutl", "version")] {
        let done = Command::new(dir.join(program)).arg(argument).succeed(&context, |_| ()).await.unwrap();
        assert!(done.stdout.contains("3.6.16"), "{}", done.stdout);
    }
    let started = std::time::Instant::now();
    fetch().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "the second time nothing is built");
}

#[tokio::test]
async fn patronis_wheels_install_without_an_index() {
    let temp = tempfile::tempdir().unwrap();
    let Some((context, events)) = context(temp.path()) else { return };
    drain(events);
    let arch = Arch::here().unwrap();
    for python in ["3.10", "3.11", "3.12", "3.13"] {
        let python: PythonVersion = python.parse().unwrap();
        let work = fetch::patroni_wheels(&context, "4.1.5", python, arch);
        let dir = tokio::time::timeout(DEADLINE, work).await.unwrap().unwrap();
        let names: Vec<_> =
            fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().all(|name| name.ends_with(".whl")), "{names:?}");
        for wanted in ["patroni-4.1.5-", "psycopg_binary-", "python_etcd-"] {
            assert!(names.iter().any(|name| name.starts_with(wanted)), "{wanted} in {names:?}");
        }
        // What the role does on a node: no index, only the directory. Only with the same Python, since
        // pip decides by the interpreter it runs in which packages a version needs.
        let probe = ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"];
        let interpreter = configure::environment(&context).await.unwrap().python;
        let own = Command::new(&interpreter).args(probe).succeed(&context, |_| ()).await.unwrap();
        if own.stdout.trim() == python.to_string() {
            let target = temp.path().join("target");
            Command::new(&interpreter)
                .args(["-m", "pip", "install", "--no-index", "--no-cache-dir", "--ignore-installed"])
                .args(["--find-links".to_owned(), dir.display().to_string()])
                .args(["--target".to_owned(), target.display().to_string()])
                .args(["patroni[etcd3]==4.1.5", "psycopg[binary]"])
                .succeed(&context, |_| ())
                .await
                .unwrap();
            let import = Command::new(&interpreter)
                .args(["-c", "import patroni.dcs.etcd3, psycopg; print(psycopg.pq.__impl__)"])
                .env("PYTHONPATH", target.display().to_string());
            assert_eq!(import.succeed(&context, |_| ()).await.unwrap().stdout.trim(), "binary");
        }
    }
}

#[tokio::test]
async fn ansibles_environment_runs() {
    let temp = tempfile::tempdir().unwrap();
    let Some((context, events)) = context(temp.path()) else { return };
    drain(events);
    let environment = tokio::time::timeout(DEADLINE, configure::environment(&context)).await.unwrap().unwrap();
    let done = Command::new(&environment.ansible_playbook).arg("--version").succeed(&context, |_| ()).await.unwrap();
    assert!(done.stdout.contains("[core 2."), "{}", done.stdout);
    assert!(environment.mitogen_strategy_dir.join("mitogen_linear.py").exists());
    let started = std::time::Instant::now();
    configure::environment(&context).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "the second time nothing is made");
}
