//! bpg/proxmox, which cannot be had everywhere, as its recorded schema: served to a real Terraform,
//! with a hypervisor that the test chooses behind it.
//!
//! It proves wiring, not that Proxmox accepts a configuration: `tests/recorded/README.md`.
//!
//! Long because it is one provider: planning and applying its resources share one recorded schema and one state.

// By path: a benchmark takes this file from another directory.
#[path = "recorded/rules.rs"]
pub(crate) mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use hactl::terraform::provider::{
    Server,
    protocol::{Answers, Object, State, Value},
    wire,
};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

pub(crate) const ADDRESS: &str = "registry.terraform.io/bpg/proxmox";
pub(crate) const VM: &str = "proxmox_virtual_environment_vm";
pub(crate) const CONTAINER: &str = "proxmox_virtual_environment_container";
pub(crate) const POOL: &str = "proxmox_virtual_environment_pool";

/// What the API does not say of a machine, so that an import cannot bring it.
const NOT_IMPORTED: &[(&str, &[&[&str]])] =
    &[(VM, &[&["clone"]]), (CONTAINER, &[&["operating_system"], &["initialization", "user_account"], &["pool_id"]])];

/// Interfaces in the guest's order, with their addresses; eth0 is the first network device.
pub(crate) type Interfaces = Vec<(String, Vec<IpAddr>)>;

/// Where machines are made.
#[tonic::async_trait]
pub(crate) trait Hypervisor: Send + Sync + 'static {
    /// Makes and boots the machine.
    async fn create(&self, machine: &Machine) -> Result<Interfaces, String>;

    /// The machine's interfaces now; none when it is gone.
    async fn read(&self, _machine: &Machine, known: Interfaces) -> Result<Option<Interfaces>, String> {
        Ok(Some(known))
    }

    async fn destroy(&self, _machine: &Machine) -> Result<(), String> {
        Ok(())
    }
}

/// A hypervisor without machines: fixed addresses as configured, and 192.0.2.x for DHCP.
pub(crate) struct Nowhere;

#[tonic::async_trait]
impl Hypervisor for Nowhere {
    async fn create(&self, machine: &Machine) -> Result<Interfaces, String> {
        let address = machine.address().unwrap_or_else(|| [192, 0, 2, (machine.vm_id() % 250) as u8].into());
        Ok(vec![("lo".to_owned(), vec![[127, 0, 0, 1].into()]), ("eth0".to_owned(), vec![address])])
    }
}

/// A VM or a container, as Terraform wants it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) type_name: String,
    pub(crate) attributes: State,
}

impl Machine {
    fn at(&self, path: &[&str]) -> &Json {
        static NULL: Json = Json::Null;
        let first = self.attributes.get(path[0]).unwrap_or(&NULL);
        // Blocks are lists of one.
        path[1..].iter().fold(first, |value, name| &value[0][*name])
    }

    pub(crate) fn name(&self) -> &str {
        let path: &[&str] = if self.type_name == VM { &["name"] } else { &["initialization", "hostname"] };
        self.at(path).as_str().unwrap_or_default()
    }

    pub(crate) fn vm_id(&self) -> u64 {
        self.at(&["vm_id"]).as_u64().unwrap_or_default()
    }

    /// The SSH keys of the first user.
    pub(crate) fn keys(&self) -> Vec<String> {
        let keys = self.at(&["initialization", "user_account", "keys"]).as_array();
        keys.into_iter().flatten().filter_map(|key| key.as_str().map(str::to_owned)).collect()
    }

    /// The user that cloud-init makes; a container has root alone.
    pub(crate) fn user(&self) -> &str {
        self.at(&["initialization", "user_account", "username"]).as_str().unwrap_or("root")
    }

    /// The fixed address, where one is configured.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let address = self.at(&["initialization", "ip_config", "ipv4", "address"]).as_str()?;
        address.split('/').next()?.parse().ok()
    }

    pub(crate) fn memory_mib(&self) -> Option<u64> {
        self.at(&["memory", "dedicated"]).as_u64()
    }

    pub(crate) fn cores(&self) -> Option<u64> {
        self.at(&["cpu", "cores"]).as_u64()
    }
}

/// The provider, served until dropped.
pub(crate) struct Recorded {
    provider: Arc<Provider>,
    server: Server,
    runtime: Option<Runtime>,
}

