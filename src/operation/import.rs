//! `hactl import`: machines that exist, which the next `up` takes into Terraform's state.

use std::{fmt::Write as _, path::Path};

use super::frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform};
use crate::{
    context::RunContext,
    deployment::{Cluster, Deployment},
    error::{Error, Result},
    event::Summary,
    model::Proxmox,
    terraform::{
        self,
        import::{self, Candidate, ImportRequest, ImportTarget, Imports},
    },
};

/// What was asked for.
#[derive(Debug, Default)]
pub struct ImportSelection {
    /// `KEY=ID` each.
    pub ids: Vec<String>,
    /// What Terraform wrote about an old configuration, each with the name of its file.
    pub old: Vec<(String, String)>,
    /// Whether the pool exists already, too.
    pub pool: bool,
    /// Whether the machines' records exist already, too.
    pub records: bool,
}

pub const IMPORT: Operation = Operation {
    command: "import",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Nothing,
    secrets: SecretsUse::Later,
    locks: LockUse::Directory,
};

/// Writes the import blocks to where the next `plan` and `up` find them.
///
/// # Errors
/// With every problem at once; nothing is written then.
pub async fn import(run: &RunContext, deployment: Deployment, selection: &ImportSelection) -> Result<Summary> {
    let work = perform(run, deployment, &IMPORT, async |acting| {
        Ok((write_imports(run, &acting.deployment.cluster, selection).await?, ()))
    });
    Ok(work.await?.0)
}

async fn write_imports(run: &RunContext, cluster: &Cluster, selection: &ImportSelection) -> Result<Outcome> {
    let name = cluster.name();
    let Some(proxmox) = cluster.plan.platform.proxmox() else {
        return Err(Error::usage("import-platform", "import machines into", name)
            .cause(format!("its platform is {}", cluster.plan.platform.as_str()))
            .hint("Set `platform: {proxmox: {...}}` in the cluster file: only machines on Proxmox can be imported"));
    };
    let dir = run.context.dirs.cluster(name);
    let state = terraform::state(&run.context, &dir, &cluster.plan).await?;
    let imports = decide(cluster, proxmox, state.as_deref(), selection).map_err(|problems| {
        let error = Error::usage("import", "import machines into", name);
        let error = problems.into_iter().fold(error, Error::cause);
        error.hint(format!(
            "Correct these problems and run the command again, for example `hactl import {name} node1=pve1/100`; \
             nothing was written"
        ))
    })?;
    for note in &imports.notes {
        run.context.events.warn("import-note", note, None).await;
    }
    if !imports.missing.is_empty() {
        let keys: Vec<&str> = imports.missing.iter().map(|key| key.as_str()).collect();
        let message = format!("no ID for {}: `hactl up {name}` will create these machines", keys.join(", "));
        run.context
            .events
            .warn("import-missing", message, Some(format!("Run `hactl import {name} KEY=ID` to import them instead")))
            .await;
    }
    let path = import::path(&dir, proxmox.kind);
    import::write(&path, &imports)?;
    Ok(Outcome {
        message: message(&path, &imports),
        next: vec![format!("hactl plan {name}"), format!("hactl up {name}")],
        changed: true,
        ..Outcome::default()
    })
}

fn decide(
    cluster: &Cluster,
    proxmox: &Proxmox,
    state: Option<&str>,
    selection: &ImportSelection,
) -> Result<Imports, Vec<String>> {
    let (mut problems, mut candidates) = (Vec::new(), Vec::new());
    for id in &selection.ids {
        match Candidate::by_hand(id) {
            Ok(candidate) => candidates.push(candidate),
            Err(problem) => problems.push(problem),
        }
    }
    for (source, text) in &selection.old {
        match import::read(source, text) {
            Ok(found) => candidates.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    if selection.pool && proxmox.pool.is_none() {
        problems.push("--pool: the cluster file has no `platform.proxmox.pool`".to_owned());
    }
    if selection.records && cluster.plan.dns.is_none() {
        problems.push("--records: the cluster file has no `dns`".to_owned());
    }
    // The machines that Terraform made or took over for this cluster already.
    let held = state.map(|text| import::machines("the cluster's state", text)).transpose().unwrap_or_else(|found| {
        problems.extend(found);
        None
    });
    let held = held.unwrap_or_default();
    let targets = cluster.plan.nodes.values().filter_map(|node| {
        let guest = proxmox.machines.get(&node.key)?;
        Some((
            &node.key,
            ImportTarget {
                hypervisor: guest.hypervisor.as_str(),
                hostname: node.hostname.as_str(),
                disk_gb: node.disk_gb,
            },
        ))
    });
    let wanted = ImportRequest {
        kind: proxmox.kind,
        targets: targets.collect(),
        single: proxmox.single,
        pool: proxmox.pool.as_ref().filter(|_| selection.pool).map(AsRef::as_ref),
        dns: cluster.plan.dns.as_ref().filter(|_| selection.records),
        held: &held,
    };
    match import::decide(&wanted, &candidates) {
        Ok(imports) if problems.is_empty() => Ok(imports),
        Ok(_) => Err(problems),
        Err(more) => {
            // If nothing could be read, the absence of machines to import is not reported as well.
            problems.extend(if candidates.is_empty() && !problems.is_empty() { Vec::new() } else { more });
            Err(problems)
        }
    }
}

/// What was written, for people.
fn message(path: &Path, imports: &Imports) -> String {
    let mut text = format!("{}: import blocks for", path.display());
    if let Some(pool) = &imports.pool {
        let _ = write!(text, "\n  the pool {pool}");
    }
    for (key, id) in &imports.machines {
        let record = if imports.records.contains_key(key) { ", with its record" } else { "" };
        let _ = write!(text, "\n  {key}: {id}{record}");
    }
    text.push_str(
        "\n\nNothing has been imported yet: `hactl plan` shows what will change on the machines, and `hactl up` \
         imports and changes them.\nTo cancel the import, remove the file before `hactl up`.",
    );
    text
}
