//! A run record and the cluster's secrets -> an archive that has none of them.

use std::{collections::BTreeMap, path::Path};

use crate::{
    context::Context,
    deployment::Cluster,
    error::{Error, Result},
    report::{self, Bundled, Mask},
    secrets::Vault,
};

/// Writes the record `run` to `file`, every known secret masked: those of the secrets file, those that are given, and
/// those in the environment.
///
/// # Errors
/// When there are secrets that cannot be opened: what is not known cannot be masked.
pub async fn bundle(context: &Context, cluster: &Cluster, run: &Path, file: &Path) -> Result<Bundled> {
    let paths = cluster.secrets(&context.dirs);
    // An adopted cluster has no secrets file, nor has one that was never made.
    let (mut vault, mut given) = (None, BTreeMap::new());
    if paths.file.exists() {
        let mut opened = Vault::open(context, cluster.name(), &paths).await?;
        cluster.take_given(context, &mut opened).await?;
        vault = Some(opened);
    } else if cluster.adopted().is_some() {
        given = cluster.given(context).await?;
    }
    let secrets = vault.iter().flat_map(Vault::all).chain(given.values()).map(|secret| secret.expose().as_str());
    let mask = Mask::new(secrets.chain(report::secret_variables(&context.env)));
    report::bundle(run, file, &mask).map_err(|error| {
        Error::failed("bundle", "write the run record to", file.display()).source(&error).hint("is the disk full?")
    })
}