impl Recorded {
    pub(crate) fn start(hypervisor: impl Hypervisor) -> Self {
        let text = include_str!("../recorded/proxmox.json");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let provider = Arc::new(Provider {
            schema: serde_json::from_str(text).unwrap(),
            hypervisor: Box::new(hypervisor),
            // As Proxmox counts.
            next_id: AtomicU64::new(100),
            existing: Mutex::default(),
            done: Mutex::default(),
            sent: Mutex::default(),
            foreign_disks: Mutex::default(),
            hidden: Mutex::default(),
        });
        let server = {
            let _entered = runtime.enter();
            Server::serve(ADDRESS, provider.clone(), &std::env::temp_dir()).unwrap()
        };
        Self { provider, server, runtime: Some(runtime) }
    }

    /// The value of `TF_REATTACH_PROVIDERS`, beside what `existing` has.
    pub(crate) fn reattach(&self, existing: Option<&str>) -> String {
        self.server.reattach_env(existing).unwrap()
    }

    /// What was made and destroyed, in this order: `create proxmox_virtual_environment_vm web01`.
    pub(crate) fn done(&self) -> Vec<String> {
        self.provider.done.lock().unwrap().clone()
    }

    /// What each update wrote, in this order: `web01: cpu.0.cores memory.0.dedicated`.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.provider.sent.lock().unwrap().clone()
    }

    /// Puts a machine there that Terraform did not make, to be imported as NODE/VMID.
    pub(crate) fn put(&self, type_name: &str, attributes: Json) {
        let Json::Object(attributes) = attributes else { panic!("attributes are an object") };
        self.provider.keep(type_name, &attributes);
    }

    /// Changes a machine as somebody does it in Proxmox.
    pub(crate) fn change(&self, vm_id: u64, attributes: &Json) {
        let mut existing = self.provider.existing.lock().unwrap();
        let found = existing.iter_mut().find(|(_, machine)| machine.get("vm_id") == Some(&json!(vm_id)));
        let ((type_name, _), mut machine) = found.map(|(key, machine)| (key.clone(), machine.clone())).unwrap();
        existing.remove(&(type_name.clone(), Provider::import_id(&type_name, &machine)));
        machine.extend(attributes.as_object().unwrap().clone());
        existing.insert((type_name.clone(), Provider::import_id(&type_name, &machine)), machine);
    }

    /// Moves a machine to another hypervisor, by hand or by HA.
    pub(crate) fn migrate(&self, vm_id: u64, node: &str) {
        self.change(vm_id, &json!({"node_name": node}));
    }

    /// Removes a machine, as somebody in the web interface does.
    pub(crate) fn remove(&self, vm_id: u64) {
        let of_machine = |found: &State| found.get("vm_id").and_then(Json::as_u64) == Some(vm_id);
        self.provider.existing.lock().unwrap().retain(|_, found| !of_machine(found));
    }

    /// Takes the right to see a machine away from the token.
    pub(crate) fn hide(&self, vm_id: u64) {
        self.provider.hidden.lock().unwrap().insert(vm_id);
    }

    /// Gives a machine a disk that Terraform's state does not have.
    pub(crate) fn attach(&self, vm_id: u64, interface: &str) {
        self.provider.foreign_disks.lock().unwrap().entry(vm_id).or_default().push(interface.to_owned());
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        // Also from within another runtime, where an orderly end may not be waited for.
        self.runtime.take().unwrap().shutdown_background();
    }
}

#[derive(Deserialize)]
struct Schema {
    provider: Block,
    resources: BTreeMap<String, Block>,
}

#[derive(Deserialize)]
struct Block {
    attributes: BTreeMap<String, Attribute>,
    #[serde(default)]
    blocks: BTreeMap<String, Nested>,
}

#[derive(Deserialize)]
struct Attribute {
    r#type: Json,
    flags: Vec<String>,
}

#[derive(Deserialize)]
struct Nested {
    nesting: String,
    #[serde(default)]
    max_items: i64,
    #[serde(flatten)]
    block: Block,
}

