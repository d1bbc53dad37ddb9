//! Downloads. Those that need a package index, the Go module proxy and Go are ignored by default, since a machine without
//! a network must be able to run the quick tests. The deadlines below bound them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hactl::{
    ansible,
    context::{Context, Dirs},
    event::{Event, Events},
    exec::Command,
    fetch::{self, LockFile},
    model::{Arch, EtcdSource, EtcdVersion, PythonVersion},
};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc::Receiver,
};

const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

const DEADLINE: Duration = Duration::from_secs(600);

fn lock_file(dir: &Path) -> LockFile {
    LockFile::read(dir.join("pg.lock.json")).unwrap()
}

/// A release server that refuses every connection.
fn nowhere() -> EtcdSource {
    EtcdSource::Mirror("http://127.0.0.1:1".to_owned())
}

/// Keeps the channel from filling up.
fn drain(mut events: Receiver<Event>) {
    tokio::spawn(async move { while events.recv().await.is_some() {} });
}

#[tokio::test]
#[ignore = "downloads from the Go module proxy: `make test` runs it"]
async fn etcd_from_sources_is_built_checked_and_cached() {
    let temp = tempfile::tempdir().unwrap();
    let (context, events) = fresh(temp.path(), "cache");
    drain(events);
    let arch = Arch::here().unwrap();
    let version: EtcdVersion = "3.6.16".parse().unwrap();
    let lock = lock_file(temp.path());
    let fetch = async || fetch::etcd(&context, version, arch, Some(&nowhere()), &lock).await;
    let dir = tokio::time::timeout(DEADLINE, fetch()).await.unwrap().unwrap();
    for (program, argument) in [("etcd", "--version"), ("etcdctl", "version"), ("etcdutl", "version")] {
        let done = Command::new(dir.join(program)).arg(argument).succeed(&context, |_| ()).await.unwrap();
        assert!(done.stdout.contains("3.6.16"), "{}", done.stdout);
    }
    let started = std::time::Instant::now();
    fetch().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "the second time nothing is built");
    assert!(!temp.path().join("pg.lock.json").exists(), "everything was pinned");

    // The same sources under another version, whose sums in the lock file are not those of the real one.
    let pinned = |name: &str| fs::read_to_string(format!("{SOURCES}/src/fetch/etcd/3.6.16/{name}")).unwrap();
    let lines = |name: &str| -> Vec<String> {
        pinned(name).replace("/v3 v3.6.16", "/v3 v3.6.15").lines().map(str::to_owned).collect()
    };
    let build = serde_json::json!({"go.mod": lines("go.mod"), "go.sum": lines("go.sum")});
    let text = serde_json::json!({"version": 1, "etcd": {"3.6.15": {"build": build}}}).to_string();
    fs::write(temp.path().join("pg.lock.json"), &text).unwrap();
    let (version, lock) = ("3.6.15".parse().unwrap(), lock_file(temp.path()));
    let source = nowhere();
    let work = fetch::etcd(&context, version, arch, Some(&source), &lock);
    let error = tokio::time::timeout(DEADLINE, work).await.unwrap().unwrap_err().to_string();
    for part in
        ["checksum mismatch", "downloaded: h1:", "go.sum:     h1:", "etcd 3.6.15, build in ", "delete that entry"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(fs::read_to_string(temp.path().join("pg.lock.json")).unwrap(), text);
}

/// The release server of a test: what it has, and what it was asked for.
struct Server {
    address: String,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/etcd", listener.local_addr().unwrap());
        let server = Self { address, files: Default::default(), asked: Default::default() };
        let (files, asked) = (server.files.clone(), server.asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = files.lock().unwrap().get(&path).cloned();
                asked.lock().unwrap().push(path);
                let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
                let body = body.unwrap_or_default();
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
            }
        });
        server
    }

    fn source(&self) -> EtcdSource {
        EtcdSource::Mirror(self.address.clone())
    }

    fn put(&self, path: &str, body: Vec<u8>) {
        self.files.lock().unwrap().insert(path.to_owned(), body);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A release with programs that hold `text`, and its line of SHA256SUMS.
fn release(text: &str, name: &str) -> (Vec<u8>, String) {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for program in ["etcd", "etcdctl", "etcdutl"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_cksum();
        tar.append_data(&mut header, format!("etcd/{program}"), text.as_bytes()).unwrap();
    }
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    (bytes, format!("{sum}  {name}\n"))
}

/// A `go` that does what hactl asks of it without a network, first on the path.
fn pretended_go(context: &mut Context, dir: &Path) {
    let script = "#!/bin/sh\ncase $1 in\nenv) echo go1.26.0 ;;\n\
                  get) echo \"$3 h1:right=\" >go.sum ;;\n\
                  build) grep -q wrong go.sum && echo 'verifying x: checksum mismatch' && exit 1\n\
                  while [ \"$1\" != -o ]; do shift; done; for p in server etcdctl etcdutl; do cp go.sum \"$2$p\"; done ;;\n\
                  esac\n";
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("go"), script).unwrap();
    fs::set_permissions(bin.join("go"), fs::Permissions::from_mode(0o755)).unwrap();
    context.env.insert("PATH".to_owned(), format!("{}:{}", bin.display(), context.env["PATH"]));
}

