//! A run record and the cluster's secrets -> an archive that has none of them.

use std::{collections::BTreeMap, path::Path};

use crate::{
    context::Context,
    deployment::Deployment,
    error::{Error, Result},
    report::{self, Bundled, Mask},
    secrets::Vault,
};

/// Writes the record `run` to `file`, every known secret masked: those of the secrets file, those that are given, and
/// those in the environment.
///
/// # Errors
/// When secrets exist and cannot be opened: hactl cannot mask what it does not know.
pub async fn bundle(context: &Context, deployment: &mut Deployment, run: &Path, file: &Path) -> Result<Bundled> {
    // An adopted cluster has no secrets file, nor has one that was never made.
    let mut given = BTreeMap::new();
    if deployment.vault_if_any(context).await?.is_some() {
        deployment.vault_with_given(context).await?;
    } else if deployment.cluster.adopted().is_some() {
        given = deployment.cluster.given(context).await?;
    }
    let own = deployment.opened().into_iter().flat_map(Vault::all);
    let secrets = own.chain(given.values()).map(|secret| secret.expose().as_str());
    let mask = Mask::new(secrets.chain(report::secret_variables(&context.env)));
    report::bundle(run, file, &mask).map_err(|error| {
        Error::failed("bundle", "write the run record to", file.display())
            .source(&error)
            .hint("Check that the disk has free space")
    })
}
