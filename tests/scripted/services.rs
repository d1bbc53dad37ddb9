//! The services of configured machines: etcd's gateway and Patroni's REST API, which answer what hactl asks, and PostgreSQL.
//! All of them use the certificates of the inventory.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex, mpsc::Sender},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, task::AbortHandle};
use tokio_rustls::TlsAcceptor;

use super::{machines::MACHINES, world::Observed};
use crate::common::postgres::DataNode;

// The ports of the roles.
const ETCD: u16 = 2379;
const PATRONI: u16 = 8008;

/// The secret variables of the inventory: those of all hosts, and those of each.
pub(super) struct Inventory {
    all: Value,
    hosts: BTreeMap<&'static str, Value>,
}

impl Inventory {
    pub(super) fn read(dir: &Path) -> Self {
        let read = |file: String| serde_json::from_slice(&fs::read(dir.join(file)).unwrap()).unwrap();
        let hosts = MACHINES.iter().map(|(name, _)| (*name, read(format!("host_vars/{name}/secrets.yml"))));
        Self { all: read("group_vars/all/secrets.yml".to_owned()), hosts: hosts.collect() }
    }

    pub(super) fn digest(&self) -> &str {
        self.all["hactl_digest"].as_str().unwrap()
    }

    /// The certificate and the key of a machine's server.
    fn pair(&self, machine: &str, name: &str) -> (&str, &str) {
        let host = &self.hosts[machine];
        let text = |what: &str| host[format!("{name}_{what}")].as_str().unwrap();
        (text("certificate"), text("key"))
    }

    /// TLS of a machine's server, which wants a client certificate of the control CA.
    fn tls(&self, machine: &str, name: &str) -> TlsAcceptor {
        let (certificate, key) = self.pair(machine, name);
        let mut roots = RootCertStore::empty();
        let ca = self.all["etcd_control_ca"].as_str().unwrap();
        CertificateDer::pem_slice_iter(ca.as_bytes()).for_each(|ca| roots.add(ca.unwrap()).unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_client_cert_verifier(clients);
        let config = config.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap());
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }
}

/// All services of all machines.
pub(super) struct Services {
    runtime: tokio::runtime::Runtime,
    keys: Arc<Mutex<Keys>>,
    running: BTreeMap<(&'static str, &'static str), AbortHandle>,
    data: BTreeMap<&'static str, DataNode>,
}

/// The keys in etcd, each with its value and its lease.
#[derive(Default)]
struct Keys {
    held: BTreeMap<String, (String, u64)>,
    leases: u64,
}

impl Services {
    /// Starts the services that do not run yet. `one` is the primary.
    pub(super) fn start(
        running: Option<Self>,
        inventory: &Inventory,
        addresses: &BTreeMap<&'static str, Ipv4Addr>,
        observed: &Sender<Observed>,
    ) -> Self {
        let mut services = running.unwrap_or_else(|| Self {
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
            keys: Arc::default(),
            running: BTreeMap::new(),
            data: BTreeMap::new(),
        });
        for (name, roles) in MACHINES {
            let address = addresses[name];
            if !services.running.contains_key(&(name, "etcd")) {
                let (keys, observed) = (Arc::clone(&services.keys), observed.clone());
                let answer = move |path: &str, body: &Value| etcd(name, path, body, &keys, &observed);
                services.serve(name, "etcd", (address, ETCD), inventory.tls(name, "etcd_server"), answer);
            }
            if roles.contains("patroni") && !services.running.contains_key(&(name, "patroni")) {
                let answer = move |path: &str, _: &Value| patroni(name, path);
                services.serve(name, "patroni", (address, PATRONI), inventory.tls(name, "patroni"), answer);
                let leads = if name == "one" { None } else { Some(addresses["one"]) };
                let (certificate, key) = inventory.pair(name, "patroni_postgresql");
                services.data.insert(name, DataNode::start(name, address, leads, certificate, key));
            }
        }
        services
    }

    /// Stops the service of a unit, and PostgreSQL with Patroni.
    pub(super) fn stop(&mut self, machine: &str, unit: &str) {
        self.running.retain(|service, task| {
            let stops = *service == (machine, unit);
            if stops {
                task.abort();
            }
            !stops
        });
        if unit == "patroni" {
            self.data.remove(machine);
        }
    }

