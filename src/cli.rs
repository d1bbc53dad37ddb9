//! The command line: what may be asked for, in clap's types. Nothing is done here.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{model::InstanceKey, terraform::Consent};

const EXAMPLES: &str = "Examples:
  hactl up patroni-3node          bring up the built-in three-node cluster on this machine
  hactl init pg-dev               write pg-dev.yaml, commented, to be changed
  hactl up pg-dev                 create or converge the cluster of pg-dev.yaml
  hactl status pg-dev             who leads, lag, timelines, etcd, what is wrong
  hactl down pg-dev               take everything away again";

/// PostgreSQL HA clusters on machines that Terraform made and Ansible configured
#[derive(Debug, Parser)]
#[command(name = "hactl", version, propagate_version = true, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Debug)]
pub(crate) struct Global {
    /// How results and progress are shown
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
    /// Show the tools' own output, and every task of every node
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Bars on a terminal, plain lines in pipes
    #[default]
    Text,
    /// Event lines for acting commands, one object for queries
    Json,
    /// As text, in GitHub's workflow log: stages as groups, errors as annotations, summary and outputs of the step
    Github,
}

/// The cluster that a command is about.
#[derive(Args, Debug)]
pub(crate) struct Name {
    /// A cluster file, the NAME of NAME.yaml, a cluster made from here, or a built-in blueprint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the cluster, or converge it to its file
    #[command(after_help = "Examples:\n  hactl up patroni-3node\n  hactl up ./pg-prod.yaml --output json")]
    Up(Up),
    /// Show what `up` would do, and the longest write gap to expect per fault
    #[command(after_help = "Examples:\n  hactl plan pg-prod\n  hactl plan pg-prod --detailed-exitcode")]
    Plan(Plan),
    /// Show who leads, lag, timelines, etcd, and what is wrong
    #[command(
        after_help = "Examples:\n  hactl status pg-prod\n  hactl status pg-prod --watch\n  hactl status pg-prod --output json"
    )]
    Status(Status),
    /// Break the cluster on purpose while clients write, and prove that it fails over without loss
    #[command(after_help = "Examples:
  hactl verify pg-dev
  hactl verify pg-dev --drill node-loss --rounds 20
  hactl verify pg-dev --drill all --yes
  hactl verify pg-dev --drill soak --duration 1h
  hactl verify pg-dev --self-test
  hactl verify --list")]
    Verify(Verify),
    /// Show what the last drills found
    #[command(
        after_help = "Examples:\n  hactl report pg-prod\n  hactl report pg-prod --open\n  hactl report pg-prod 20261122T071739 --format markdown"
    )]
    Report(Report),
    /// Destroy the cluster: records, machines, networks, in reverse order; on machines that stay, stop it
    #[command(
        after_help = "Examples:\n  hactl down pg-dev\n  hactl down pg-dev --yes --purge\n  hactl down pg-hosts --wipe-data"
    )]
    Down(Down),
    /// Write a commented cluster file
    #[command(
        after_help = "Examples:\n  hactl init pg-dev\n  hactl init pg-prod --platform proxmox\n  hactl init pg-prod --adopted"
    )]
    Init(Init),
    /// Take machines that exist on Proxmox over into the cluster: write import blocks for the next `up`
    #[command(after_help = "Examples:
  hactl import pg-prod node1=pve1/100 node2=pve2/101
  hactl import pg-prod --from old.tfstate --pool
  terraform -chdir=old show -json | hactl import pg-prod --from -")]
    Import(Import),
    /// Make the machines by Terraform, and no more
    #[command(after_help = "Examples:\n  hactl provision pg-dev")]
    Provision(Provision),
    /// Print the Ansible inventory of a provisioned cluster
    #[command(after_help = "Examples:\n  hactl inventory pg-dev\n  hactl inventory pg-dev --format yaml")]
    Inventory(Inventory),
    /// Run Ansible on a provisioned cluster, and no more
    #[command(after_help = "Examples:\n  hactl configure pg-dev\n  hactl configure pg-dev --check")]
    Configure(Configure),
    /// Open a shell on a machine, or run a command there
    #[command(after_help = "Examples:\n  hactl ssh pg-dev node1\n  hactl ssh pg-dev node1 -- patronictl list")]
    Ssh(Ssh),
    /// Open psql as the owner of the first database, verifying the server
    #[command(
        after_help = "Examples:\n  hactl psql pg-dev\n  hactl psql pg-dev -- -c 'select 1'\n  hactl psql pg-dev -- -d postgres"
    )]
    Psql(Psql),
    /// Show the services' logs of a machine
    #[command(after_help = "Examples:\n  hactl logs pg-dev node1\n  hactl logs pg-dev node1 --unit etcd --lines 200")]
    Logs(Logs),
    /// List, build or prune the node images of the local platform
    #[command(after_help = "Examples:\n  hactl image list\n  hactl image build pg-dev\n  hactl image prune")]
    #[command(subcommand)]
    Image(Image),
    /// Download what nodes need: the etcd release, Patroni's wheels, Ansible's environment
    #[command(after_help = "Examples:\n  hactl fetch\n  hactl fetch pg-dev")]
    Fetch(Fetch),
    /// Work with the secrets file of a cluster
    #[command(after_help = "Examples:\n  hactl secrets pg-dev recipients\n  \
                            hactl secrets pg-dev recipients add \"$(cat colleague.pub)\"\n  \
                            hactl secrets pg-dev host-keys forget node1")]
    Secrets(Secrets),
    /// Print the JSON Schema of the cluster file, or of what hactl writes as JSON
    #[command(after_help = "Examples:\n  hactl schema >cluster.schema.json\n  hactl schema status")]
    Schema(Schema),
    /// Write the embedded roles, playbooks, templates and modules into a directory, to be changed
    #[command(after_help = "Examples:\n  hactl eject my-roles")]
    Eject(Eject),
    /// Check what this machine has and what is missing
    #[command(after_help = "Examples:\n  hactl doctor\n  hactl doctor --output json")]
    Doctor,
    /// Work with the Terraform provider that hactl serves, and with the state's lock
    #[command(after_help = "Examples:\n  hactl terraform install\n  hactl terraform force-unlock pg-dev 5e0f2d4c-...")]
    #[command(subcommand)]
    Terraform(Terraform),
    /// Print a completion script
    #[command(after_help = "Examples:\n  hactl completions bash >~/.local/share/bash-completion/completions/hactl")]
    Completions {
        /// The shell it is for
        shell: clap_complete::Shell,
    },
    /// Print versions: hactl's own, and those of what it installs
    #[command(after_help = "Examples:\n  hactl version\n  hactl version --output json")]
    Version,
    /// Serve the provider to Terraform (started by Terraform, not by people)
    #[command(hide = true)]
    TerraformProvider,
    /// Give power back to machines whose power a drill took (started by drills, not by people)
    #[command(hide = true)]
    PowerWatch(PowerWatch),
}

