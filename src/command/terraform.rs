use clap::{Args, Subcommand};

use super::{Session, arguments::ClusterArg};
use crate::{
    error::{Error, Result},
    operation, report,
    terraform::provider,
};

#[derive(Debug, Subcommand)]
pub(crate) enum TerraformCommand {
    /// Install the shim that lets plain `terraform` find hactl's provider
    Install,
    /// Release a lock on the state that a dead run left
    ForceUnlock(ForceUnlockArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ForceUnlockArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The lock's ID, as the error shows it
    #[arg(value_name = "LOCK")]
    pub(crate) id: String,
}

pub(crate) async fn run(session: &Session, args: TerraformCommand) -> Result<u8> {
    match args {
        TerraformCommand::Install => {
            let program = std::env::current_exe()
                .map_err(|error| Error::failed("terraform-install", "find the path of", "hactl").source(&error))?;
            let home = provider::data_home(&session.env);
            for path in provider::install(&home, &program)? {
                report::print(&format!("wrote {}", path.display()));
            }
            if let Some(advice) = provider::advice(&session.env, &home) {
                report::print(&advice);
            }
            Ok(0)
        }
        TerraformCommand::ForceUnlock(ForceUnlockArgs { name, id }) => {
            session
                .act(&operation::FORCE_UNLOCK, &name.name, async |run, deployment| {
                    operation::force_unlock(run, deployment, &id).await
                })
                .await
        }
    }
}

pub(crate) async fn serve(session: &Session) -> Result<u8> {
    provider::plugin::main(session.env.clone()).await?;
    Ok(0)
}
