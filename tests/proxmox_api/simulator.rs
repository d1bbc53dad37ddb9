//! A Proxmox VE on loopback: its API over TLS, with users' privileges, nodes, storages, guests and pools, as far as
//! hactl asks for them. Who may see what, where Proxmox puts its words and how long it holds back a refused login are
//! those of the real one; guests are entries in a table, or [`super::machines`].
//!
//! Long because its objects, the privileges on them and the methods that ask for them are one world.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    ext::ReasonPhrase,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::TlsAcceptor;

pub(crate) const TOKEN: &str = "hactl@pve!terraform";
pub(crate) const SECRET: &str = "4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11";

/// Proxmox holds back a refused login for that long.
pub(crate) const REFUSED_AFTER: Duration = Duration::from_secs(3);

/// What the simulated Proxmox has.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) version: String,
    /// Privileges of the token by path, as if each entry were a role of its own; they reach further down.
    pub(crate) acl: BTreeMap<String, BTreeSet<String>>,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) guests: BTreeMap<u32, Guest>,
    /// The datacenter's option `user-tag-access`: its mode, and the list of allowed tags.
    pub(crate) user_tags: Option<(&'static str, Vec<String>)>,
    /// Without a quorum nothing can be changed.
    pub(crate) quorate: bool,
    pub(crate) pools: BTreeSet<String>,
    /// How long every answer takes.
    pub(crate) delay: Duration,
    /// What was asked, in order.
    pub(crate) asked: Vec<String>,
    pub(crate) machines: super::machines::Machines,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) online: bool,
    pub(crate) storages: BTreeMap<String, Storage>,
    /// Name and type: bridge, OVSBridge or vnet.
    pub(crate) bridges: BTreeMap<String, String>,
    /// A storage whose server is gone: its answers take that long.
    pub(crate) storage_delay: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) content: String,
    pub(crate) enabled: bool,
    pub(crate) active: bool,
    pub(crate) files: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) node: String,
    /// qemu or lxc.
    pub(crate) kind: &'static str,
    pub(crate) template: bool,
    pub(crate) running: bool,
    pub(crate) pool: Option<String>,
    pub(crate) config: Map<String, Value>,
    pub(crate) pending: Map<String, Value>,
}

impl Default for World {
    /// Three nodes with a template each, a container's template file, and a token that may do everything.
    fn default() -> Self {
        let storage = |content: &str, files: &[&str]| Storage {
            content: content.to_owned(),
            enabled: true,
            active: true,
            files: files.iter().map(|file| (*file).to_owned()).collect(),
        };
        let node = || Node {
            online: true,
            storages: BTreeMap::from([
                (
                    "local".to_owned(),
                    storage("iso,vztmpl,backup", &["local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"]),
                ),
                ("local-lvm".to_owned(), storage("images,rootdir", &[])),
            ]),
            bridges: BTreeMap::from([("vmbr0".to_owned(), "bridge".to_owned())]),
            storage_delay: Duration::ZERO,
        };
        let names = ["pve1", "pve2", "pve3"];
        let templates =
            names.iter().zip(9002..).map(|(node, id)| (id, Guest::new("qemu", node, "debian-12").template()));
        Self {
            version: "8.2.4".to_owned(),
            acl: BTreeMap::from([("/".to_owned(), EVERYTHING.iter().map(|word| (*word).to_owned()).collect())]),
            nodes: names.iter().map(|name| ((*name).to_owned(), node())).collect(),
            guests: templates.collect(),
            user_tags: None,
            quorate: true,
            pools: BTreeSet::new(),
            delay: Duration::ZERO,
            asked: Vec::new(),
            machines: super::machines::Machines::default(),
        }
    }
}

/// The privileges of `PVEAdmin`, as far as they matter here.
const EVERYTHING: [&str; 20] = [
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.Audit",
    "Pool.Allocate",
    "Pool.Audit",
    "SDN.Use",
    "VM.Allocate",
    "VM.Audit",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Migrate",
    "VM.Monitor",
    "VM.PowerMgmt",
];

