//! Commands that only look: a cluster as it stands, its health, its connection string.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::config::SslMode;

use super::{Cluster, conninfo::Conninfo};
use crate::{
    context::{Context, Dirs},
    error::{Error, Result},
    exec::Command,
    fleet::{Fleet, FleetNode},
    health::{self, Access, Health, Keys, Status},
    model::{Account, Authority, Certificate, InstanceKey, Platform, Role, SshKeySource},
    plan::Plan,
    platform::adopted::{self, Adopted},
    secrets::{ClientFiles, Vault},
    ssh::Remote,
    stage::{enroll, hypervisor},
    verify::fault::Ground,
};

/// How long `ssh`-like commands wait for a machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The machines that the last provisioning left.
///
/// # Errors
/// When the cluster was never provisioned from here.
pub fn fleet(dirs: &Dirs, cluster: &Cluster) -> Result<Fleet> {
    match cluster.place() {
        Some(place) if cluster.emptied => Err(Error::failed("not-provisioned", "find the machines of", cluster.name())
            .cause(format!("its state ({place}) knows of none"))
            .hint(format!("`hactl up {}` makes them, or says what is wrong", cluster.name()))),
        _ => kept_fleet(dirs, cluster),
    }
}

/// The same where the state knows of none any more.
pub(crate) fn kept_fleet(dirs: &Dirs, cluster: &Cluster) -> Result<Fleet> {
    let path = dirs.cluster(cluster.name()).fleet();
    let failed = || Error::failed("not-provisioned", "find the machines of", cluster.name());
    let text = std::fs::read(&path).map_err(|error| {
        let error = match cluster.place() {
            Some(place) => failed().cause(format!("its state ({place}) knows of none")),
            None if error.kind() == io::ErrorKind::NotFound => {
                failed().cause(format!("no run from here has made any: there is no {}", path.display()))
            }
            None => failed().cause(format!("{}: {error}", path.display())),
        };
        let elsewhere = match &cluster.plan.platform {
            Platform::Terraform(_) => "; those of runs elsewhere are known with `record` in `pass`",
            Platform::Hosts(_) => "; those of runs elsewhere are known with a `backend`",
            _ => "",
        };
        error.hint(format!("`hactl up {}` makes them{elsewhere}", cluster.name()))
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        failed()
            .cause(format!("{}: {error}", path.display()))
            .hint(format!("`hactl up {}` writes it anew", cluster.name()))
    })
}

/// What opens the doors of the cluster.
pub(crate) fn access(context: &Context, cluster: &Cluster, vault: &Vault) -> Result<Access> {
    let client = vault.client(Certificate::CONTROLLER)?;
    let identity = Some((client.certificate.as_str(), &client.key));
    let control = health::client_config(vault.authority(Authority::CONTROL)?, identity)?;
    let postgres = health::client_config(vault.authority(Authority::POSTGRESQL)?, None)?;
    Ok(Access::new(Keys {
        ssh: enroll::keys(context, &cluster.plan.platform, vault)?,
        patroni_tls: Arc::clone(&control),
        etcd_tls: control,
        postgres_tls: Arc::clone(&postgres),
        clients_tls: postgres,
        postgres_ssl: SslMode::Require,
        superuser: ("postgres".to_owned(), vault.password(&Account::SUPERUSER)?.clone()),
        restapi: Some(("patroni".to_owned(), vault.password(&Account::RESTAPI)?.clone())),
    }))
}

/// A cluster that stands: what it is, its machines, and what opens them.
pub struct RunningCluster {
    pub plan: Plan,
    pub fleet: Fleet,
    pub access: Access,
    /// How people connect, without a password.
    pub conninfo: Conninfo,
}

impl RunningCluster {
    /// The cluster as it was made from here, or as it is found where it was made by others.
    ///
    /// # Errors
    /// When it was never provisioned from here, its secrets cannot be opened, or an adopted one tells nothing.
    pub async fn find(context: &Context, cluster: &Cluster) -> Result<Self> {
        if let Some(hosts) = cluster.adopted() {
            let given = cluster.given(context).await?;
            let Adopted { plan, fleet, access, superuser } =
                adopted::adopt(context, &cluster.plan, hosts, given).await?;
            let conninfo = as_superuser(&fleet, &superuser);
            return Ok(Self { plan, fleet, access, conninfo });
        }
        let fleet = fleet(&context.dirs, cluster)?;
        let mut vault = Vault::open(context, cluster.name(), &cluster.secrets(&context.dirs)).await?;
        cluster.take_given(context, &mut vault).await?;
        let conninfo = as_owner(&context.dirs, cluster, &fleet);
        let access = access(context, cluster, &vault)?;
        Ok(Self { plan: cluster.plan.clone(), fleet, access, conninfo })
    }