    /// The keys that exist.
    pub(super) fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().held.keys().cloned().collect()
    }

    fn serve(
        &mut self,
        machine: &'static str,
        unit: &'static str,
        door: (Ipv4Addr, u16),
        tls: TlsAcceptor,
        answer: impl Fn(&str, &Value) -> Answer + Clone + Send + Sync + 'static,
    ) {
        let listener = self.runtime.block_on(TcpListener::bind(door)).unwrap();
        let task = self.runtime.spawn(async move {
            // Dropped with the task, which ends them.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer) = (tls.clone(), answer.clone());
                connections.spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(move |request| respond(request, answer.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        self.running.insert((machine, unit), task.abort_handle());
    }
}

/// A response, which waits for `after`.
struct Answer {
    status: u16,
    body: Value,
    after: Option<oneshot::Receiver<()>>,
}

impl Answer {
    const fn new(status: u16, body: Value) -> Self {
        Self { status, body, after: None }
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: impl Fn(&str, &Value) -> Answer,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let Answer { status, body, after } = answer(&path, &serde_json::from_slice(&body).unwrap_or_default());
    if let Some(after) = after {
        let _ = after.await;
    }
    Ok(Response::builder().status(status).body(Full::new(Bytes::from(body.to_string()))).unwrap())
}

fn etcd(machine: &str, path: &str, body: &Value, keys: &Mutex<Keys>, observed: &Sender<Observed>) -> Answer {
    let id = |name: &str| MACHINES.iter().position(|(other, _)| *other == name).unwrap() + 1;
    let mut keys = keys.lock().unwrap();
    let lease = |body: &Value| body["ID"].as_str().and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
    let report = |change: String| {
        let (go, after) = oneshot::channel();
        let _ = observed.send(Observed::EtcdChanged { change, go });
        Some(after)
    };
    let text = |value: &Value| String::from_utf8(BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
    let found = |key: &str, held: Option<&(String, u64)>| match held {
        Some((value, lease)) => json!({"kvs": [{
            "key": BASE64_STANDARD.encode(key), "value": BASE64_STANDARD.encode(value), "lease": lease.to_string(),
        }]}),
        None => json!({}),
    };
    Answer::new(
        200,
        match path {
            "/health" => json!({"health": "true"}),
            "/v3/maintenance/status" => {
                json!({"header": {"member_id": id(machine).to_string()}, "version": "3.6.16", "leader": "1"})
            }
            "/v3/cluster/member/list" => {
                json!({"members": MACHINES.map(|(name, _)| json!({"ID": id(name).to_string(), "name": name}))})
            }
            "/v3/maintenance/alarm" => json!({}),
            "/v3/lease/grant" => {
                keys.leases += 1;
                json!({"ID": keys.leases.to_string(), "TTL": body["TTL"]})
            }
            "/v3/lease/keepalive" => json!({"result": {"ID": body["ID"], "TTL": "30"}}),
            "/v3/lease/timetolive" => json!({"ID": body["ID"], "TTL": "30"}),
            "/v3/lease/revoke" => {
                let lease = lease(body);
                let gone = keys.held.iter().find(|(_, (_, other))| *other == lease).map(|(key, _)| key.clone());
                let after = gone.and_then(|key| {
                    keys.held.remove(&key);
                    report(format!("{key} is removed"))
                });
                return Answer { after, ..Answer::new(200, json!({})) };
            }
            "/v3/kv/range" => {
                let key = text(&body["key"]);
                found(&key, keys.held.get(&key))
            }
            "/v3/kv/txn" => {
                let put = &body["success"][0]["request_put"];
                let key = text(&put["key"]);
                if let Some(held) = keys.held.get(&key) {
                    return Answer::new(200, json!({"responses": [{"response_range": found(&key, Some(held))}]}));
                }
                let lease = put["lease"].as_str().unwrap().parse().unwrap();
                let after = report(format!("{key} is written"));
                keys.held.insert(key, (text(&put["value"]), lease));
                return Answer { after, ..Answer::new(200, json!({"succeeded": true})) };
            }
            _ => return Answer::new(404, json!({})),
        },
    )
}

fn patroni(machine: &str, path: &str) -> Answer {
    let leads = machine == "one";
    match path {
        "/patroni" => Answer::new(
            200,
            json!({
                "state": "running", "role": if leads { "primary" } else { "replica" }, "timeline": 1, "server_version": 150_000,
                "patroni": {"version": "4.1.5", "scope": "pg", "name": machine}, "database_system_identifier": "7",
            }),
        ),
        "/cluster" => Answer::new(
            200,
            json!({"scope": "pg", "members": [
                {"name": "one", "role": "leader", "state": "running", "timeline": 1},
                {"name": "two", "role": "quorum_standby", "state": "streaming", "timeline": 1, "lag": 0},
            ]}),
        ),
        _ => Answer::new(412, json!("no good candidates have been found")),
    }
}
