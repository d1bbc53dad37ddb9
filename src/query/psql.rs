//! `hactl psql`: where it connects to, and the ports of this machine that are forwarded there behind a bastion.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use crate::{
    access::Access,
    component::postgres,
    context::Context,
    deployment::{Conninfo, Deployment, RunningCluster, as_owner, hosts, login},
    error::{Error, Result},
    fleet::FleetNode,
};

/// How long a machine may take to forward a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where `psql` connects to. Behind a bastion that is a port of this machine for every node.
pub struct PsqlConnection {
    pub conninfo: Conninfo,
    forwards: Vec<(TcpListener, FleetNode)>,
    access: Option<Arc<Access>>,
}

impl PsqlConnection {
    /// Forwards each connection to its node. Does not end by itself.
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

/// A connection that cannot be forwarded is closed: libpq then tries the next host, and reports the failure.
async fn forward(mut stream: TcpStream, node: FleetNode, access: Arc<Access>) {
    let Ok(remote) = access.connect(&node).await else { return };
    let endpoint = postgres::endpoint(&node);
    let Ok(mut tunnel) = remote.tunnel(&endpoint.host, endpoint.port, PATIENCE).await else { return };
    // The end of either side is the end of both.
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut tunnel).await;
}

/// Finds where `hactl psql` connects to, and opens the forwarded ports behind a bastion.
///
/// # Errors
/// When the cluster was never provisioned from here, or an adopted one tells nothing.
pub async fn psql_connection(context: &Context, deployment: &mut Deployment) -> Result<PsqlConnection> {
    let direct = |conninfo| PsqlConnection { conninfo, forwards: Vec::new(), access: None };
    if deployment.cluster.adopted().is_some() {
        return Ok(direct(deployment.running(context).await?.conninfo));
    }
    let fleet = deployment.known.fleet(&deployment.cluster)?;
    if fleet.nodes.values().all(|node| node.ssh.bastion.is_none()) {
        return Ok(direct(as_owner(&deployment.cluster, fleet).without_files_of_the_user()));
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
    let conninfo = login(&deployment.cluster, place).without_files_of_the_user();
    Ok(PsqlConnection { conninfo, forwards, access: Some(Arc::new(access)) })
}