    /// An SSH session to one of its machines.
    ///
    /// # Errors
    /// When the machine does not answer.
    pub async fn connect(&self, node: &FleetNode) -> Result<Remote> {
        Remote::connect(node.key(), &node.ssh, &self.access.keys.ssh, PATIENCE).await
    }
}

/// `ssh` to a machine: of an adopted cluster as its file says.
///
/// # Errors
/// When there is no such machine, or it was never configured from here.
pub fn ssh(dirs: &Dirs, cluster: &Cluster, node: &str) -> Result<Command> {
    let files = dirs.cluster(cluster.name()).client();
    let Some(hosts) = cluster.adopted() else {
        let (key, config) = (fleet(dirs, cluster)?.node(node)?.key().to_string(), files.join(ClientFiles::SSH_CONFIG));
        if !config.is_file() {
            let error = Error::failed("not-configured", "find out how to reach", node);
            return Err(error
                .cause(format!("{} is not there", config.display()))
                .hint(format!("`hactl configure {}` writes it", cluster.name())));
        }
        return Ok(Command::new("ssh").args(["-F".to_owned(), config.display().to_string(), key]));
    };
    let Some((_, host)) = hosts.machines.iter().find(|(key, _)| key.as_str() == node) else {
        let names: Vec<&str> = hosts.machines.keys().map(InstanceKey::as_str).collect();
        return Err(Error::usage("node-unknown", "find node", node).cause(format!(
            "{} has {}",
            cluster.name(),
            names.join(", ")
        )));
    };
    let mut command = Command::new("ssh").args(["-p".to_owned(), host.port.to_string()]);
    if let SshKeySource::File(key) = &hosts.ssh_key {
        command = command.arg("-i").arg(key.display().to_string());
    }
    // The host keys that were pinned; before that the user's own file says who is known.
    let known_hosts = files.join(ClientFiles::KNOWN_HOSTS);
    if known_hosts.is_file() {
        let option = format!("UserKnownHostsFile=\"{}\"", known_hosts.display());
        command = command.args(["-o", &option, "-o", "StrictHostKeyChecking=yes"]);
    }
    Ok(command.arg(format!("{}@{}", host.user, host.host)))
}

/// As an adopted cluster's superuser: libpq asks for the password, or finds it itself.
fn as_superuser(fleet: &Fleet, superuser: &str) -> Conninfo {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for node in fleet.with_role(Role::Patroni) {
        hosts.push(node.address.to_string());
        ports.push(node.postgres().port.to_string());
    }
    let same = ports.windows(2).all(|pair| pair[0] == pair[1]);
    ports.truncate(if same { 1 } else { ports.len() });
    Conninfo::new([
        ("host", hosts.join(",")),
        ("port", ports.join(",")),
        ("dbname", "postgres".to_owned()),
        ("user", superuser.to_owned()),
        ("target_session_attrs", "read-write".to_owned()),
    ])
}

/// Where `psql` connects to. Behind a bastion that is a port of this machine for every node.
pub struct Door {
    pub conninfo: Conninfo,
    forwards: Vec<(TcpListener, FleetNode)>,
    access: Option<Arc<Access>>,
}

impl Door {
    /// Leads each connection to its node. Does not end by itself.
    pub async fn serve(&self) {
        let Some(access) = &self.access else { return std::future::pending().await };
        let forwards = self.forwards.iter().map(async |(listener, node)| {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(forward(stream, node.clone(), Arc::clone(access)))),
                    // Too many open files, say: the next one may be taken again.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        futures_util::future::join_all(forwards).await;
    }
}

/// A connection that cannot be led on is closed: libpq then tries the next host, and says what it saw.
async fn forward(mut stream: TcpStream, node: FleetNode, access: Arc<Access>) {
    let Ok(remote) = access.connect(&node).await else { return };
    let door = node.postgres();
    let Ok(mut tunnel) = remote.tunnel(&door.host, door.port, PATIENCE).await else { return };
    // The end of either side is the end of both.
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut tunnel).await;
}

