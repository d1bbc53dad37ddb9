use clap::{Args, Subcommand};

use std::{collections::BTreeMap, io::Read as _};

use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    Session,
    arguments::{AnsibleArgs, ClusterArg},
};
use crate::{
    context::RunContext,
    deployment::Deployment,
    error::{Error, Result},
    model::Secret,
    operation, query,
    report::{self, Output},
    secrets::Recipient,
};

#[derive(Args, Debug)]
pub(crate) struct SecretsArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    #[command(subcommand)]
    pub(crate) command: SecretsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Create the secrets file before the first `up`, or add what the cluster file needs now, so that you can commit it
    Create,
    /// Store a secret of a backup repository, read from standard input
    Set {
        /// The secret: backup.REPOSITORY.key, backup.REPOSITORY.secret or backup.REPOSITORY.passphrase
        #[arg(value_name = "SECRET")]
        account: String,
    },
    /// List, add and remove the public keys for which the file is encrypted
    Recipients {
        #[command(subcommand)]
        command: Option<RecipientsCommand>,
    },
    /// Renew secrets on a running cluster
    Rotate {
        #[command(subcommand)]
        command: RotateCommand,
    },
    /// List and forget pinned SSH host keys
    HostKeys {
        #[command(subcommand)]
        command: Option<HostKeysCommand>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RotateCommand {
    /// Renew the certificates of the machines, one machine at a time, and hactl's own, without an interruption of writes
    Certificates {
        /// Renew only the certificates of this instance; may be repeated
        #[arg(long, value_name = "KEY")]
        instance: Vec<String>,
        #[command(flatten)]
        ansible: AnsibleArgs,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum HostKeysCommand {
    /// List the pinned host keys with their fingerprints
    List,
    /// Forget a host key, so that the next `up` records the one that the machine presents
    Forget {
        /// The instance's key, or HOST:PORT of a bastion
        #[arg(required = true)]
        name: Vec<String>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RecipientsCommand {
    /// List the public keys; an asterisk marks yours
    List,
    /// Encrypt the file for an additional key
    Add {
        /// An age public key (age1...) or an SSH one (ssh-ed25519 AAAA... or ssh-rsa AAAA...)
        #[arg(required = true)]
        key: Vec<String>,
    },
    /// Stop encrypting the file for a key; the key still opens old copies
    Remove {
        /// The public key, with or without its comment
        #[arg(required = true)]
        key: Vec<String>,
    },
}

/// The keys that can open the secrets file.
#[derive(JsonSchema, Serialize)]
pub(super) struct List {
    /// The public keys for which it is encrypted.
    recipients: Vec<Recipient>,
}

/// The pinned host keys.
#[derive(JsonSchema, Serialize)]
pub(super) struct HostKeyList {
    /// Kind and fingerprint, by the instance's key or a bastion's HOST:PORT.
    host_keys: BTreeMap<String, String>,
}

pub(crate) async fn run(session: &Session, args: SecretsArgs) -> Result<u8> {
    let name = &args.name.name;
    let command = match args.command {
        SecretsCommand::Create => {
            return session.act(&operation::SECRETS, name, operation::create_secrets).await;
        }
        SecretsCommand::Rotate { command: RotateCommand::Certificates { instance, ansible } } => {
            let rotate = async |run: &RunContext, deployment| {
                operation::rotate_certificates(run, deployment, &instance, !ansible.no_mitogen).await
            };
            return session.act(&operation::ROTATE, name, rotate).await;
        }
        SecretsCommand::Set { account } => {
            let secret = read_secret(&account)?;
            let set =
                async |run: &RunContext, deployment| operation::set_secret(run, deployment, &account, secret).await;
            return session.act(&operation::SECRETS, name, set).await;
        }
        SecretsCommand::Recipients { command } => command,
        SecretsCommand::HostKeys { command } => {
            return match command.unwrap_or(HostKeysCommand::List) {
                HostKeysCommand::List => list_host_keys(session, name).await,
                HostKeysCommand::Forget { name: machines } => {
                    let forget = async |run: &RunContext, deployment| {
                        operation::forget_host_keys(run, deployment, &machines).await
                    };
                    session.act(&operation::SECRETS, name, forget).await
                }
            };
        }
    };
    match command.unwrap_or(RecipientsCommand::List) {
        RecipientsCommand::List => list(session, name).await,
        RecipientsCommand::Add { key } => {
            let key = key.join(" ");
            session
                .act(&operation::SECRETS, name, async |run, deployment| {
                    operation::add_recipient(run, deployment, &key).await
                })
                .await
        }
        RecipientsCommand::Remove { key } => {
            let key = key.join(" ");
            session
                .act(&operation::SECRETS, name, async |run, deployment| {
                    operation::remove_recipient(run, deployment, &key).await
                })
                .await
        }
    }
}

/// What standard input has, without the line break at its end.
fn read_secret(account: &str) -> Result<Secret> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Error::failed("secrets-given", "read from standard input", account).source(&error))?;
    Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
}

async fn list(session: &Session, name: &str) -> Result<u8> {
    let cluster = session.cluster(name)?;
    cluster.must_be_made_here("secrets")?;
    let mut deployment = Deployment::open(cluster);
    let recipients = session.query(async |context| query::recipients(context, &mut deployment).await).await?;
    match session.output {
        Output::Json => report::print_json(&List { recipients }),
        Output::Text => {
            for recipient in recipients {
                report::print(&format!("{} {}", if recipient.own { '*' } else { ' ' }, recipient.key));
            }
        }
    }
    Ok(0)
}

async fn list_host_keys(session: &Session, name: &str) -> Result<u8> {
    let cluster = session.cluster(name)?;
    cluster.must_be_made_here("secrets")?;
    let mut deployment = Deployment::open(cluster);
    let keys = session.query(async |context| query::host_keys(context, &mut deployment).await).await?;
    match session.output {
        Output::Json => report::print_json(&HostKeyList { host_keys: keys }),
        Output::Text => keys.iter().for_each(|(name, key)| report::print(&format!("{name} {key}"))),
    }
    Ok(0)
}
