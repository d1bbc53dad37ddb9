//! The command line: the commands, and the file of each: its arguments, the question that it asks, a call of
//! `operation` or `query`, and what it shows.

mod arguments;
mod backup;
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
mod reinit;
mod report;
mod restart;
mod restore;
mod schema;
mod secrets;
mod session;
mod ssh;
mod status;
mod subcommand;
mod switchover;
mod terraform;
mod up;
mod verify;
mod version;

use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use self::{session::Session, subcommand::with_list};
use crate::{error::Result, report as reports};

const EXAMPLES: &str = "Examples:
  hactl up patroni-3node          bring up the built-in three-node cluster on this machine
  hactl init pg-dev               write a commented pg-dev.yaml to edit
  hactl up pg-dev                 create the cluster of pg-dev.yaml, or converge it to the file
  hactl status pg-dev             show the primary, lag, timelines, etcd and problems
  hactl down pg-dev               destroy the cluster";

/// Make PostgreSQL HA clusters with Terraform and Ansible, and prove that they fail over
#[derive(Debug, Parser)]
#[command(name = "hactl", version, propagate_version = true, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: arguments::GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the cluster, or converge it to its file
    #[command(
        after_help = "Examples:\n  hactl up patroni-3node\n  hactl up ./pg-prod.yaml --output json\n  hactl up pg-prod --from-backup"
    )]
    Up(up::UpArgs),
    /// Show what `up` would do, and the longest write gap to expect for each fault
    #[command(after_help = "Examples:\n  hactl plan pg-prod\n  hactl plan pg-prod --detailed-exitcode")]
    Plan(plan::PlanArgs),
    /// Show the primary, lag, timelines, etcd and problems
    #[command(
        after_help = "Examples:\n  hactl status pg-prod\n  hactl status pg-prod --watch\n  hactl status pg-prod --output json"
    )]
    Status(status::StatusArgs),
    /// Inject faults while clients write, and prove that the cluster fails over without losing commits
    #[command(after_help = "Examples:
  hactl verify pg-dev
  hactl verify pg-dev --drill node-loss --rounds 20
  hactl verify pg-dev --drill all --yes
  hactl verify pg-dev --drill soak --duration 1h
  hactl verify pg-dev --self-test
  hactl verify --list")]
    Verify(verify::VerifyArgs),
    /// Show the results of the last drills
    #[command(
        after_help = "Examples:\n  hactl report pg-prod\n  hactl report pg-prod --open\n  hactl report pg-prod 20261122T071739 --format markdown"
    )]
    Report(report::ReportArgs),
    /// Make another member the primary, without losing a commit
    #[command(after_help = "Examples:\n  hactl switchover pg-dev\n  hactl switchover pg-prod --to node2 --yes")]
    Switchover(switchover::SwitchoverArgs),
    /// Replace a replica's data with a new copy of the primary's, and keep the old data
    #[command(
        after_help = "Examples:\n  hactl reinit pg-prod node2\n  hactl reinit pg-prod node2 --yes --allow-destroy node2"
    )]
    Reinit(reinit::ReinitArgs),
    /// Restart PostgreSQL on every member, one at a time, the primary after a switchover
    #[command(
        after_help = "Examples:\n  hactl restart pg-dev\n  hactl restart pg-prod node2\n  hactl restart pg-prod --pending --yes"
    )]
    Restart(restart::RestartArgs),
    /// Make, list, remove and test backups
    #[command(
        after_help = "Examples:\n  hactl backup now pg-prod\n  hactl backup list pg-prod\n  hactl backup verify pg-prod"
    )]
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Create a new cluster from the backups of another one
    #[command(
        after_help = "Examples:\n  hactl restore pg-prod --to pg-copy\n  hactl restore pg-prod --to pg-copy --at 2026-11-30T08:15:00Z"
    )]
    Restore(restore::RestoreArgs),
    /// Create a new cluster with the present data of another one, from its backups
    #[command(after_help = "Examples:\n  hactl clone pg-prod --to pg-copy")]
    Clone(restore::CloneArgs),
    /// Destroy the cluster's DNS records, machines and networks; on machines that stay, stop its services
    #[command(
        after_help = "Examples:\n  hactl down pg-dev\n  hactl down pg-dev --yes --purge\n  hactl down pg-hosts --wipe-data"
    )]
    Down(down::DownArgs),
    /// Write a commented cluster file
    #[command(
        after_help = "Examples:\n  hactl init pg-dev\n  hactl init pg-prod --platform proxmox\n  hactl init pg-prod --adopted"
    )]
    Init(init::InitArgs),
    /// Write import blocks with which the next `up` takes over existing Proxmox machines
    #[command(after_help = "Examples:
  hactl import pg-prod node1=pve1/100 node2=pve2/101
  hactl import pg-prod --from old.tfstate --pool
  terraform -chdir=old show -json | hactl import pg-prod --from -")]
    Import(import::ImportArgs),
    /// Create the machines with Terraform, without configuring them
    #[command(after_help = "Examples:\n  hactl provision pg-dev")]
    Provision(provision::ProvisionArgs),
    /// Print the Ansible inventory of a provisioned cluster
    #[command(after_help = "Examples:\n  hactl inventory pg-dev\n  hactl inventory pg-dev --format yaml")]
    Inventory(inventory::InventoryArgs),
    /// Run Ansible on a provisioned cluster, without running Terraform
    #[command(after_help = "Examples:\n  hactl configure pg-dev\n  hactl configure pg-dev --check")]
    Configure(configure::ConfigureArgs),
    /// Open a shell on a machine, or run a command there
    #[command(after_help = "Examples:\n  hactl ssh pg-dev node1\n  hactl ssh pg-dev node1 -- patronictl list")]
    Ssh(ssh::SshArgs),
    /// Open psql as the owner of the first database, with the server's certificate verified
    #[command(
        after_help = "Examples:\n  hactl psql pg-dev\n  hactl psql pg-dev -- -c 'select 1'\n  hactl psql pg-dev -- -d postgres"
    )]
    Psql(psql::PsqlArgs),
    /// Show the logs of the cluster's services on a machine
    #[command(after_help = "Examples:\n  hactl logs pg-dev node1\n  hactl logs pg-dev node1 --unit etcd --lines 200")]
    Logs(logs::LogsArgs),
    /// List, build or prune the node images of the local platform
    #[command(after_help = "Examples:\n  hactl image list\n  hactl image build pg-dev\n  hactl image prune")]
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Download what a cluster needs: the etcd release, Patroni's wheels, Ansible's environment
    #[command(after_help = "Examples:\n  hactl fetch\n  hactl fetch pg-dev")]
    Fetch(fetch::FetchArgs),
    /// Manage the secrets file of a cluster
    #[command(after_help = "Examples:\n  hactl secrets pg-dev recipients\n  \
                            hactl secrets pg-dev recipients add \"$(cat colleague.pub)\"\n  \
                            hactl secrets pg-dev rotate certificates\n  \
                            hactl secrets pg-dev host-keys forget node1")]
    Secrets(secrets::SecretsArgs),
    /// Print the JSON Schema of the cluster file, or of what hactl writes as JSON
    #[command(after_help = "Examples:\n  hactl schema >cluster.schema.json\n  hactl schema status")]
    Schema(schema::SchemaArgs),
    /// Write the embedded roles, playbooks, templates and modules to a directory, for you to edit
    #[command(after_help = "Examples:\n  hactl eject my-roles")]
    Eject(eject::EjectArgs),
    /// Check that this machine has what hactl needs
    #[command(after_help = "Examples:\n  hactl doctor\n  hactl doctor --output json")]
    Doctor,
    /// Install hactl's Terraform provider, or release a lock on the state
    #[command(after_help = "Examples:\n  hactl terraform install\n  hactl terraform force-unlock pg-dev 5e0f2d4c-...")]
    #[command(subcommand)]
    Terraform(terraform::TerraformCommand),
    /// Print a completion script
    #[command(after_help = "Examples:\n  hactl completions bash >~/.local/share/bash-completion/completions/hactl")]
    Completions {
        /// The shell to print the script for
        shell: clap_complete::Shell,
    },
    /// Print the versions of hactl and of what it installs
    #[command(after_help = "Examples:\n  hactl version\n  hactl version --output json")]
    Version,
    /// Serve the provider to Terraform (started by Terraform, not by people)
    #[command(hide = true)]
    TerraformProvider,
    /// Power on machines that a drill powered off (started by drills, not by people)
    #[command(hide = true)]
    PowerWatch(power_watch::PowerWatchArgs),
}

/// Runs the command and returns its exit code.
pub(crate) async fn run(session: &Session, command: Command) -> Result<u8> {
    match command {
        Command::Up(args) => up::run(session, args).await,
        Command::Plan(args) => plan::run(session, args).await,
        Command::Status(args) => status::run(session, args).await,
        Command::Verify(args) => verify::run(session, args).await,
        Command::Report(args) => report::run(session, &args).await,
        Command::Switchover(args) => switchover::run(session, args).await,
        Command::Reinit(args) => reinit::run(session, args).await,
        Command::Restart(args) => restart::run(session, args).await,
        Command::Backup(command) => backup::run(session, command).await,
        Command::Restore(args) => restore::run(session, args).await,
        Command::Clone(args) => restore::clone(session, args).await,
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
