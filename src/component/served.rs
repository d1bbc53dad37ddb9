//! The certificates that the services of a machine serve, and those that its files hold: asked on the machine itself, in one
//! command, so that a port that asks for a certificate of its own is among them.

use futures_util::future::join_all;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use x509_parser::pem::parse_x509_pem;

use super::of_roles;
use crate::{
    access::{Access, PATIENCE},
    fleet::{Fleet, FleetNode},
    model::{Certificate, Endpoint, InstanceKey},
    ssh::{Remote, quoted},
};

/// Prints one line of JSON for each service.
const PROGRAM: &str = include_str!("served.py");

/// A port that serves a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) service: TlsService,
    pub(crate) certificate: Certificate,
    pub(crate) endpoint: Endpoint,
    /// The directory and the name, without the extension, of the role's files for it.
    pub(crate) files: [&'static str; 2],
    /// The name of its authority's file there, in the same form.
    pub(crate) authority: &'static str,
}

impl Door {
    /// The role's certificate, or its key.
    pub(crate) fn path(&self, extension: &str) -> String {
        let [directory, name] = self.files;
        format!("{directory}/{name}.{extension}")
    }
}

/// A service that serves a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsService {
    /// etcd's client port.
    Etcd,
    /// etcd's port for its other members.
    EtcdPeer,
    /// Patroni's REST API.
    Patroni,
    /// PostgreSQL.
    Postgresql,
}

impl TlsService {
    /// Its name in messages.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::EtcdPeer => "etcd's peer port",
            Self::Patroni => "Patroni",
            Self::Postgresql => "PostgreSQL",
        }
    }
}

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

/// Asks one machine; nothing if it does not answer.
pub(crate) async fn ask(remote: &Remote, node: &FleetNode) -> Vec<Served> {
    let doors: Vec<Door> = doors(node);
    let theirs = node.found.is_some();
    let services = doors.iter().filter(|door| door.endpoint.tls).map(|door| {
        let path = |extension: &str| (!theirs).then(|| door.path(extension));
        let authority = (!theirs).then(|| format!("{}/{}.crt", door.files[0], door.authority));
        let starts = if door.service == TlsService::Postgresql { "postgres" } else { "tls" };
        json!({
            "service": door.service, "host": door.endpoint.host, "port": door.endpoint.port, "starts": starts,
            "file": path("crt"), "key": path("key"), "authority": authority,
        })
    });
    let services = serde_json::Value::Array(services.collect()).to_string();
    let command = format!("python3 -I - {}", quoted(&services));
    let Ok(done) = remote.run(&command, PROGRAM.as_bytes(), PATIENCE).await else { return Vec::new() };
    parse(&done.stdout, Timestamp::now())
}

/// Every port of a machine that serves a certificate.
pub(crate) fn doors(node: &FleetNode) -> Vec<Door> {
    of_roles(&node.node.roles).flat_map(|component| (component.doors)(node)).collect()
}

/// Asks all machines at once.
pub(crate) async fn ask_all(fleet: &Fleet, access: &Access) -> Vec<(InstanceKey, Vec<Served>)> {
    let asked = fleet.nodes.values().filter(|node| !node.node.roles.is_empty()).map(async |node| {
        let seen = match super::reach(access, node).await {
            Ok(remote) => ask(&remote, node).await,
            Err(_) => Vec::new(),
        };
        (node.key().clone(), seen)
    });
    join_all(asked).await
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
