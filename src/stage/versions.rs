//! What runs on the machines: read where no run has noted it, and noted when a run has brought it there.

use std::collections::BTreeMap;

use super::{machine_identity::MachineIdentity, prepare};
use crate::{
    component::{NodeView, Observations, etcd::EtcdView, patroni::PatroniView},
    context::Context,
    deployment::{Cluster, Deployment, Known, access, record, settled_record},
    error::Result,
    fleet::Fleet,
    health,
    model::{DatabaseLocale, IcuLocales, PostgresMajor, Settled},
    plan,
    platform::Machines,
    secrets::Vault,
    terraform::{self, provider},
};

/// The database that new ones are made from; it has the locale of the cluster.
const NEW_DATABASES: &str = "template0";

/// Asks the machines of a cluster whose record does not say what runs, because an earlier release made it, or whose
/// file asks for a locale of a database. Then checks that the cluster can move from there to the planned versions.
///
/// # Errors
/// When a planned version is refused, with its place in the cluster file.
pub(crate) async fn learn(context: &Context, deployment: &mut Deployment) -> Result<()> {
    let mut seen = recognize(context, deployment).await?;
    if seen.is_none() && deployment.cluster.has_new_icu_locales() {
        seen = ask(context, deployment).await?;
    }
    deployment.cluster.can_move()?;
    deployment.cluster.fits_databases(&seen.as_ref().map(locales).unwrap_or_default())
}

/// Plans with what runs on the machines of a cluster whose record does not say it. Returns what they told, if they were asked.
///
/// # Errors
/// When the run was interrupted, or what runs cannot be planned.
pub(crate) async fn recognize(context: &Context, deployment: &mut Deployment) -> Result<Option<Observations>> {
    if deployment.cluster.settled().is_some() {
        return Ok(None);
    }
    let seen = ask(context, deployment).await?;
    if let Some(settled) = seen.as_ref().and_then(settled) {
        deployment.cluster.settle(settled)?;
    }
    Ok(seen)
}

async fn ask(context: &Context, deployment: &Deployment) -> Result<Option<Observations>> {
    let (cluster, vault) = (&deployment.cluster, deployment.opened());
    let (Some(fleet), Some(vault)) = (deployment.known.fleet_if_any()?, vault) else { return Ok(None) };
    // A plan needs no key of the machines. A run that needs one reports it later.
    let Ok(access) = access(context, cluster, vault) else { return Ok(None) };
    let seen = async { Ok(health::observe(fleet, &access).await) };
    context.interruptible("inspect the machines of", cluster.name(), seen).await.map(Some)
}

/// The locales of the databases, as one server tells them.
fn locales(seen: &Observations) -> BTreeMap<String, DatabaseLocale> {
    let servers = seen.values().filter_map(|view| view.postgres.as_ref()?.as_ref().ok());
    servers.map(|server| server.locales.clone()).max_by_key(BTreeMap::len).unwrap_or_default()
}

/// What runs, where all three programs answer somewhere. The newest of versions that differ: an upgrade was interrupted.
fn settled(seen: &Observations) -> Option<Settled> {
    let etcd = seen.values().filter_map(|view| view.etcd.as_ref()?.as_ref().ok());
    let patroni = || seen.values().filter_map(|view| view.patroni.as_ref()?.as_ref().ok());
    let numbers = |view: &PatroniView| -> Vec<u32> {
        view.itself.patroni.version.split('.').filter_map(|part| part.parse().ok()).collect()
    };
    let answering =
        |runs: fn(&NodeView) -> bool| seen.iter().filter(|(_, view)| runs(view)).map(|(key, _)| key.clone()).collect();
    let major =
        |view: &PatroniView| PostgresMajor::try_from(u8::try_from(view.itself.server_version / 10_000).ok()?).ok();
    Some(Settled {
        etcd: etcd.filter_map(|view: &EtcdView| view.version.parse().ok()).max()?,
        patroni: patroni().max_by_key(|view| numbers(view))?.itself.patroni.version.clone(),
        postgres: patroni().find_map(major)?,
        // Earlier releases let the machines' networks in everywhere.
        own_network: true,
        birth: patroni().map(|view| plan::birth_of(&view.parameters())).max().unwrap_or_default(),
        archives: patroni().any(|view| plan::archives(&view.parameters())),
        // What earlier releases sized their servers for is not known.
        memory_mib: None,
        // Earlier releases have none.
        entry_point: false,
        synchronous_nodes: patroni().find_map(PatroniView::synchronous_nodes).unwrap_or(1),
        locale: match locales(seen).remove(NEW_DATABASES) {
            Some(DatabaseLocale::Plain(locale)) => Some(locale),
            Some(DatabaseLocale::Icu(_)) | None => None,
        },
        icu_locales: IcuLocales::new(),
        data_nodes: answering(|view| matches!(view.patroni, Some(Ok(_)))),
        voters: answering(|view| matches!(view.etcd, Some(Ok(_)))),
    })
}