/// Opens the door that `hactl psql` goes through.
///
/// # Errors
/// When the cluster was never provisioned from here, or an adopted one tells nothing.
pub async fn door(context: &Context, cluster: &Cluster) -> Result<Door> {
    let direct = |conninfo| Door { conninfo, forwards: Vec::new(), access: None };
    if cluster.adopted().is_some() {
        return Ok(direct(RunningCluster::find(context, cluster).await?.conninfo));
    }
    let fleet = fleet(&context.dirs, cluster)?;
    if fleet.nodes.values().all(|node| node.ssh.bastion.is_none()) {
        return Ok(direct(as_owner(&context.dirs, cluster, &fleet)));
    }
    let RunningCluster { fleet, access, .. } = RunningCluster::find(context, cluster).await?;
    let (mut forwards, mut ports) = (Vec::new(), Vec::new());
    for node in fleet.with_role(Role::Patroni) {
        let open = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        };
        let (listener, port) = open.await.map_err(|error: std::io::Error| {
            Error::failed("forward", "open a port of this machine for", node.key()).source(&error)
        })?;
        forwards.push((listener, node.clone()));
        ports.push(port.to_string());
    }
    // The certificate is that of `host`; the packets go to `hostaddr`.
    let here = vec![Ipv4Addr::LOCALHOST.to_string(); ports.len()].join(",");
    let place = Conninfo::new([("host", hosts(&fleet)), ("hostaddr", here), ("port", ports.join(","))]);
    let conninfo = login(&context.dirs, cluster, place);
    Ok(Door { conninfo, forwards, access: Some(Arc::new(access)) })
}

/// As the first database's owner: every host, verified, without a password.
#[must_use]
pub(crate) fn as_owner(dirs: &Dirs, cluster: &Cluster, fleet: &Fleet) -> Conninfo {
    login(dirs, cluster, Conninfo::new([("host", hosts(fleet)), ("port", "5432".to_owned())]))
}

fn hosts(fleet: &Fleet) -> String {
    let hosts: Vec<String> = fleet.with_role(Role::Patroni).map(|node| node.address.to_string()).collect();
    hosts.join(",")
}

/// The same at `place`.
fn login(dirs: &Dirs, cluster: &Cluster, place: Conninfo) -> Conninfo {
    let files = dirs.cluster(cluster.name()).client();
    let file = |name| files.join(name).display().to_string();
    let (database, user) = match cluster.plan.postgres.databases.iter().next() {
        Some((database, owner)) => (database.to_string(), owner.to_string()),
        None => ("postgres".to_owned(), "postgres".to_owned()),
    };
    place.and([
        ("dbname", database),
        ("user", user),
        ("target_session_attrs", "read-write".to_owned()),
        ("sslmode", "verify-full".to_owned()),
        ("sslrootcert", file(ClientFiles::POSTGRESQL_CA)),
        ("passfile", file(ClientFiles::PASSFILE)),
    ])
}

/// Looks at a cluster, once or again and again.
pub struct StatusProbe(RunningCluster);

impl StatusProbe {
    /// Opens the secrets and finds the machines.
    ///
    /// # Errors
    /// Those of [`RunningCluster::find`].
    pub async fn new(context: &Context, cluster: &Cluster) -> Result<Self> {
        RunningCluster::find(context, cluster).await.map(Self)
    }

    /// Asks every node. Takes at most 10 s, however many do not answer.
    pub async fn look(&self, context: &Context) -> Status {
        let RunningCluster { plan, fleet, conninfo, .. } = &self.0;
        let (mut health, reboots) = tokio::join!(self.health(), hypervisor::reboots(context, &plan.platform, fleet));
        if let Some(said) = reboots {
            health.add_reboots(&said);
        }
        health::status(plan, &health, conninfo.to_string())
    }

    /// The same as it was diagnosed.
    pub async fn health(&self) -> Health {
        health::diagnose(&self.0.plan, &health::observe(&self.0.fleet, &self.0.access).await)
    }

    /// The same machines, as drills strike them.
    #[must_use]
    pub const fn ground<'b>(&'b self, context: &'b Context) -> Ground<'b> {
        let RunningCluster { plan, fleet, access, .. } = &self.0;
        Ground { plan, fleet, access, control: access, context }
    }
}
