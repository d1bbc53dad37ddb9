//! Everything that an apply needs, tried before it.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Api,
    addresses::users,
    disks::disks_of,
    facts::{Facts, gather},
    identity::{numbers, places, relocated},
    judge::{judge, sum_up},
    needs::{GuestRequest, ProxmoxRequest, SizedDisks},
    trouble::Trouble,
};
use crate::{
    error::Result,
    model::InstanceKey,
    platform::{FoundFlags, Surveyed},
};

/// How long all of it may take. Each answer is there within milliseconds, and a refused token after 3 s.
const PATIENCE: Duration = Duration::from_secs(8);

const WHAT: &str = "use Proxmox at";

/// The first disk, whose size the cluster file sets.
const CLONED: &str = "scsi0";

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
        let (users, disk_flags) = tokio::join!(users(api, wanted, &facts), disk_flags(api, wanted, &facts));
        facts.users = users;
        Ok((facts, disk_flags?))
    };
    let gathered = tokio::time::timeout(PATIENCE, gathered).await.unwrap_or(Err(Trouble::Silent(PATIENCE)));
    let (facts, disk_flags) = gathered.map_err(|trouble| trouble.explain(&api.server, WHAT))?;
    let problems = judge(wanted, &facts, &api.server.token.to_string());
    if let Some(error) = sum_up(problems, WHAT, &api.server.endpoint) {
        return Err(error);
    }
    let surveyed = Surveyed {
        places: places(wanted, &facts),
        moved: relocated(wanted, &facts),
        vm_ids: numbers(wanted, &facts),
        disk_flags,
    };
    Ok(Checked { version: facts.version, surveyed })
}

/// The flags of each first disk before the cluster file sets its size: the machine's own, or those of its template.
async fn disk_flags(
    api: &Api,
    wanted: &ProxmoxRequest,
    facts: &Facts,
) -> Result<BTreeMap<InstanceKey, FoundFlags>, Trouble> {
    let origin = |machine: &GuestRequest| match machine.sized {
        SizedDisks::None => None,
        SizedDisks::New => Some(machine.template()?.0),
        SizedDisks::Kept => machine.vmid,
    };
    let origins = wanted.machines.iter().filter_map(|(key, machine)| Some((key, machine, origin(machine)?)));
    let origins: Vec<_> = origins.collect();
    // A hypervisor that is offline is not asked: the question would wait for it.
    let online = |id: &u32| facts.guests.get(id).is_some_and(|guest| facts.nodes.get(&guest.hypervisor) == Some(&true));
    let asked = origins.iter().map(|(_, _, id)| *id).filter(online).collect();
    let found = disks_of(api, &facts.guests, &asked).await?;
    let flags = |id: u32| Some(found.get(&id)?.disks.get(CLONED)?.flags.clone());
    let found = origins.into_iter().filter_map(|(key, machine, id)| {
        Some((key.clone(), FoundFlags { flags: flags(id)?, kept: machine.sized == SizedDisks::Kept }))
    });
    Ok(found.collect())
}
