//! Everything that an apply needs, tried before it.

use std::time::Duration;

use super::{
    Api,
    addresses::users,
    facts::gather,
    identity::{numbers, places, relocated},
    judge::{judge, sum_up},
    needs::ProxmoxRequest,
    trouble::Trouble,
};
use crate::{error::Result, platform::Surveyed};

/// How long all of it may take. Each answer is there within milliseconds, and a refused token after 3 s.
const PATIENCE: Duration = Duration::from_secs(8);

const WHAT: &str = "use Proxmox at";

/// A Proxmox that has what was wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its version, such as `8.2.4`.
    pub version: String,
    /// Where the machines are.
    pub surveyed: Surveyed,
}

/// Tries whether `api` can be used, and whether it has what `wanted` is about.
///
/// # Errors
/// With why it cannot be used, or with everything that is missing, and for which machines.
pub async fn check(api: &Api, wanted: &ProxmoxRequest) -> Result<Checked> {
    let gathered = async {
        let mut facts = gather(api, wanted).await?;
        facts.users = users(api, wanted, &facts).await;
        Ok(facts)
    };
    let facts = tokio::time::timeout(PATIENCE, gathered).await.unwrap_or(Err(Trouble::Silent(PATIENCE)));
    let facts = facts.map_err(|trouble| trouble.explain(&api.server, WHAT))?;
    let problems = judge(wanted, &facts, &api.server.token.to_string());
    if let Some(error) = sum_up(problems, WHAT, &api.server.endpoint) {
        return Err(error);
    }
    let surveyed =
        Surveyed { places: places(wanted, &facts), moved: relocated(wanted, &facts), vm_ids: numbers(wanted, &facts) };
    Ok(Checked { version: facts.version, surveyed })
}