/// Notes that the plan has been carried out, here and for runs elsewhere.
///
/// # Errors
/// When the record or the state cannot be written.
pub(crate) async fn keep(
    context: &Context,
    cluster: &Cluster,
    known: &Known,
    vault: &Vault,
    fleet: &Fleet,
    image: Option<&str>,
) -> Result<()> {
    cluster.note_settled()?;
    if cluster.state_location().is_none() || cluster.settled() == Some(&cluster.plan.settled()) {
        return Ok(());
    }
    let identity = MachineIdentity::of(context, cluster, known, Some(vault))?;
    let record = settled_record(cluster, vault, fleet);
    let machines = Machines { record: &record, ..identity.machines(cluster, image) };
    let (_server, reattach) = provider::serve(context, &cluster.plan.platform).await?;
    terraform::keep_record(context, &cluster.dir(), &machines, Some(reattach)).await
}

/// Shares what the record here has with runs elsewhere.
///
/// # Errors
/// When the state cannot be written.
pub(crate) async fn share(context: &Context, deployment: &mut Deployment) -> Result<()> {
    if deployment.cluster.state_location().is_none() {
        return Ok(());
    }
    let (cluster, known, vault) = deployment.parts(context).await?;
    let identity = MachineIdentity::of(context, cluster, known, Some(vault))?;
    let record = record(cluster, vault, known.fleet_if_any()?);
    let image = prepare::image_of(cluster);
    let machines = Machines { record: &record, ..identity.machines(cluster, image.as_deref()) };
    let (_server, reattach) = provider::serve(context, &cluster.plan.platform).await?;
    terraform::keep_record(context, &cluster.dir(), &machines, Some(reattach)).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        component::{NodeView, postgres::PostgresView},
        model::{Locale, LocaleProvider},
    };

    fn node(etcd: &str, patroni: &str, server_version: u32) -> NodeView {
        let mut view = NodeView::new(BTreeSet::new(), Ok(()));
        view.etcd = Some(Ok(EtcdView { version: etcd.to_owned(), ..EtcdView::default() }));
        let mut told = PatroniView::default();
        told.itself.patroni.version = patroni.to_owned();
        told.itself.server_version = server_version;
        view.patroni = Some(Ok(told));
        view
    }

    #[test]
    fn running_cluster_settles_the_newest_versions_that_its_members_tell() {
        let seen = |views: Vec<NodeView>| -> Observations {
            let keys = ["a", "b", "c"].map(|key| key.parse().unwrap());
            keys.into_iter().zip(views).collect()
        };
        let members =
            vec![node("3.6.9", "4.1.4", 150_014), node("3.6.11", "4.0.10", 0), node("3.6.9", "4.0.9", 150_014)];
        let found = settled(&seen(members)).unwrap();
        assert_eq!(
            (found.etcd.to_string().as_str(), found.patroni.as_str(), found.postgres.number()),
            ("3.6.11", "4.1.4", 15)
        );
        assert_eq!(found.locale, None);

        let locale = Locale { name: "de_DE.UTF-8".to_owned(), provider: LocaleProvider::Libc };
        let mut told = node("3.6.9", "4.1.4", 150_014);
        let locales = BTreeMap::from([(NEW_DATABASES.to_owned(), DatabaseLocale::Plain(locale.clone()))]);
        told.postgres = Some(Ok(PostgresView { locales, ..PostgresView::default() }));
        let members = vec![node("3.6.9", "4.1.4", 150_014), told];
        assert_eq!(settled(&seen(members)).unwrap().locale, Some(locale));
        // PostgreSQL does not run anywhere: perhaps the first start has not come to its end.
        assert_eq!(settled(&seen(vec![node("3.6.9", "4.1.4", 0)])), None);
        assert_eq!(settled(&seen(vec![NodeView::new(BTreeSet::new(), Ok(()))])), None);
    }
}
