//! Names: the zone is checked before machines are made, and asked after their records were added or removed.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use crate::{
    context::{Context, RunContext},
    deployment::Cluster,
    dns::{
        self, Zone,
        ask::{Asker, Names},
    },
    error::Result,
    event::Stage,
    fleet::{Fleet, FleetNode},
    model::Dns,
    terraform::GoneRecords,
};

/// How long the server may take to answer what was written: a primary that hands on to others is the
/// slowest case.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tries zone, server and key, so that nothing is made when one of them is wrong.
///
/// # Errors
/// With what is wrong, each thing in its own words.
pub(crate) async fn check(context: &Context, cluster: &Cluster) -> Result<()> {
    match &cluster.plan.dns {
        Some(dns) => Zone::new(dns.clone(), &dns::secret(&context.env)?)?.check().await,
        None => Ok(()),
    }
}

/// Asks the zone's server until each machine answers under its name, and what was removed does not.
///
/// # Errors
/// With each name that answers otherwise.
pub(crate) async fn answers(run: &RunContext, cluster: &Cluster, fleet: &Fleet, gone: &GoneRecords) -> Result<()> {
    let names = |dns: &Dns| -> Names {
        let address = |node: &FleetNode| BTreeSet::from([IpAddr::V4(node.address)]);
        fleet.nodes.values().map(|node| (dns.fqdn(node.hostname().as_str()), address(node))).collect()
    };
    let names = cluster.plan.dns.as_ref().map(names).unwrap_or_default();
    // A name that was created again resolves again.
    let mut gone = gone.clone();
    gone.iter_mut().for_each(|(_, old)| old.retain(|name, _| !names.contains_key(name)));
    let Some(dns) = cluster.plan.dns.as_ref().filter(|_| !names.is_empty()) else {
        return self::gone(&run.context, &gone).await;
    };
    run.stage(Stage::Dns, async {
        self::gone(&run.context, &gone).await?;
        Asker::new(dns).await?.until_there(&names, PATIENCE, &run.context.stop).await?;
        let names = match names.len() {
            1 => "1 name resolves".to_owned(),
            count => format!("{count} names resolve"),
        };
        Ok(((), Some(format!("{names} at {}", dns.endpoint()))))
    })
    .await
}

/// Asks until no name answers with the address that it had; what others have put there is said.
///
/// # Errors
/// With each name that still does.
pub(crate) async fn gone(context: &Context, gone: &GoneRecords) -> Result<()> {
    for (dns, names) in gone {
        let kept = Asker::new(dns).await?.until_gone(names, PATIENCE, &context.stop).await?;
        for (name, addresses) in kept {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let message = format!("{name} still resolves to {}, a record that hactl did not make", list.join(", "));
            context.events.warn("dns-kept", message, None).await;
        }
    }
    Ok(())
}
