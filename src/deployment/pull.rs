//! What runs elsewhere left in the state -> the cluster as the last run left it, wherever that was.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    Cluster, Deployment, client_files, fleet_file,
    known::Recorded,
    shared_record::{belongs, is_sealed, read},
    state_location::StateLocation,
};
use crate::{
    context::Context,
    error::{Error, Result},
    file,
    fleet::{Fleet, Outputs},
    model::{Backend, InstanceKey},
    terraform::{self, Pulled, provider},
};

impl Deployment {
    /// Takes over what the last run left in the state, wherever it was. Where the state is this machine's alone, all is
    /// known already.
    ///
    /// # Errors
    /// When the state cannot be read, is another cluster's, or lies on the cluster itself.
    pub async fn pull(&mut self, context: &Context) -> Result<()> {
        let Some(location) = self.cluster.state_location() else { return Ok(()) };
        let dir = self.cluster.dir();
        if let StateLocation::Backend(backend) = &location {
            on_no_machine(context, &self.cluster, backend, &Outputs::new()).await?;
        }
        let pulled = look_up(context, &self.cluster, &location).await?;
        if let (StateLocation::Backend(backend), Some(outputs)) = (&location, &pulled.outputs) {
            on_no_machine(context, &self.cluster, backend, outputs).await?;
        }
        let Some(text) = pulled.record else {
            if pulled.only_state && pulled.outputs.as_ref().is_some_and(Outputs::is_empty) {
                self.known.emptied = !self.known.machines.is_absent();
            }
            return Ok(());
        };
        let (record, sealed) = read(&text, &location)?;
        self.known.pulled = Some(text);
        self.vault_if_any(context).await?;
        belongs(&record, &self.cluster, self.opened(), &location)?;
        if let Some(vault) = self.opened() {
            is_sealed(&sealed, vault, &location)?;
            // A command that needs a password that is not given now says so later.
            let _ = self.take_given(context).await;
        }
        file::private_dir(dir.path())
            .map_err(|error| Error::failed("record", "create", dir.path().display()).source(&error))?;
        self.cluster.record.restored = record.restored;
        self.cluster.choose(&record.nodes, record.settled.clone())?;
        self.cluster.note()?;
        let Some(outputs) = pulled.outputs else { return Ok(()) };
        let mut fleet = Fleet::known(&self.cluster.plan, &record.nodes, &outputs);
        let vault = self.opened();
        if let Some(vault) = vault {
            record.tell(vault, &mut fleet);
        }
        fleet_file::write(&dir.fleet(), &fleet)?;
        if let Some(vault) = vault {
            if record.fits(vault).is_ok() {
                client_files(context, &self.cluster, vault, &fleet)?;
            }
            self.known.elsewhere = Some(record);
        }
        self.known.machines = Recorded::Known(fleet);
        Ok(())
    }

    /// Sees that the state is still as it was when this run began, now that no other run changes the cluster any more.
    ///
    /// # Errors
    /// When another run has changed it meanwhile.
    pub(crate) async fn is_current(&self, context: &Context) -> Result<()> {
        let (Some(location), Some(before)) = (self.cluster.state_location(), &self.known.pulled) else { return Ok(()) };
        if look_up(context, &self.cluster, &location).await?.record.as_ref() == Some(before) {
            return Ok(());
        }
        let error = Error::failed("changed-meanwhile", "use what this run has read about", self.cluster.name());
        Err(error.cause("another run has changed the cluster since this run began").hint("Run the same command again"))
    }
}

/// What the state tells.
async fn look_up(context: &Context, cluster: &Cluster, location: &StateLocation) -> Result<Pulled> {
    let dir = cluster.dir();
    match location {
        StateLocation::Backend(_) => terraform::pull(context, &dir, &cluster.plan).await,
        StateLocation::Module(module) => {
            let (_server, reattach) = provider::serve(context, &cluster.plan.platform).await?;
            terraform::pull_module(context, &dir, &cluster.plan, module, Some(reattach)).await
        }
    }
}

/// A state on the cluster itself would be lost with the cluster, exactly when it is needed to rebuild the cluster.
pub(super) async fn on_no_machine(
    context: &Context,
    cluster: &Cluster,
    backend: &Backend,
    outputs: &Outputs,
) -> Result<()> {
    let hosts = backend.hosts(&context.env);
    let names = cluster.plan.nodes.values().map(|node| node.hostname.to_string());
    let dns = cluster.plan.dns.iter();
    let full = dns.flat_map(|dns| cluster.plan.nodes.values().map(|node| dns.fqdn(node.hostname.as_str())));
    let names: BTreeSet<String> = names.chain(full.map(|name| name.trim_end_matches('.').to_owned())).collect();
    let addresses: BTreeMap<IpAddr, &InstanceKey> =
        outputs.iter().filter_map(|(key, machine)| Some((IpAddr::V4(machine.ipv4?), key))).collect();
    for host in hosts {
        let named = names.contains(&host.to_ascii_lowercase());
        // A host without an address does not belong to this cluster.
        let found = tokio::net::lookup_host((host.as_str(), 0)).await;
        let same = found.into_iter().flatten().find(|found| addresses.contains_key(&found.ip()));
        let own = same.map(|found| format!("{host} is the machine {}", addresses[&found.ip()]));
        if let Some(cause) =
            own.or_else(|| named.then(|| format!("{host} is the host name of a machine of the cluster")))
        {
            return Err(Error::usage("backend-on-cluster", "keep the state of", cluster.name())
                .cause(format!("{cause}: the state would be stored on the cluster itself and be lost with it"))
                .hint("Set `backend` to a server that is not a machine of the cluster"));
        }
    }
    Ok(())
}
