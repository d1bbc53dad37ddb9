//! One SSH session to a machine for all who ask for it at the same time.

use std::{
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hactl::{
    access::{Access, Keys, Shown},
    fleet::FleetNode,
    model::{Secret, SshTarget},
    ssh::SshKeys,
};
use serde_json::json;
use tokio_postgres::config::SslMode;

use super::sshd;

/// Counts the connections to a port of its own, and hands each to `on_accept`.
fn counted(on_accept: impl Fn(TcpStream) + Send + 'static) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    std::thread::spawn(move || {
        listener.incoming().map_while(Result::ok).for_each(|stream| {
            counter.fetch_add(1, Ordering::SeqCst);
            on_accept(stream);
        });
    });
    (port, count)
}

/// Connects both ways to `port`.
fn relay(client: &TcpStream, port: u16) {
    let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for (from, to) in [(client, &server), (&server, client)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
}

fn node(target: &SshTarget, port: u16) -> FleetNode {
    let host_key = target.host_key.as_deref();
    let ssh = json!({"host": "127.0.0.1", "port": port, "user": target.user, "sudo": false, "host_key": host_key});
    let node = json!({
        "key": "one", "hostname": "pg-one", "roles": ["etcd", "patroni"], "memory_mib": 768, "cores": 1,
        "disk_gb": null, "slot": 10, "address": "10.9.9.1", "ssh": ssh, "found": null,
    });
    serde_json::from_value(node).unwrap()
}

fn access(ssh: SshKeys) -> Access {
    let tls = Arc::new(Shown::default()).only_these().unwrap();
    Access::new(Keys {
        ssh,
        patroni_tls: Arc::clone(&tls),
        etcd_tls: Arc::clone(&tls),
        postgres_tls: Arc::clone(&tls),
        clients_tls: tls,
        postgres_ssl: SslMode::Require,
        superuser: ("postgres".to_owned(), Secret::new(String::new())),
        restapi: None,
    })
}

#[tokio::test]
async fn callers_at_the_same_time_share_one_connection() {
    let sshd = sshd();
    let server = sshd.target.port;
    let (port, connections) = counted(move |client| relay(&client, server));
    let node = node(&sshd.target, port);
    let access = access(sshd.key.clone());
    // sshd may not listen yet: the relay would count a connection that it cannot pass on.
    while TcpStream::connect(("127.0.0.1", server)).is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (first, second) = tokio::join!(access.connect(&node), access.connect(&node));
    let later = access.connect(&node).await;
    for remote in [first, second, later] {
        assert_eq!(remote.unwrap().run("echo here", b"", super::SOON).await.unwrap().stdout, "here\n");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn callers_of_a_silent_machine_wait_once_and_a_later_call_connects_again() {
    let (sender, held) = std::sync::mpsc::channel();
    let (port, connections) = counted(move |client| drop(sender.send(client)));
    let target = SshTarget {
        host: "127.0.0.1".to_owned(),
        port,
        user: "root".to_owned(),
        sudo: false,
        host_key: Some("ssh-ed25519 AAAA".to_owned()),
        bastion: None,
    };
    let node = node(&target, port);
    let access = access(SshKeys::from(Secret::new(String::new())));
    let started = Instant::now();
    // The one whose call begins the attempt gives up; the attempt goes on for the others.
    let impatient = tokio::time::timeout(Duration::from_millis(200), access.connect(&node));
    let (impatient, second, third) = tokio::join!(impatient, access.connect(&node), access.connect(&node));
    assert!(impatient.is_err());
    let (second, third) = (second.unwrap_err(), third.unwrap_err());
    assert_eq!(second.causes, third.causes);
    assert_eq!(connections.load(Ordering::SeqCst), 1, "{second}");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());

    let _ = tokio::time::timeout(Duration::from_millis(500), access.connect(&node)).await;
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    drop(held);
}
