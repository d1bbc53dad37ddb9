//! The certificates that the services of a machine serve, and those that its files hold: asked on the machine itself, in one
//! command, so that a port that asks for a certificate of its own is among them.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use x509_parser::pem::parse_x509_pem;

use super::{
    door::{Door, TlsService},
    on,
    probe::{Observed, ProbeError},
};
use crate::{
    access::{Access, PATIENCE},
    fleet::{Fleet, FleetNode},
    model::InstanceKey,
    ssh::{Remote, quoted},
};

/// Prints one line of JSON for each service.
const PROGRAM: &str = include_str!("served.py");

/// A certificate, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub not_after: Timestamp,
    /// Its fingerprint.
    pub sha256: [u8; 32],
}

impl Stamp {
    pub(crate) fn of_pem(pem: &str) -> Option<Self> {
        let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
        let not_after = Timestamp::from_second(pem.parse_x509().ok()?.validity().not_after.timestamp()).ok()?;
        Some(Self { not_after, sha256: Sha256::digest(&pem.contents).into() })
    }
}

/// What one service serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub service: TlsService,
    /// None if the port serves no certificate now.
    pub served: Option<Stamp>,
    /// The certificate on the machine's disk; none if it is not a file of hactl's roles.
    pub file: Option<Stamp>,
    /// The certificate of the authority on the machine's disk.
    pub authority: Option<Stamp>,
    /// When this was seen, by this machine's clock.
    pub at: Timestamp,
}

/// What the services of each machine that SSH reaches serve, or why the machine does not say.
pub type Certificates = BTreeMap<InstanceKey, Observed<Vec<Served>>>;

/// Each service of each machine that answered, with the machine.
pub(crate) fn each(certificates: &Certificates) -> impl Iterator<Item = (&InstanceKey, &Served)> {
    certificates.iter().flat_map(|(key, served)| served.iter().flatten().map(move |one| (key, one)))
}

/// Asks one machine.
async fn ask(remote: &Remote, node: &FleetNode) -> Observed<Vec<Served>> {
    let doors: Vec<Door> = doors(node);
    let theirs = node.found.is_some();
    let services: Vec<_> = doors
        .iter()
        .filter(|door| door.endpoint.tls)
        .map(|door| {
            let path = |extension: &str| (!theirs).then(|| door.path(extension));
            let authority = (!theirs).then(|| format!("{}/{}.crt", door.files[0], door.authority));
            // PgBouncer refuses a certificate that it did not ask for.
            let key = path("key").filter(|_| door.service != TlsService::Pooler);
            let asked = matches!(door.service, TlsService::Postgresql | TlsService::Pooler);
            let starts = if asked { "postgres" } else { "tls" };
            json!({
                "service": door.service, "host": door.endpoint.host, "port": door.endpoint.port, "starts": starts,
                "file": path("crt"), "key": key, "authority": authority,
            })
        })
        .collect();
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let count = services.len();
    let command = format!("python3 -I - {}", quoted(&serde_json::Value::Array(services).to_string()));
    let done = remote.run(&command, PROGRAM.as_bytes(), PATIENCE).await;
    let done = done.map_err(|error| ProbeError::Other(error.causes().join(": ")))?;
    whole(done.output(), count, Timestamp::now())
}

/// The answer of the program, if it speaks of all services.
fn whole(output: Result<String, String>, count: usize, at: Timestamp) -> Observed<Vec<Served>> {
    let served = parse(&output.map_err(ProbeError::Other)?, at);
    match served.len() == count {
        true => Ok(served),
        false => Err(ProbeError::Other(format!("the answer speaks of {} of {count} services", served.len()))),
    }
}

/// Every port of a machine that serves a certificate.
pub(crate) fn doors(node: &FleetNode) -> Vec<Door> {
    on(&node.node).flat_map(|component| (component.doors)(node)).collect()
}

