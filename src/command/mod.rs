//! One small file per subcommand: each a few calls of the pipeline, and what is then shown.

mod configure;
mod doctor;
mod down;
mod eject;
mod fetch;
mod image;
mod import;
mod init;
mod inventory;
mod logs;
mod plan;
mod power_watch;
mod prompt;
mod provision;
mod psql;
mod report;
mod schema;
mod secrets;
mod session;
mod ssh;
mod status;
mod terraform;
mod up;
mod verify;
mod version;

use clap::CommandFactory;

pub(crate) use session::Session;

use crate::{
    cli::{Cli, Command},
    error::Result,
    report as reports,
};

/// Does what was asked for, and gives the exit code.
pub(crate) async fn run(session: &Session, command: Command) -> Result<u8> {
    match command {
        Command::Up(args) => up::run(session, args).await,
        Command::Plan(args) => plan::run(session, args).await,
        Command::Status(args) => status::run(session, args).await,
        Command::Verify(args) => verify::run(session, args).await,
        Command::Report(args) => report::run(session, &args).await,
        Command::Down(args) => down::run(session, args).await,
        Command::Init(args) => init::run(session, &args),
        Command::Import(args) => import::run(session, args).await,
        Command::Provision(args) => provision::run(session, args).await,
        Command::Inventory(args) => inventory::run(session, args).await,
        Command::Configure(args) => configure::run(session, args).await,
        Command::Ssh(args) => ssh::run(session, &args).await,
        Command::Psql(args) => psql::run(session, &args).await,
        Command::Logs(args) => logs::run(session, &args).await,
        Command::Image(args) => image::run(session, args).await,
        Command::Fetch(args) => fetch::run(session, args).await,
        Command::Secrets(args) => secrets::run(session, args).await,
        Command::Schema(args) => Ok(schema::run(args.of)),
        Command::Eject(args) => eject::run(session, &args),
        Command::Doctor => doctor::run(session).await,
        Command::Terraform(args) => terraform::run(session, args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hactl", &mut script);
            reports::print(String::from_utf8_lossy(&script).trim_end());
            Ok(0)
        }
        Command::Version => version::run(session),
        Command::PowerWatch(args) => power_watch::run(session, args).await,
        Command::TerraformProvider => terraform::serve(session).await,
    }
}
