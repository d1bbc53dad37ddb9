//! The flag by which Proxmox refuses to remove a machine: members have it, and only a teardown lifts it.

use std::collections::BTreeMap;

use hactl::{
    assets::Assets,
    context::{Context, Dirs},
    event::Events,
    model::Choices,
    plan::{self, Plan},
    platform::Machines,
    spec,
    terraform::{self, Consent, provider::Server as Provider},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::moved::Hypervisors;
use crate::{
    common::recorded::Recorded,
    proxmox_api::simulator::{SECRET, Simulator, TOKEN, World},
};

const INSTANCES: &str = "instances: {node1: {address: 192.0.2.41/24}, web: {roles: []}}\n";

/// The stage that makes and destroys machines, between a recorded provider and a simulated API.
struct Machinery {
    simulator: Simulator,
    context: Context,
    reattach: String,
    _dir: tempfile::TempDir,
    _recorded: Recorded,
    _provider: Provider,
}

impl Machinery {
    fn new(simulator: Simulator) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut env: BTreeMap<String, String> = std::env::vars().collect();
        env.remove("TF_REATTACH_PROVIDERS");
        env.insert("PROXMOX_VE_API_TOKEN".to_owned(), format!("{TOKEN}={SECRET}"));
        let (events, mut receiver) = Events::channel();
        tokio::spawn(async move { while receiver.recv().await.is_some() {} });
        let context = Context { dirs: Dirs::new(dir.path(), &env), env, events, stop: CancellationToken::new() };
        let provider = Provider::start(None, &context, &std::env::temp_dir()).unwrap();
        let recorded = Recorded::start(Hypervisors { world: simulator.shared() });
        let reattach = recorded.reattach(Some(&provider.reattach_env(None).unwrap()));
        Self { simulator, context, reattach, _dir: dir, _recorded: recorded, _provider: provider }
    }

    fn plan(&self, protection: &str) -> Plan {
        let text = format!(
            "name: pg\nplatform: {{proxmox: {{endpoint: '{}', ca_cert: {}{protection}}}}}\n{INSTANCES}",
            self.simulator.endpoint(),
            self.simulator.ca_cert().display(),
        );
        plan::decide(&spec::load("pg.yaml", text.as_bytes(), "pg").unwrap(), &Choices::default()).unwrap()
    }

    async fn up_and_down(&self, protection: &str) -> hactl::error::Result<()> {
        let (plan, assets) = (self.plan(protection), Assets::embedded());
        let machines = Machines {
            plan: &plan,
            assets: &assets,
            image: None,
            uuid: Uuid::from_u128(7),
            authorized_keys: &[],
            record: "",
            surveyed: None,
        };
        let (context, dir) = (&self.context, self.context.dirs.cluster(&plan.cluster));
        let (consent, reattach) = (Consent::default(), Some(self.reattach.clone()));
        terraform::apply(context, &dir, &machines, &consent, reattach.clone(), async |_| Ok(())).await?;
        println!("{protection:?}: protected {:?}", self.protected());
        terraform::destroy(context, &dir, &machines, reattach).await.map(drop)
    }

    /// The names of the machines that Proxmox protects.
    fn protected(&self) -> Vec<String> {
        let world = self.simulator.world();
        let protected = world.guests.values().filter(|guest| guest.config.get("protection") == Some(&json!(1)));
        protected.map(|guest| guest.config["name"].as_str().unwrap().to_owned()).collect()
    }

    /// What was changed by the API.
    fn changed(&self) -> usize {
        self.simulator.world().asked.iter().filter(|asked| !asked.starts_with("GET ")).count()
    }
}

#[test]
fn protection_of_members_is_lifted_by_a_teardown_and_that_of_the_file_is_not() {
    // It has a runtime of its own, which cannot be started within another one.
    let simulator = Simulator::start(World::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(up_and_down_with_every_protection(simulator));
}

async fn up_and_down_with_every_protection(simulator: Simulator) {
    let machinery = Machinery::new(simulator);
    // The hypervisor refuses to destroy what is protected: node1 has been, web has not.
    machinery.up_and_down("").await.unwrap();
    let left =
        |machinery: &Machinery| machinery.simulator.world().guests.values().filter(|guest| !guest.template).count();
    assert_eq!((left(&machinery), machinery.changed()), (0, 1));

    machinery.up_and_down(", protection: false").await.unwrap();
    assert_eq!((left(&machinery), machinery.changed()), (0, 1), "nothing was protected");

    let error = machinery.up_and_down(", protection: true").await.unwrap_err();
    assert_eq!(error.code, "protected", "{error}");
    assert_eq!((left(&machinery), machinery.protected().len(), machinery.changed()), (2, 2, 1));
}