impl Guest {
    pub(crate) fn new(kind: &'static str, node: &str, name: &str) -> Self {
        let config = json!({"name": name, "memory": "2048", "cores": 2, "digest": "0".repeat(40)});
        Self {
            node: node.to_owned(),
            kind,
            template: false,
            running: true,
            pool: None,
            config: config.as_object().unwrap().clone(),
            pending: Map::new(),
        }
    }

    pub(crate) fn template(mut self) -> Self {
        (self.template, self.running) = (true, false);
        self
    }
}

/// What is asked: an answer, or a status with Proxmox's words and how long it is held back.
pub(super) type Answer = Result<Value, Refusal>;

pub(super) struct Refusal {
    status: u16,
    words: String,
    after: Duration,
}

pub(super) fn refusal(status: u16, words: impl Into<String>) -> Refusal {
    Refusal { status, words: words.into(), after: Duration::ZERO }
}

impl World {
    /// The token's privileges on a path: those of the nearest path above it that grants some, and of the pool.
    fn privileges(&self, path: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]);
        for above in [1].into_iter().chain(ends) {
            if let Some(granted) = self.acl.get(&path[..above]) {
                found.clone_from(granted);
            }
        }
        let guest = path.strip_prefix("/vms/").and_then(|id| self.guests.get(&id.parse().ok()?));
        if let Some(pool) = guest.and_then(|guest| guest.pool.as_ref()) {
            found.extend(self.privileges(&format!("/pool/{pool}")));
        }
        found
    }

    pub(super) fn may(&self, path: &str, any: &[&str]) -> bool {
        let granted = self.privileges(path);
        any.iter().any(|privilege| granted.contains(*privilege))
    }

    pub(super) fn must(&self, path: &str, privilege: &str) -> Result<(), Refusal> {
        match self.may(path, &[privilege]) {
            true => Ok(()),
            false => Err(refusal(403, format!("Permission check failed ({path}, {privilege})"))),
        }
    }

    pub(super) fn node(&self, name: &str) -> Result<&Node, Refusal> {
        match self.nodes.get(name) {
            Some(node) if node.online => Ok(node),
            Some(_) => Err(Refusal { status: 595, words: "No route to host".to_owned(), after: REFUSED_AFTER }),
            None => Err(refusal(
                500,
                format!(
                    "hostname lookup '{name}' failed - failed to get address info for: {name}: Name or service not known"
                ),
            )),
        }
    }

    pub(super) fn guest(&mut self, node: &str, kind: &str, id: &str) -> Result<&mut Guest, Refusal> {
        self.node(node)?;
        let missing = || {
            let dir = if kind == "qemu" { "qemu-server" } else { "lxc" };
            refusal(500, format!("Configuration file 'nodes/{node}/{dir}/{id}.conf' does not exist"))
        };
        let number = id.parse().map_err(|_| refusal(400, "Parameter verification failed."))?;
        let guest = self.guests.get_mut(&number).filter(|guest| guest.node == node && guest.kind == kind);
        guest.ok_or_else(missing)
    }

    fn answer(&mut self, method: &Method, path: &[&str], values: &BTreeMap<String, String>) -> Answer {
        self.settle();
        let value = |key: &str| values.get(key).map(String::as_str).unwrap_or_default();
        match (method.as_str(), path) {
            ("GET", ["version"]) => {
                let release = self.version.rsplit_once('.').map_or("", |(release, _)| release);
                Ok(json!({"version": self.version, "release": release, "repoid": "0123456789abcdef"}))
            }
            ("GET", ["nodes"]) => Ok(self
                .nodes
                .iter()
                .map(|(name, node)| {
                    let status = if node.online { "online" } else { "offline" };
                    json!({"node": name, "status": status, "type": "node", "id": format!("node/{name}")})
                })
                .collect()),
            ("GET", ["cluster", "resources"]) => Ok(self
                .guests
                .iter()
                .filter(|(id, _)| self.may(&format!("/vms/{id}"), &["VM.Audit"]))
                .map(|(id, guest)| {
                    let status = if guest.running { "running" } else { "stopped" };
                    json!({
                        "id": format!("{}/{id}", guest.kind), "vmid": id, "type": guest.kind, "node": guest.node,
                        "name": guest.config["name"], "template": u8::from(guest.template), "status": status,
                        "tags": guest.config.get("tags"),
                    })
                })
                .collect()),
            ("GET", ["pools"]) => {
                let seen = self.pools.iter().filter(|pool| self.may(&format!("/pool/{pool}"), &["Pool.Audit"]));
                Ok(seen.map(|pool| json!({"poolid": pool})).collect())
            }
            ("POST", ["pools"]) => {
                self.must(&format!("/pool/{}", value("poolid")), "Pool.Allocate")?;
                match self.pools.insert(value("poolid").to_owned()) {
                    true => Ok(Value::Null),
                    false => {
                        Err(refusal(500, format!("create pool failed: pool '{}' already exists", value("poolid"))))
                    }
                }
            }
            // Open to every token, also for numbers of machines that the token may not see.
            ("GET", ["cluster", "nextid"]) => match values.get("vmid").map(|vmid| vmid.parse::<u32>()) {
                Some(Ok(vmid)) if self.guests.contains_key(&vmid) => {
                    Err(refusal(400, "Parameter verification failed."))
                }
                Some(Ok(vmid)) => Ok(json!(vmid.to_string())),
                _ => Err(refusal(501, "this simulator hands out no numbers")),
            },
            ("GET", ["cluster", "options"]) => {
                let mut options = json!({});
                let privileged = self.may("/", &["Sys.Modify"]);
                let (mode, list) = self.user_tags.clone().unwrap_or(("free", Vec::new()));
                let mut allowed: BTreeSet<String> =
                    if mode != "none" || privileged { list.iter().cloned().collect() } else { BTreeSet::new() };
                if privileged || matches!(mode, "free" | "existing") {
                    let seen = self.guests.iter().filter(|(id, _)| self.may(&format!("/vms/{id}"), &["VM.Audit"]));
                    let tags = seen.filter_map(|(_, guest)| guest.config.get("tags")?.as_str());
                    allowed.extend(tags.flat_map(|tags| tags.split(';')).map(str::to_owned));
                }
                options["allowed-tags"] = json!(allowed);
                if self.may("/", &["Sys.Audit"]) && self.user_tags.is_some() {
                    options["user-tag-access"] = json!({"user-allow": mode, "user-allow-list": list});
                }
                Ok(options)
            }
            ("GET", ["cluster", "status"]) => {
                self.must("/", "Sys.Audit")?;
                let nodes = self.nodes.iter().map(|(name, node)| {
                    json!({"type": "node", "name": name, "id": format!("node/{name}"), "online": u8::from(node.online)})
                });
                let cluster = json!({
                    "type": "cluster", "name": "pve", "id": "cluster", "nodes": self.nodes.len(), "version": 3,
                    "quorate": u8::from(self.quorate),
                });
                Ok([cluster].into_iter().chain(nodes).collect())
            }
            ("GET", ["nodes", node, kind @ ("qemu" | "lxc"), id, "config"]) => {
                self.must(&format!("/vms/{id}"), "VM.Audit")?;
                Ok(Value::Object(self.guest(node, kind, id)?.config.clone()))
            }
            ("GET", ["access", "permissions"]) => {
                let granted: Map<String, Value> =
                    self.privileges(value("path")).into_iter().map(|privilege| (privilege, json!(1))).collect();
                Ok(json!({value("path"): granted}))
            }
            ("GET", ["nodes", node, "storage"]) => Ok(self
                .node(node)?
                .storages
                .iter()
                .filter(|(name, _)| {
                    self.may(&format!("/storage/{name}"), &["Datastore.Audit", "Datastore.AllocateSpace"])
                })
                .map(|(name, storage)| {
                    json!({
                        "storage": name, "type": "dir", "content": storage.content,
                        "enabled": u8::from(storage.enabled), "active": u8::from(storage.active), "shared": 0,
                    })
                })
                .collect()),
            ("GET", ["nodes", node, "storage", storage, "content"]) => {
                let privileges = ["Datastore.Audit", "Datastore.AllocateSpace"];
                if !self.may(&format!("/storage/{storage}"), &privileges) {
                    let words = format!("Permission check failed (/storage/{storage}, {})", privileges.join("|"));
                    return Err(refusal(403, words));
                }
                let storages = &self.node(node)?.storages;
                let storage = storages
                    .get(*storage)
                    .ok_or_else(|| refusal(500, format!("storage '{storage}' does not exist")))?;
                Ok(storage.files.iter().map(|file| json!({"volid": file, "format": "tzst", "size": 1})).collect())
            }
            ("GET", ["nodes", node, "network"]) => {
                let free = self.version.starts_with('7');
                let seen = |name: &str| {
                    let path = format!("/sdn/zones/localnetwork/{name}");
                    let below = self.acl.keys().filter(|granted| granted.starts_with(&format!("{path}/")));
                    free || [path.clone()].iter().chain(below).any(|path| self.may(path, &["SDN.Use", "SDN.Audit"]))
                };
                let bridges = self.node(node)?.bridges.iter().filter(|(name, kind)| *kind == "vnet" || seen(name));
                Ok(bridges.map(|(name, kind)| json!({"iface": name, "type": kind, "active": 1})).collect())
            }
            ("GET", ["nodes", node, kind, id, "pending"]) => {
                self.must(&format!("/vms/{id}"), "VM.Audit")?;
                let guest = self.guest(node, kind, id)?;
                let mut list: Vec<Value> = Vec::new();
                for (key, value) in &guest.config {
                    let mut item = json!({"key": key, "value": value});
                    if let Some(pending) = guest.pending.get(key) {
                        item["pending"] = pending.clone();
                    }
                    list.push(item);
                }
                let new = guest.pending.iter().filter(|(key, _)| !guest.config.contains_key(*key));
                list.extend(new.map(|(key, pending)| json!({"key": key, "pending": pending})));
                Ok(list.into())
            }
            // A running virtual machine goes on with what it has; a container takes the change at once.
            ("PUT", ["nodes", node, kind, id, "config"]) => {
                for key in values.keys() {
                    let privilege = match key.as_str() {
                        "memory" => "VM.Config.Memory",
                        "protection" => "VM.Config.Options",
                        "cores" => "VM.Config.CPU",
                        _ => return Err(refusal(501, format!("this simulator does not change {key}"))),
                    };
                    self.must(&format!("/vms/{id}"), privilege)?;
                }
                let guest = self.guest(node, kind, id)?;
                let unsound = |_| refusal(400, "Parameter verification failed.");
                for (key, value) in values {
                    let number: u64 = value.parse().map_err(unsound)?;
                    let value = if key == "memory" { json!(value) } else { number.into() };
                    let waits = guest.running && guest.kind == "qemu" && key != "protection";
                    let place = if waits { &mut guest.pending } else { &mut guest.config };
                    place.insert(key.clone(), value);
                }
                Ok(Value::Null)
            }
            ("POST", ["nodes", node, kind, id, "status", "reboot"]) => {
                self.must(&format!("/vms/{id}"), "VM.PowerMgmt")?;
                let guest = self.guest(node, kind, id)?;
                let pending = std::mem::take(&mut guest.pending);
                guest.config.extend(pending);
                Ok(json!(format!("UPID:{node}:00001A2B:00003C4D:68000000:qmreboot:{id}:{TOKEN}:")))
            }
            _ => self.answer_for_machines(method, path, values),
        }
    }
}