impl Attribute {
    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|one| one == flag)
    }

    /// The value with every field of its type, where that is a list of objects.
    fn conform(&self, value: Value) -> Value {
        let (Some(fields), Value::List(items)) = (self.r#type[1][1].as_object(), &value) else { return value };
        let whole = |item: &Value| match item {
            Value::Map(item) => {
                let field = |name: &String| (name.clone(), item.get(name).cloned().unwrap_or(Value::Null));
                Value::Map(fields.keys().map(field).collect())
            }
            other => other.clone(),
        };
        Value::List(items.iter().map(whole).collect())
    }

    /// A value of its type, for what only a hypervisor could say.
    fn made_up(&self) -> Value {
        let kind = self.r#type.as_str().or_else(|| self.r#type[0].as_str());
        match kind.unwrap() {
            "string" => Value::Text(String::new()),
            "number" => Value::Number(0.0),
            "bool" => Value::Bool(false),
            "list" | "set" => Value::List(Vec::new()),
            "map" => Value::Map(Object::new()),
            other => panic!("a value of type {other} cannot be made up"),
        }
    }
}

impl Block {
    fn to_wire(&self) -> wire::Block {
        let attributes = self.attributes.iter().map(|(name, attribute)| wire::Attribute {
            name: name.clone(),
            r#type: attribute.r#type.to_string().into_bytes(),
            required: attribute.is("required"),
            optional: attribute.is("optional"),
            computed: attribute.is("computed"),
            ..Default::default()
        });
        let blocks = self.blocks.iter().map(|(name, nested)| {
            assert_eq!(nested.nesting, "list", "every block of these resources is a list");
            wire::NestedBlock {
                name: name.clone(),
                block: Some(nested.block.to_wire()),
                nesting: wire::NESTING_LIST,
                min_items: 0,
                max_items: nested.max_items,
            }
        });
        wire::Block { attributes: attributes.collect(), blocks: blocks.collect(), ..Default::default() }
    }

    /// The object with every attribute and block of the schema, and no others.
    fn conform(&self, mut object: Object) -> Object {
        let mut conformed = Object::new();
        for (name, attribute) in &self.attributes {
            let value = object.remove(name).unwrap_or(Value::Null);
            conformed.insert(name.clone(), attribute.conform(value));
        }
        for (name, nested) in &self.blocks {
            let items = match object.remove(name) {
                Some(Value::List(items)) => items,
                _ => Vec::new(),
            };
            let items = items.into_iter().map(|item| match item {
                Value::Map(item) => Value::Map(nested.block.conform(item)),
                other => other,
            });
            conformed.insert(name.clone(), Value::List(items.collect()));
        }
        conformed
    }

    /// Goes through all computed attributes, with those of nested blocks.
    fn each_computed(&self, object: &mut Object, change: &mut impl FnMut(&str, &Attribute, &mut Value)) {
        for (name, attribute) in self.attributes.iter().filter(|(_, attribute)| attribute.is("computed")) {
            if let Some(value) = object.get_mut(name) {
                change(name, attribute, value);
            }
        }
        for (name, nested) in &self.blocks {
            let Some(Value::List(items)) = object.get_mut(name) else { continue };
            for item in items {
                if let Value::Map(item) = item {
                    nested.block.each_computed(item, change);
                }
            }
        }
    }
}

struct Provider {
    schema: Schema,
    hypervisor: Box<dyn Hypervisor>,
    next_id: AtomicU64,
    /// What is there, by type and the name by which it is imported.
    existing: Mutex<BTreeMap<(String, String), State>>,
    done: Mutex<Vec<String>>,
    /// The values that each update sent.
    sent: Mutex<Vec<String>>,
    /// Disks by machine that Terraform's state does not have: of the template, or added by hand.
    foreign_disks: Mutex<BTreeMap<u64, Vec<String>>>,
    /// Machines that the token may not see.
    hidden: Mutex<BTreeSet<u64>>,
}

/// An apply that failed, with what it had written by then.
struct Failed {
    said: String,
    state: Option<Value>,
}

impl From<String> for Failed {
    fn from(said: String) -> Self {
        Self { said, state: None }
    }
}

impl Provider {
    fn block(&self, type_name: &str) -> &Block {
        &self.schema.resources[type_name]
    }

