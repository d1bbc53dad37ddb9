//! `hactl configure`: the playbook on the machines that exist.

use super::{
    frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform},
    switchover,
};
use crate::{
    context::RunContext,
    deployment::{Deployment, RunningCluster, access},
    error::{Error, Result},
    event::Summary,
    model::Account,
    stage::{
        firewall, interruption, prepare,
        software::{self, PlayMode},
        versions,
    },
};

pub const CONFIGURE: Operation = Operation {
    command: "configure",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Nothing,
    secrets: SecretsUse::Open,
    locks: LockUse::Cluster,
};

/// What `configure` is asked for.
#[derive(Clone, Copy, Debug)]
pub struct ConfigureRequest {
    /// Whether Ansible runs with Mitogen.
    pub mitogen: bool,
    /// Whether it only says what would change.
    pub check: bool,
    /// Whether writes may be interrupted.
    pub may_interrupt: bool,
}

/// Configures the machines of the last provisioning. `ask` asks for consent to an interruption of writes.
///
/// # Errors
/// When the cluster was never provisioned, a task fails, or something was left that interrupts writes.
pub async fn configure(
    run: &RunContext,
    deployment: Deployment,
    request: ConfigureRequest,
    ask: impl AsyncFnOnce(&str) -> Result<bool>,
) -> Result<Summary> {
    let ConfigureRequest { mitogen, check, may_interrupt } = request;
    let work = perform(run, deployment, &CONFIGURE, async |acting| {
        acting.deployment.take_over()?;
        versions::learn(&run.context, &mut acting.deployment).await?;
        let (cluster, known, vault) = acting.deployment.parts(&run.context).await?;
        let name = cluster.name();
        let owners: Vec<_> = cluster.owners().into_iter().map(Account::Owner).collect();
        if cluster.state_location().is_some() && vault.ensure_passwords(&owners)? {
            return Err(Error::failed("secrets-behind", "configure", name)
                .cause(
                    "a database owner in the cluster file has no password yet, and `configure` cannot record a new \
                     one in the state",
                )
                .hint(format!(
                    "Run `hactl up {name}` or `hactl provision {name}` to create the password and record it \
                               in the state"
                )));
        }
        let fleet = known.fleet(cluster)?;
        let prepared = prepare::prepare(run, cluster, vault, mitogen).await?;
        software::render(run, cluster, vault, fleet, &prepared.downloads).await?;
        if !check {
            let access = access(&run.context, cluster, vault)?;
            software::look_at_dates(&run.context, cluster, vault, fleet, &access).await?;
            firewall::admit_members(cluster, fleet, &access).await?;
        }
        // A check shows what a run with consent would do.
        let mode = PlayMode { mitogen, check, may_interrupt: may_interrupt || check, origin: None };
        let hand_over = async || {
            let running = RunningCluster::made_here(&run.context, cluster, vault, fleet.clone())?;
            switchover::before_restart(run, &running).await
        };
        let configured = interruption::configure(run, cluster, &prepared.ansible, mode, None, ask, hand_over).await?;
        if let Some(error) = interruption::left(CONFIGURE.command, cluster, &configured) {
            return Err(error);
        }
        let changed = configured.changed();
        let would = if check { "would change" } else { "changed" };
        let outcome = Outcome {
            message: format!("{name}: {changed} tasks {would} something."),
            next: vec![format!("hactl status {name}")],
            changed: changed > 0 && !check,
            ..Outcome::default()
        };
        Ok((outcome, ()))
    });
    Ok(work.await?.0)
}