#[derive(Args, Debug)]
pub(crate) struct PowerWatch {
    /// The cluster's UUID
    #[arg(long)]
    pub(crate) uuid: uuid::Uuid,
    /// When, in milliseconds from now
    #[arg(long)]
    pub(crate) after_ms: u64,
    /// The machines
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) ansible: Ansible,
    #[command(flatten)]
    pub(crate) agreed: Agreed,
    /// Accepted for scripts; `up` asks nothing
    #[arg(long)]
    pub(crate) yes: bool,
    /// Do not prove the failover of a cluster that this run has initialised
    #[arg(long)]
    pub(crate) no_verify: bool,
}

/// What may happen to machines that exist.
#[derive(Args, Debug)]
pub(crate) struct Agreed {
    /// Let this machine be destroyed, or replaced by a new one; on platform terraform the resource with this address. May be
    /// given several times
    #[arg(long, value_name = "NODE", value_parser = doomed)]
    pub(crate) allow_destroy: Vec<String>,
    /// Let this machine be stopped and started; may be given several times
    #[arg(long, value_name = "NODE")]
    pub(crate) allow_restart: Vec<InstanceKey>,
}

/// A machine, or the address of a resource, which has a dot in it.
fn doomed(text: &str) -> Result<String, String> {
    if !text.contains('.') {
        text.parse::<InstanceKey>().map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

impl From<Agreed> for Consent {
    fn from(agreed: Agreed) -> Self {
        Self {
            destroy: agreed.allow_destroy.iter().filter_map(|text| text.parse().ok()).collect(),
            addresses: agreed.allow_destroy.into_iter().collect(),
            restart: agreed.allow_restart.into_iter().collect(),
            ..Self::default()
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Provision {
    #[command(flatten)]
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) agreed: Agreed,
}

#[derive(Args, Debug)]
pub(crate) struct Ansible {
    /// Run Ansible over plain SSH pipelining, without Mitogen
    #[arg(long)]
    pub(crate) no_mitogen: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) agreed: Agreed,
    /// End with 0 for no changes, 2 for changes, 1 for an error
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) name: Name,
    /// Look again every 2 s until interrupted
    #[arg(long, short)]
    pub(crate) watch: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// A cluster file, the NAME of NAME.yaml, a cluster made from here, or a built-in blueprint
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A drill, with or without its variant; `all` of them; or `soak`, which draws from them. May be given
    /// again. By default those of the cluster file, and without any there switchover, postgres-crash and
    /// node-loss
    #[arg(long, value_name = "DRILL")]
    pub(crate) drill: Vec<String>,
    /// How often each drill strikes; 20 and more give percentiles. 1 by default; of a soak as many as there
    /// is time for
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: Option<u32>,
    /// How long a soak goes on, for example `45m` or `2h`; an hour by default
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<jiff::SignedDuration>,
    /// Show that the harness can see a loss: the same fault must lose rows under `async`, and none under
    /// the cluster's own durability
    #[arg(long, conflicts_with_all = ["drill", "rounds", "duration", "max_interruption"])]
    pub(crate) self_test: bool,
    /// Print the drills, and do nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Do not ask; local clusters are not asked about
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Leave out drills that may interrupt writes for longer than this, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_interruption: Option<f64>,
    /// Clients on the application's path
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) clients: u16,
    /// Clients that stay on one node, for each node
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) pinned: u16,
    /// Writes per second of all clients together, at most
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// What random choices come from; printed in the report
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) name: Name,
    /// The run: the name of its directory below .hactl/NAME/runs or how that begins; the last by default
    pub(crate) run: Option<String>,
    /// Open the page in a browser
    #[arg(long, conflicts_with = "format")]
    pub(crate) open: bool,
    /// Write the record of the last run of any command, or of RUN, as an archive (.tar.gz) without journals of the
    /// nodes and without secrets, to be handed on
    #[arg(long, value_name = "FILE", conflicts_with_all = ["open", "format"])]
    pub(crate) bundle: Option<std::path::PathBuf>,
    /// How it is printed: text, or json with `--output json`, by default
    #[arg(long, value_enum)]
    pub(crate) format: Option<ReportFormat>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For a terminal, with the paths of the files
    Text,
    /// The page with a timeline of every round
    Html,
    /// Every number
    Json,
    /// For CI systems' lists of tests
    Junit,
    /// For CI systems' summary pages
    Markdown,
}