/// A context of a run with an empty cache.
fn fresh(dir: &Path, name: &str) -> (Context, Receiver<Event>) {
    let mut env: BTreeMap<String, String> = std::env::vars().collect();
    env.insert("HACTL_CACHE_DIR".to_owned(), dir.join(name).display().to_string());
    let (events, receiver) = Events::channel();
    (Context { dirs: Dirs::new(dir, &env), env, events, stop: Default::default() }, receiver)
}

/// Where and why from there, of every download.
fn reasons(events: &mut Receiver<Event>) -> Vec<String> {
    let mut found = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Download { source, reason, .. } = event {
            found.push(format!("{source}: {reason}"));
        }
    }
    found
}

#[tokio::test]
async fn release_is_checked_against_its_server_first_and_the_lock_file_later() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let (arch, version): (_, EtcdVersion) = (Arch::here().unwrap(), "3.6.15".parse().unwrap());
    let name = format!("etcd-v3.6.15-linux-{arch}.tar.gz");
    let (sums, archive) = ("/etcd/v3.6.15/SHA256SUMS", format!("/etcd/v3.6.15/{name}"));
    let (bytes, line) = release("as released", &name);
    server.put(sums, line.into_bytes());
    server.put(&archive, bytes);
    let fetch = async |context: &Context| {
        fetch::etcd(context, version, arch, Some(&server.source()), &lock_file(temp.path())).await
    };

    let (context, mut events) = fresh(temp.path(), "first");
    let dir = fetch(&context).await.unwrap();
    assert_eq!(fs::read(dir.join("etcdutl")).unwrap(), b"as released");
    assert_eq!(server.asked(), [sums, &archive]);
    assert!(reasons(&mut events)[0].ends_with("from the release's SHA256SUMS and is kept in pg.lock.json"));
    let text = fs::read_to_string(temp.path().join("pg.lock.json")).unwrap();

    // On a second machine the sums are not asked for, and a second time nothing is.
    let (context, mut events) = fresh(temp.path(), "second");
    fetch(&context).await.unwrap();
    assert_eq!(server.asked(), [archive.as_str()]);
    assert!(reasons(&mut events)[0].ends_with("its SHA-256 is in pg.lock.json"));
    fetch(&context).await.unwrap();
    assert_eq!(server.asked(), [""; 0]);

    // Somebody changes the release, and its sums with it.
    let (bytes, line) = release("changed", &name);
    let (was, is) = (text.split('"').find(|part| part.len() == 64).unwrap(), &line[..64]);
    server.put(sums, line.clone().into_bytes());
    server.put(&archive, bytes);
    let (mut context, _events) = fresh(temp.path(), "third");
    pretended_go(&mut context, temp.path());
    let error = fetch(&context).await.unwrap_err().to_string();
    for part in [name.as_str(), was, is, "pg.lock.json", "delete that entry"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(fs::read_to_string(temp.path().join("pg.lock.json")).unwrap(), text);
}

