use super::Session;
use crate::{
    cli,
    error::{Error, Result},
    provider, report,
};

pub(super) fn run(session: &Session, args: cli::Terraform) -> Result<u8> {
    match args {
        cli::Terraform::Install => {
            let executable = std::env::current_exe()
                .map_err(|error| Error::failed("terraform-install", "find the path of", "hactl").source(&error))?;
            for line in provider::install(&session.env, &executable)? {
                report::print(&line);
            }
            Ok(0)
        }
    }
}

pub(super) async fn serve() -> Result<u8> {
    provider::plugin::main().await?;
    Ok(0)
}