/// A server of that world. Dropping it closes its port.
pub(crate) struct Simulator {
    world: Arc<Mutex<World>>,
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    runtime: Option<Runtime>,
}

impl Simulator {
    pub(crate) fn start(world: World) -> Self {
        Self::with_certificate(world, &["localhost", "127.0.0.1"], true)
    }

    /// With a certificate for these names, which holds or has held.
    pub(crate) fn with_certificate(world: World, names: &[&str], holds: bool) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::Builder::new().prefix("hactl-proxmox-").tempdir().unwrap();
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "Proxmox Virtual Environment");
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        fs::write(dir.path().join("pve-root-ca.pem"), ca_certificate.pem()).unwrap();
        let mut leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        if !holds {
            leaf.not_after = rcgen::date_time_ymd(2021, 1, 1);
            leaf.not_before = rcgen::date_time_ymd(2020, 1, 1);
        }
        let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        fs::write(dir.path().join("pve-ssl.pem"), certificate.pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let world = Arc::new(Mutex::new(world));
        let served = Arc::clone(&world);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, world) = (acceptor.clone(), Arc::clone(&served));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| serve(Arc::clone(&world), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { world, port, dir, runtime: Some(runtime) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    /// The file of its authority's certificate.
    pub(crate) fn ca_cert(&self) -> PathBuf {
        self.dir.path().join("pve-root-ca.pem")
    }

    /// The file of its own certificate, which is no authority's.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.path().join("pve-ssl.pem")
    }

    /// The world, for who changes it beside the test.
    pub(crate) fn shared(&self) -> Arc<Mutex<World>> {
        Arc::clone(&self.world)
    }

    /// The world, to look at and to change.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(world: Arc<Mutex<World>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let url = reqwest::Url::parse(&format!("https://pve{}", parts.uri)).unwrap();
    let segments: Vec<String> = url.path_segments().unwrap().map(decoded).collect();
    let mut values: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let form = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let form = reqwest::Url::parse(&format!("https://pve/?{}", String::from_utf8_lossy(&form))).unwrap();
    values.extend(form.query_pairs().into_owned());

    let sent = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer = authenticate(sent).and_then(|()| {
        let mut world = world.lock().unwrap();
        world.asked.push(format!("{} {}", parts.method, parts.uri));
        match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["api2", "json", path @ ..] => world.answer(&parts.method, path, &values),
            _ => Err(refusal(404, "Not Found")),
        }
    });
    let delay = {
        let world = world.lock().unwrap();
        let slow = segments.get(4).filter(|word| *word == "storage").and_then(|_| world.nodes.get(&segments[3]));
        world.delay + slow.map_or(Duration::ZERO, |node| node.storage_delay)
    };
    let (status, words, after, body) = match answer {
        Ok(data) => (200, "OK".to_owned(), Duration::ZERO, json!({"data": data}).to_string()),
        Err(refused) if refused.status == 401 => (401, refused.words, refused.after, String::new()),
        Err(refused) => (refused.status, refused.words, refused.after, json!({"data": null}).to_string()),
    };
    tokio::time::sleep(delay + after).await;
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/json;charset=UTF-8".parse().unwrap());
    response.headers_mut().insert("server", "pve-api-daemon/3.0".parse().unwrap());
    response.extensions_mut().insert(ReasonPhrase::try_from(words.into_bytes()).unwrap());
    Ok(response)
}

/// The words of `verify_token`, in its order.
fn authenticate(sent: &str) -> Result<(), Refusal> {
    let refused = |words: &str| Refusal { status: 401, words: words.to_owned(), after: REFUSED_AFTER };
    let token = sent.strip_prefix("PVEAPIToken=").ok_or_else(|| refused("No ticket"))?;
    let (id, secret) = token.split_once('=').ok_or_else(|| refused("no tokenid specified"))?;
    let (user, name) = id.split_once('!').ok_or_else(|| refused("no tokenid specified"))?;
    let (right_user, right_name) = TOKEN.split_once('!').unwrap();
    if user != right_user {
        return Err(refused(&format!("no such user ('{user}')")));
    }
    if name != right_name {
        return Err(refused(&format!("no such token '{name}' for user '{user}'")));
    }
    if secret == SECRET { Ok(()) } else { Err(refused("invalid token value!")) }
}

fn decoded(segment: &str) -> String {
    let pair = reqwest::Url::parse(&format!("https://pve/?x={}", segment.replace('+', "%2B"))).unwrap();
    pair.query_pairs().next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
