use super::Session;
use crate::{
    cli,
    error::{Error, Result},
    operation, report,
    terraform::provider,
};

pub(super) async fn run(session: &Session, args: cli::Terraform) -> Result<u8> {
    match args {
        cli::Terraform::Install => {
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
        cli::Terraform::ForceUnlock(cli::ForceUnlock { name, id }) => {
            session
                .act(&operation::FORCE_UNLOCK, &name.name, async |run, deployment| {
                    operation::force_unlock(run, deployment, &id).await
                })
                .await
        }
    }
}

pub(super) async fn serve(session: &Session) -> Result<u8> {
    provider::plugin::main(session.env.clone()).await?;
    Ok(0)
}