/// Asks all machines at once.
pub(crate) async fn ask_all(fleet: &Fleet, access: &Access) -> Certificates {
    let asked = fleet.nodes.values().filter(|node| !node.node.roles.is_empty()).map(async |node| {
        let remote = super::reach(access, node).await.ok()?;
        Some((node.key().clone(), ask(&remote, node).await))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

#[derive(Deserialize)]
struct Line {
    service: TlsService,
    served: Option<String>,
    file: Option<String>,
    authority: Option<String>,
}

fn parse(text: &str, at: Timestamp) -> Vec<Served> {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let stamp = |pem: Option<String>| pem.and_then(|pem| Stamp::of_pem(&pem));
    lines
        .map(|Line { service, served, file, authority }| Served {
            service,
            served: stamp(served),
            file: stamp(file),
            authority: stamp(authority),
            at,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        process::Command,
        sync::Arc,
        thread,
    };

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls_pki_types::{PrivateKeyDer, pem::PemObject};

    use super::*;

    /// A certificate that ended long ago, as a server serves it, and its PEM.
    fn expired() -> (Arc<rustls::ServerConfig>, String) {
        let mut params = CertificateParams::new(["elsewhere".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 2, 3));
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![made.der().clone()], private).unwrap();
        (Arc::new(config), made.pem())
    }

    /// Serves one client, and tells whether it ended the connection within TLS; one of PostgreSQL first asks for TLS.
    fn serve(config: &Arc<rustls::ServerConfig>, asked_for: bool) -> (u16, thread::JoinHandle<bool>) {
        let (listener, config) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::clone(config));
        let port = listener.local_addr().unwrap().port();
        let answer = move |mut client: TcpStream| {
            if asked_for {
                let mut request = [0; 8];
                client.read_exact(&mut request).unwrap();
                assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
                client.write_all(b"S").unwrap();
            }
            let mut connection = rustls::ServerConnection::new(config).unwrap();
            while connection.is_handshaking() {
                connection.complete_io(&mut client).unwrap();
            }
            // Without the end of TLS this is an error, which PostgreSQL logs.
            while connection.read_tls(&mut client).unwrap() > 0 {
                if connection.process_new_packets().unwrap().peer_has_closed() {
                    return true;
                }
            }
            false
        };
        let server = thread::spawn(move || answer(listener.accept().unwrap().0));
        (port, server)
    }

    #[test]
    fn answer_that_lacks_a_service_or_fails_is_an_error() {
        let now = Timestamp::now();
        let line = r#"{"service": "etcd", "served": null, "file": null, "authority": null}"#;
        assert_eq!(whole(Ok(line.to_owned()), 1, now).unwrap().len(), 1);
        let said = whole(Ok(line.to_owned()), 2, now).unwrap_err().to_string();
        assert_eq!(said, "the answer speaks of 1 of 2 services");
        let refused = Err("the script exited with status 127: python3: not found".to_owned());
        assert!(whole(refused, 1, now).unwrap_err().to_string().contains("not found"));
    }

    #[test]
    fn expired_certificate_of_each_kind_of_service_is_read_and_compared_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let (config, pem) = expired();
        let (_, other) = expired();
        let file = dir.path().join("other.crt");
        std::fs::write(&file, &other).unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let service = |service: TlsService, port: u16, starts: &str| {
            json!({"service": service, "host": "127.0.0.1", "port": port, "starts": starts, "file": file, "key": null,
                   "authority": null})
        };
        let (patroni, at_patroni) = serve(&config, false);
        let (postgres, at_postgres) = serve(&config, true);
        let services = json!([
            service(TlsService::Patroni, patroni, "tls"),
            service(TlsService::Postgresql, postgres, "postgres"),
            service(TlsService::Etcd, closed, "tls"),
        ]);
        let done = Command::new("python3").args(["-I", "-c", PROGRAM, &services.to_string()]).output().unwrap();
        assert!(at_patroni.join().unwrap() && at_postgres.join().unwrap());
        let now = Timestamp::now();
        let seen = parse(&String::from_utf8_lossy(&done.stdout), now);
        let found = |service, served| Served { service, served, file: Stamp::of_pem(&other), authority: None, at: now };
        let served = Stamp::of_pem(&pem);
        assert_eq!(served.as_ref().unwrap().not_after.to_string(), "2021-02-03T00:00:00Z");
        assert_eq!(
            seen,
            [
                found(TlsService::Patroni, served.clone()),
                found(TlsService::Postgresql, served),
                found(TlsService::Etcd, None),
            ]
        );
    }
}
