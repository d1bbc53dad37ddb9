//! `hactl psql`: where it connects to, and the ports of this machine that are forwarded there behind a bastion.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use crate::{
    access::Access,
    component::{pgbouncer, postgres},
    context::Context,
    deployment::{Conninfo, Deployment, RunningCluster, WayIn, as_owner_by, hosts, login},
    error::{Error, Result},
    fleet::FleetNode,
    model::Endpoint,
};

/// How long a machine may take to forward a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where `psql` connects to. Behind a bastion that is a port of this machine for every node.
pub struct PsqlConnection {
    pub conninfo: Conninfo,
    forwards: Vec<(TcpListener, FleetNode)>,
    /// The service of the nodes that they lead to.
    service: fn(&FleetNode) -> Endpoint,
    access: Option<Arc<Access>>,
}

impl PsqlConnection {
    /// Forwards each connection to its node. Does not end by itself.
    pub async fn serve(&self) {
        let Some(access) = &self.access else { return std::future::pending().await };
        let forwards = self.forwards.iter().map(async |(listener, node)| {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        drop(tokio::spawn(forward(stream, node.clone(), self.service, Arc::clone(access))))
                    }
                    // Too many open files, say: the next one may be taken again.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        futures_util::future::join_all(forwards).await;
    }
}

/// A connection that cannot be forwarded is closed: libpq then tries the next host, and reports the failure.
async fn forward(mut stream: TcpStream, node: FleetNode, service: fn(&FleetNode) -> Endpoint, access: Arc<Access>) {
    let Ok(remote) = access.connect(&node).await else { return };
    let endpoint = service(&node);
    let Ok(mut tunnel) = remote.tunnel(&endpoint.host, endpoint.port, PATIENCE).await else { return };
    // The end of either side is the end of both.
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut tunnel).await;
}

/// Finds where `hactl psql` connects to, and opens the forwarded ports behind a bastion.
///
/// # Errors
/// When the cluster was never provisioned from here, or an adopted one tells nothing.
pub async fn psql_connection(context: &Context, deployment: &mut Deployment, pooled: bool) -> Result<PsqlConnection> {
    let way = if pooled { WayIn::Pooled } else { WayIn::Direct };
    if pooled && deployment.cluster.plan.endpoint.is_none() {
        return Err(Error::usage("no-endpoint", "connect through the poolers of", deployment.cluster.name())
            .cause("the cluster file has no section `endpoint`")
            .hint("Add the section `endpoint` and run `hactl up`, or connect without `--pooled`"));
    }
    let service: fn(&FleetNode) -> Endpoint = if pooled { pgbouncer::endpoint } else { postgres::endpoint };
    let direct = |conninfo| PsqlConnection { conninfo, forwards: Vec::new(), service, access: None };
    if deployment.cluster.adopted().is_some() {
        return Ok(direct(deployment.running(context).await?.conninfo));
    }
    let fleet = deployment.known.fleet(&deployment.cluster)?;
    if fleet.nodes.values().all(|node| node.ssh.bastion.is_none()) {
        return Ok(direct(as_owner_by(&deployment.cluster, fleet, way).without_files_of_the_user()));
    }
    let RunningCluster { fleet, access, .. } = deployment.running(context).await?;
    let (mut forwards, mut ports) = (Vec::new(), Vec::new());
    for node in fleet.data_nodes() {
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
    let conninfo = login(&deployment.cluster, way, place).without_files_of_the_user();
    Ok(PsqlConnection { conninfo, forwards, service, access: Some(Arc::new(access)) })
}