#[tokio::test]
async fn release_without_a_download_is_built_and_cached() {
    let temp = tempfile::tempdir().unwrap();
    let (arch, version): (_, EtcdVersion) = (Arch::here().unwrap(), "3.6.15".parse().unwrap());
    let lock = temp.path().join("pg.lock.json");
    let fetch = async |context: &Context, source: &EtcdSource| {
        fetch::etcd(context, version, arch, Some(source), &lock_file(temp.path())).await
    };

    // A server that takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = EtcdSource::Mirror(format!("http://{}", silent.local_addr().unwrap()));
    let server = Server::start().await;
    for (cache, source) in [("silent", &silent), ("refused", &nowhere()), ("empty", &server.source())] {
        let _ = fs::remove_file(&lock);
        let (mut context, mut events) = fresh(temp.path(), cache);
        pretended_go(&mut context, temp.path());
        let started = Instant::now();
        let dir = fetch(&context, source).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(8), "{cache}: {:?}", started.elapsed());
        assert!(fs::read_to_string(dir.join("etcd")).unwrap().ends_with("h1:right=\n"));
        let reasons = reasons(&mut events);
        assert!(reasons[0].contains("v3.6.15-linux") && reasons[0].contains("not used: "), "{reasons:?}");
        assert!(reasons[1].ends_with("kept in pg.lock.json"), "{reasons:?}");
    }

    // What was built once is built again, whatever the server has by then.
    server.asked();
    let text = fs::read_to_string(&lock).unwrap();
    let (mut context, mut events) = fresh(temp.path(), "again");
    pretended_go(&mut context, temp.path());
    fetch(&context, &server.source()).await.unwrap();
    assert_eq!(server.asked(), [""; 0]);
    let found = reasons(&mut events);
    assert_eq!(found, ["the Go module proxy: built here; every source is pinned in pg.lock.json"]);

    fs::write(&lock, text.replace("h1:right=", "h1:wrong=")).unwrap();
    let error = fetch(&context, &server.source()).await.unwrap_err().to_string();
    assert!(error.contains("checksum mismatch") && error.contains("etcd 3.6.15, build in "), "{error}");
}

#[tokio::test]
#[ignore = "downloads from the package index: `make test` runs it"]
async fn wheels_of_patroni_install_without_an_index() {
    let temp = tempfile::tempdir().unwrap();
    let (context, events) = fresh(temp.path(), "cache");
    drain(events);
    let arch = Arch::here().unwrap();
    let lock = lock_file(temp.path());
    for python in ["3.10", "3.11", "3.12", "3.13"] {
        let python: PythonVersion = python.parse().unwrap();
        let work = fetch::patroni_wheels(&context, "4.1.5", python, arch, &lock);
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
        let interpreter = ansible::environment(&context).await.unwrap().python;
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
    let path = temp.path().join("pg.lock.json");
    assert!(!path.exists(), "everything was pinned");

    // A version that is not pinned, for a Python that needs one package more than the newest one does.
    let fetch = async |version: &str| {
        let python = "3.12".parse().unwrap();
        let lock = lock_file(temp.path());
        tokio::time::timeout(DEADLINE, fetch::patroni_wheels(&context, version, python, arch, &lock)).await.unwrap()
    };
    let dir = fetch("4.1.4").await.unwrap();
    assert!(dir.join("patroni-4.1.4-py3-none-any.whl").exists());
    let text = fs::read_to_string(&path).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    let kept = kept["patroni"]["4.1.4"]["3.12"].as_object().unwrap();
    assert!(kept.contains_key("typing-extensions") && !kept.contains_key("ydiff"), "{text}");
    assert_eq!(kept["psycopg-binary"]["files"].as_object().unwrap().len(), 2, "one for each architecture");
    assert_eq!(fetch("4.1.4").await.unwrap(), dir);

    let right = kept["patroni"]["files"]["patroni-4.1.4-py3-none-any.whl"].as_str().unwrap();
    let wrong = "0".repeat(64);
    fs::write(&path, text.replace(right, &wrong)).unwrap();
    let error = fetch("4.1.4").await.unwrap_err().to_string();
    for part in ["patroni-4.1.4-py3-none-any.whl", right, &wrong, "patroni 4.1.4, Python 3.12 in ", "delete that entry"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error = fetch("4.1.999").await.unwrap_err().to_string();
    assert!(error.contains("No matching distribution") && error.contains("`patroni.version`"), "{error}");
}

#[tokio::test]
#[ignore = "downloads from the package index: `make test` runs it"]
async fn environment_of_ansible_runs() {
    let temp = tempfile::tempdir().unwrap();
    let (context, events) = fresh(temp.path(), "cache");
    drain(events);
    let environment = tokio::time::timeout(DEADLINE, ansible::environment(&context)).await.unwrap().unwrap();
    let done = Command::new(&environment.ansible_playbook).arg("--version").succeed(&context, |_| ()).await.unwrap();
    assert!(done.stdout.contains("[core 2."), "{}", done.stdout);
    assert!(environment.mitogen_strategy_dir.join("mitogen_linear.py").exists());
    let started = std::time::Instant::now();
    ansible::environment(&context).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "the second time nothing is made");
}