#[derive(Args, Debug)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) name: Name,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// The cluster's name, typed before: goes on without asking when it is right, and refuses when it is not
    #[arg(long, value_name = "CLUSTER", conflicts_with = "yes")]
    pub(crate) confirm: Option<String>,
    /// Remove the run records and the age key, too
    #[arg(long)]
    pub(crate) purge: bool,
    /// Where the machines stay (platform hosts, and terraform with `destroy: false`): remove the cluster's data there, too.
    /// Without it the services are stopped and disabled, and the next `up` starts them again
    #[arg(long)]
    pub(crate) wipe_data: bool,
    /// Where the machines stay: leave this one as it is, since it does not answer any more; may be given several times
    #[arg(long, value_name = "NODE")]
    pub(crate) leave: Vec<InstanceKey>,
}

#[derive(Args, Debug)]
pub(crate) struct Init {
    /// The cluster's name; the file is NAME.yaml
    pub(crate) name: String,
    /// A file for a Patroni cluster that runs already, to be looked at and drilled
    #[arg(long, conflicts_with = "platform")]
    pub(crate) adopted: bool,
    /// Where the machines of the new cluster come from
    #[arg(long, value_enum, default_value_t)]
    pub(crate) platform: InitPlatform,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum InitPlatform {
    /// Containers on this machine
    #[default]
    Local,
    /// Machines of Proxmox VE
    Proxmox,
    /// Machines that exist
    Hosts,
    /// Machines of a Terraform root module of your own
    Terraform,
}

#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) name: Name,
    /// An instance's key, and the machine's number on its hypervisor: node1=100 or node1=pve1/100
    #[arg(value_name = "KEY=ID", group = "what")]
    pub(crate) ids: Vec<String>,
    /// What Terraform wrote about an old configuration: a state, or the JSON of `terraform show -json` or
    /// `terraform output -json`; `-` for standard input
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) from: Vec<std::path::PathBuf>,
    /// The pool of the cluster file exists already: import it, too
    #[arg(long, group = "what")]
    pub(crate) pool: bool,
    /// The machines' DNS records exist already: import them, too
    #[arg(long)]
    pub(crate) records: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Inventory {
    #[command(flatten)]
    pub(crate) name: Name,
    /// INI and YAML for ansible-playbook's --inventory, JSON in the form of a dynamic inventory
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: InventoryFormat,
    /// Everything in JSON, secrets included, for Ansible's dynamic inventory: never to a terminal
    #[arg(long, conflicts_with = "format")]
    pub(crate) list: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum InventoryFormat {
    #[default]
    Ini,
    Yaml,
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct Configure {
    #[command(flatten)]
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) ansible: Ansible,
    /// Ansible's check mode: say what would change, change nothing
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Ssh {
    #[command(flatten)]
    pub(crate) name: Name,
    /// The instance's key
    pub(crate) node: String,
    /// A command to run there instead of a shell
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Psql {
    #[command(flatten)]
    pub(crate) name: Name,
    /// Arguments for psql
    #[arg(last = true)]
    pub(crate) args: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) name: Name,
    /// The instance's key
    pub(crate) node: String,
    /// The systemd unit: patroni, etcd; both by default
    #[arg(long)]
    pub(crate) unit: Option<String>,
    /// Lines from the end
    #[arg(long, default_value_t = 50)]
    pub(crate) lines: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// List base and node images
    List,
    /// Build the node image of a cluster now
    Build(Name),
    /// Remove node images that no container uses
    Prune,
}

#[derive(Args, Debug)]
pub(crate) struct Fetch {
    /// The cluster whose versions are wanted
    #[arg(value_name = "NAME", default_value = "patroni-3node")]
    pub(crate) name: String,
}

#[derive(Args, Debug)]
pub(crate) struct Secrets {
    #[command(flatten)]
    pub(crate) name: Name,
    #[command(subcommand)]
    pub(crate) command: SecretsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Make the file before the first up, or add what the cluster file needs by now, so that it can be committed
    Create,
    /// List, add and remove the public keys for which the file is encrypted
    Recipients {
        #[command(subcommand)]
        command: Option<Recipients>,
    },
    /// List and forget the SSH host keys that are pinned
    HostKeys {
        #[command(subcommand)]
        command: Option<HostKeys>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum HostKeys {
    /// List whose host keys are pinned, with their fingerprints
    List,
    /// Let the next up record the host key that a machine then shows
    Forget {
        /// The instance's key, or HOST:PORT of a bastion
        #[arg(required = true)]
        name: Vec<String>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Recipients {
    /// List the public keys; a star marks yours
    List,
    /// Let another key open the file
    Add {
        /// An age public key (age1...) or an SSH one (ssh-ed25519 AAAA... or ssh-rsa AAAA...)
        #[arg(required = true)]
        key: Vec<String>,
    },
    /// Let a key open the file no more; old copies it still opens
    Remove {
        /// The public key, with or without its comment
        #[arg(required = true)]
        key: Vec<String>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Schema {
    /// What it describes
    #[arg(value_enum, default_value_t)]
    pub(crate) of: Shape,
}

/// What hactl reads or writes as JSON.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Shape {
    /// The cluster file
    #[default]
    ClusterFile,
    /// `hactl status`
    Status,
    /// `hactl plan`
    Plan,
    /// A line of an acting command, and of a run's events.jsonl
    Event,
    /// A run's report.json
    Report,
    /// A line of a run's history.jsonl
    History,
    /// A query that failed
    Error,
    /// `hactl verify --list`
    Drills,
    /// `hactl doctor`
    Doctor,
    /// `hactl version`
    Version,
    /// `hactl image list`
    Images,
    /// `hactl secrets NAME recipients`
    Recipients,
    /// `hactl secrets NAME host-keys`
    HostKeys,
}

#[derive(Args, Debug)]
pub(crate) struct Eject {
    /// The directory, which must be new or empty
    pub(crate) dir: std::path::PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Terraform {
    /// Install the shim by which plain `terraform` finds hactl's provider
    Install,
    /// Give back the lock of the state that a dead run left
    ForceUnlock(ForceUnlock),
}

#[derive(Args, Debug)]
pub(crate) struct ForceUnlock {
    #[command(flatten)]
    pub(crate) name: Name,
    /// The lock's id, as the error has it
    #[arg(value_name = "LOCK")]
    pub(crate) id: String,
}