    fn import_id(type_name: &str, attributes: &State) -> String {
        let text = |name: &str| match attributes.get(name) {
            Some(Json::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        if type_name == POOL { text("pool_id") } else { format!("{}/{}", text("node_name"), text("vm_id")) }
    }

    fn keep(&self, type_name: &str, attributes: &State) {
        let key = (type_name.to_owned(), Self::import_id(type_name, attributes));
        self.existing.lock().unwrap().insert(key, attributes.clone());
    }

    fn note(&self, verb: &str, machine: &Machine) {
        let name = if machine.type_name == POOL { machine.at(&["pool_id"]).as_str() } else { Some(machine.name()) };
        let line = format!("{verb} {} {}", machine.type_name, name.unwrap_or_default());
        self.done.lock().unwrap().push(line);
    }

    async fn try_apply(&self, request: &wire::ApplyRequest) -> Result<Value, Failed> {
        let type_name = &request.type_name;
        let prior = object(request.prior.as_ref());
        let Some(mut planned) = object(request.planned.as_ref()) else {
            let Some(prior) = prior else { return Ok(Value::Null) };
            let machine = machine(type_name, &prior);
            self.note("destroy", &machine);
            if type_name != POOL {
                self.hypervisor.destroy(&machine).await?;
            }
            let key = (type_name.clone(), Self::import_id(type_name, &machine.attributes));
            self.existing.lock().unwrap().remove(&key);
            return Ok(Value::Null);
        };
        let failed = if let Some(prior) = &prior {
            self.update(type_name, prior, &mut planned)
        } else {
            self.refuse_taken(type_name, &planned)?;
            self.identify(type_name, &mut planned);
            let made = machine(type_name, &planned);
            self.note("create", &made);
            if type_name != POOL {
                let interfaces = self.hypervisor.create(&made).await?;
                put_interfaces(type_name, &mut planned, &interfaces);
            }
            each_device(&mut planned, |index, mac| *mac = Value::Text(device_mac(index)));
            rules::too_small(type_name, &planned)
        };
        self.block(type_name).each_computed(&mut planned, &mut |_, attribute, value| {
            if *value == Value::Unknown {
                *value = attribute.made_up();
            }
        });
        self.keep(type_name, &machine(type_name, &planned).attributes);
        match failed {
            Some(said) => Err(Failed { said, state: Some(Value::Map(planned)) }),
            None => Ok(Value::Map(planned)),
        }
    }

    /// What Proxmox says of an id that another machine has.
    fn refuse_taken(&self, type_name: &str, planned: &Object) -> Result<(), String> {
        let Some(Value::Number(id)) = planned.get("vm_id").filter(|_| type_name != POOL) else { return Ok(()) };
        let existing = self.existing.lock().unwrap();
        let taken = existing.values().any(|machine| machine.get("vm_id").and_then(Json::as_f64) == Some(*id));
        if taken { Err(format!("unable to create VM {id}: config file already exists")) } else { Ok(()) }
    }

    /// Notes what an update does; why it fails, if it does, with what it has not written taken out of `planned`.
    fn update(&self, type_name: &str, prior: &Object, planned: &mut Object) -> Option<String> {
        let made = machine(type_name, planned);
        let refused = rules::refused(type_name, prior, planned);
        if let Some((_, unwritten)) = refused {
            planned.insert(unwritten.to_owned(), prior[unwritten].clone());
        }
        self.note("update", &made);
        let mut paths = Vec::new();
        rules::changed(&Value::Map(prior.clone()), &Value::Map(planned.clone()), "", &mut paths);
        self.sent.lock().unwrap().push(format!("{}: {}", made.name(), paths.join(" ")));
        let foreign = self.foreign_disks.lock().unwrap().get(&made.vm_id()).cloned().unwrap_or_default();
        let effects = rules::effects(type_name, prior, planned, &foreign);
        self.done.lock().unwrap().extend(effects.iter().map(|effect| format!("{effect} of {}", made.name())));
        refused.map(|(said, _)| said.to_owned())
    }

    fn identify(&self, type_name: &str, planned: &mut Object) {
        if type_name == POOL {
            let id = planned["pool_id"].clone();
            planned.insert("id".to_owned(), id);
            return;
        }
        if planned["vm_id"] == Value::Unknown {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            planned.insert("vm_id".to_owned(), Value::from_json(json!(id)));
        }
        let id = planned["vm_id"].to_json().to_string();
        planned.insert("id".to_owned(), Value::Text(id));
    }

    async fn try_read(&self, request: &wire::ReadRequest) -> Result<Option<Value>, String> {
        let Some(mut state) = object(request.state.as_ref()) else { return Ok(None) };
        if request.type_name == POOL {
            return Ok(Some(Value::Map(state)));
        }
        let machine = machine(&request.type_name, &state);
        if self.hidden.lock().unwrap().contains(&machine.vm_id()) || !self.refresh(&request.type_name, &mut state) {
            return Ok(None);
        }
        let known = interfaces(&machine);
        let Some(found) = self.hypervisor.read(&machine, known.clone()).await? else { return Ok(None) };
        if found != known {
            put_interfaces(&request.type_name, &mut state, &found);
        }
        Ok(Some(Value::Map(state)))
    }

    /// A machine with every attribute, of which a test gives a few.
    fn read_in_full(&self, type_name: &str, attributes: Object) -> Object {
        let block = self.block(type_name);
        let mut found = block.conform(attributes);
        rules::fill(type_name, &mut found);
        block.each_computed(&mut found, &mut |name, attribute, value| {
            if *value == Value::Null && name != "id" {
                *value = attribute.made_up();
            }
        });
        found
    }

    /// Brings the state to what is there. A virtual machine is found on any hypervisor, a container only on that of the
    /// state: whether the machine is found.
    fn refresh(&self, type_name: &str, state: &mut Object) -> bool {
        let existing = self.existing.lock().unwrap();
        let same = |((kind, _), found): &(&(String, String), &State)| {
            kind == type_name && found.get("vm_id").and_then(Json::as_f64) == state.get("vm_id").and_then(as_number)
        };
        // Made by a provider of an earlier process: nothing changes there.
        let Some((_, found)) = existing.iter().find(same) else { return true };
        let Value::Map(found) = Value::from_json(Json::Object(found.clone())) else { unreachable!() };
        if type_name == CONTAINER && found.get("node_name") != state.get("node_name") {
            return false;
        }
        let found = self.read_in_full(type_name, found);
        let kept = paths(NOT_IMPORTED, type_name).iter().map(|path| path[0]);
        // The provider's own settings, and what the hypervisor is asked for.
        let own = [
            "ipv4",
            "ipv4_addresses",
            "ipv6",
            "ipv6_addresses",
            "mac_addresses",
            "network_interface_names",
            "initialization",
            "agent",
            "wait_for_ip",
        ];
        let own = own.into_iter().chain([
            "delete_unreferenced_disks_on_destroy",
            "id",
            "reboot_after_update",
            "stop_on_destroy",
            "migrate",
            "network_device",
        ]);
        let own: Vec<_> = own.chain(kept).collect();
        for (name, value) in
            found.into_iter().filter(|(name, value)| !own.contains(&name.as_str()) && *value != Value::Null)
        {
            state.insert(name, value);
        }
        true
    }

    fn try_import(&self, request: &wire::ImportRequest) -> Result<Value, String> {
        let key = (request.type_name.clone(), request.id.clone());
        let found = self.existing.lock().unwrap().get(&key).cloned();
        let attributes = found.ok_or_else(|| format!("there is no {} {}", request.type_name, request.id))?;
        let Value::Map(attributes) = Value::from_json(Json::Object(attributes)) else { unreachable!() };
        let mut state = self.read_in_full(&request.type_name, attributes);
        for path in paths(NOT_IMPORTED, &request.type_name) {
            forget(&mut state, path);
        }
        self.identify(&request.type_name, &mut state);
        Ok(Value::Map(state))
    }
}

#[tonic::async_trait]
impl Answers for Provider {
    fn schema(&self) -> wire::GetProviderSchemaResponse {
        let schema = |block: &Block| wire::Schema { version: 0, block: Some(block.to_wire()) };
        let resources = self.schema.resources.iter();
        wire::GetProviderSchemaResponse {
            provider: Some(schema(&self.schema.provider)),
            resource_schemas: resources.map(|(name, block)| (name.clone(), schema(block))).collect(),
        }
    }

    fn validate(&self, _request: &wire::ValidateResourceRequest) -> wire::DiagnosticsResponse {
        wire::DiagnosticsResponse::default()
    }

    fn upgrade_state(&self, request: &wire::UpgradeStateRequest) -> wire::UpgradeStateResponse {
        let json = &request.raw_state.as_ref().unwrap().json;
        let Value::Map(state) = Value::from_json(serde_json::from_slice(json).unwrap()) else { panic!("no object") };
        let state = Value::Map(self.block(&request.type_name).conform(state));
        wire::UpgradeStateResponse { state: Some(state.encode()), diagnostics: Vec::new() }
    }

    fn plan(&self, request: &wire::PlanRequest) -> wire::PlanResponse {
        let Some(mut planned) = object(request.proposed.as_ref()) else {
            return wire::PlanResponse { planned: Some(Value::Null.encode()), ..Default::default() };
        };
        rules::fill(&request.type_name, &mut planned);
        self.block(&request.type_name).each_computed(&mut planned, &mut |_, _, value| {
            if *value == Value::Null {
                *value = Value::Unknown;
            }
        });
        let prior = object(request.prior.as_ref());
        if let Some(prior) = &prior {
            each_device(&mut planned, |index, mac| *mac = at_device(prior, index));
        }
        let replacing = prior.map(|prior| rules::replacing(&request.type_name, &prior, &planned)).unwrap_or_default();
        let requires_replace = replacing.into_iter().map(wire::AttributePath::attribute).collect();
        wire::PlanResponse {
            planned: Some(Value::Map(planned.clone()).encode()),
            requires_replace,
            diagnostics: Vec::new(),
            // As bpg/proxmox, whose machines are of the older plugin library.
            lenient: true,
        }
    }

    async fn read(self: Arc<Self>, request: wire::ReadRequest) -> wire::ReadResponse {
        match self.try_read(&request).await {
            Ok(state) => wire::ReadResponse { state: state.map(|state| state.encode()), diagnostics: Vec::new() },
            Err(error) => wire::ReadResponse { state: request.state, diagnostics: vec![problem("read", error)] },
        }
    }

    async fn apply(self: Arc<Self>, request: wire::ApplyRequest) -> wire::ApplyResponse {
        match self.try_apply(&request).await {
            Ok(state) => wire::ApplyResponse { state: Some(state.encode()), diagnostics: Vec::new(), lenient: true },
            Err(Failed { said, state }) => {
                let state = state.map(|state| state.encode()).or(request.prior);
                wire::ApplyResponse { state, diagnostics: vec![problem("apply", said)], lenient: true }
            }
        }
    }

    async fn import(self: Arc<Self>, request: wire::ImportRequest) -> wire::ImportResponse {
        match self.try_import(&request) {
            Ok(state) => wire::ImportResponse {
                imported: vec![wire::Imported { type_name: request.type_name, state: Some(state.encode()) }],
                diagnostics: Vec::new(),
            },
            Err(error) => wire::ImportResponse { imported: Vec::new(), diagnostics: vec![problem("import", error)] },
        }
    }

    async fn stop(self: Arc<Self>) -> wire::StopResponse {
        wire::StopResponse::default()
    }
}

fn problem(verb: &str, detail: String) -> wire::Diagnostic {
    let summary = format!("The recorded provider cannot {verb}");
    wire::Diagnostic { severity: wire::SEVERITY_ERROR, summary, detail, attribute: None }
}

fn as_number(value: &Value) -> Option<f64> {
    if let Value::Number(number) = value { Some(*number) } else { None }
}

fn object(wire: Option<&wire::DynamicValue>) -> Option<Object> {
    match Value::decode(wire).unwrap() {
        Value::Map(object) => Some(object),
        _ => None,
    }
}

fn machine(type_name: &str, object: &Object) -> Machine {
    let Json::Object(attributes) = Value::Map(object.clone()).to_json() else { unreachable!() };
    Machine { type_name: type_name.to_owned(), attributes }
}

fn paths<'a>(rules: &'a [(&str, &'a [&'a [&'a str]])], type_name: &str) -> &'a [&'a [&'a str]] {
    rules.iter().find(|(name, _)| *name == type_name).map_or(&[], |(_, paths)| *paths)
}

/// The value at a path, of which every step but the last is a block of one; what is not there is
/// what an empty block list is.
fn at(object: &Object, path: &[&str]) -> Value {
    let value = object.get(path[0]).cloned().unwrap_or(Value::Null);
    match (&path[1..], value) {
        ([], value) => value,
        (rest, Value::List(items)) => match items.first() {
            Some(Value::Map(inner)) => at(inner, rest),
            _ => Value::List(Vec::new()),
        },
        _ => Value::List(Vec::new()),
    }
}

fn forget(object: &mut Object, path: &[&str]) {
    let Some(value) = object.get_mut(path[0]) else { return };
    match (&path[1..], value) {
        ([], value) => *value = if matches!(value, Value::List(_)) { Value::List(Vec::new()) } else { Value::Null },
        (rest, Value::List(items)) => {
            if let Some(Value::Map(inner)) = items.first_mut() {
                forget(inner, rest);
            }
        }
        _ => {}
    }
}

/// The provider gives a network device the MAC that the configuration leaves out. The devices are
/// an attribute of objects, in which the schema cannot say so.
fn each_device(object: &mut Object, mut change: impl FnMut(usize, &mut Value)) {
    let Some(Value::List(devices)) = object.get_mut("network_device") else { return };
    for (index, device) in devices.iter_mut().enumerate() {
        if let Value::Map(device) = device
            && let Some(mac) = device.get_mut("mac_address").filter(|mac| **mac == Value::Null)
        {
            change(index, mac);
        }
    }
}

fn at_device(object: &Object, index: usize) -> Value {
    match object.get("network_device") {
        Some(Value::List(devices)) => match devices.get(index) {
            Some(Value::Map(device)) => device.get("mac_address").cloned().unwrap_or(Value::Null),
            _ => Value::Null,
        },
        _ => Value::Null,
    }
}

/// Upper case, as Proxmox writes it; a guest agent writes lower case.
fn device_mac(index: usize) -> String {
    format!("BC:24:11:00:00:{index:02X}")
}

/// Addresses in the shape of the resource: lists in the guest's order for a VM, the first one by
/// interface for a container.
fn put_interfaces(type_name: &str, state: &mut Object, interfaces: &Interfaces) {
    let of = |addresses: &[IpAddr], v4: bool| -> Vec<String> {
        addresses.iter().filter(|address| address.is_ipv4() == v4).map(ToString::to_string).collect()
    };
    for (family, v4) in [("ipv4", true), ("ipv6", false)] {
        let (name, value) = if type_name == VM {
            let lists: Vec<_> = interfaces.iter().map(|(_, addresses)| of(addresses, v4)).collect();
            (format!("{family}_addresses"), json!(lists))
        } else {
            let first: serde_json::Map<_, _> = interfaces
                .iter()
                .filter_map(|(name, addresses)| Some((name.clone(), json!(of(addresses, v4).first()?))))
                .collect();
            (family.to_owned(), Json::Object(first))
        };
        state.insert(name, Value::from_json(value));
    }
    if type_name == VM {
        let names: Vec<_> = interfaces.iter().map(|(name, _)| name).collect();
        let mac = |name: &str| match name.strip_prefix("eth").and_then(|index| index.parse().ok()) {
            Some(index) => device_mac(index).to_lowercase(),
            None => "02:42:00:00:00:01".to_owned(),
        };
        let macs: Vec<_> = names.iter().map(|name| mac(name)).collect();
        state.insert("network_interface_names".to_owned(), Value::from_json(json!(names)));
        state.insert("mac_addresses".to_owned(), Value::from_json(json!(macs)));
    }
}

/// What [`put_interfaces`] wrote.
fn interfaces(machine: &Machine) -> Interfaces {
    let parsed = |value: &Json| value.as_str().and_then(|text| text.parse().ok());
    let list = |name: &str| machine.at(&[name]).as_array().cloned().unwrap_or_default();
    if machine.type_name == VM {
        let (v4, v6) = (list("ipv4_addresses"), list("ipv6_addresses"));
        let addresses = |index: usize| {
            let of = |lists: &Vec<Json>| lists.get(index).and_then(Json::as_array).cloned().unwrap_or_default();
            [of(&v4), of(&v6)].concat().iter().filter_map(parsed).collect()
        };
        let names = list("network_interface_names");
        return names
            .iter()
            .enumerate()
            .map(|(index, name)| (name.as_str().unwrap_or_default().to_owned(), addresses(index)))
            .collect();
    }
    let mut found: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for family in ["ipv4", "ipv6"] {
        for (name, address) in machine.at(&[family]).as_object().into_iter().flatten() {
            found.entry(name.clone()).or_default().extend(parsed(address));
        }
    }
    found.into_iter().collect()
}
