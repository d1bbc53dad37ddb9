use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::Session;
use crate::{
    cli::{self, HostKeys, Recipients, SecretsCommand},
    context::RunContext,
    deployment::Deployment,
    error::Result,
    operation, query,
    report::{self, Output},
    secrets::Recipient,
};

/// Who can open the secrets file.
#[derive(JsonSchema, Serialize)]
pub(super) struct List {
    /// The public keys for which it is encrypted.
    recipients: Vec<Recipient>,
}

/// Whose host keys are pinned.
#[derive(JsonSchema, Serialize)]
pub(super) struct HostKeyList {
    /// Kind and fingerprint, by the instance's key, or HOST:PORT of a bastion.
    host_keys: BTreeMap<String, String>,
}

pub(super) async fn run(session: &Session, args: cli::Secrets) -> Result<u8> {
    let name = &args.name.name;
    let command = match args.command {
        SecretsCommand::Create => {
            return session.act(&operation::SECRETS, name, operation::create_secrets).await;
        }
        SecretsCommand::Recipients { command } => command,
        SecretsCommand::HostKeys { command } => {
            return match command.unwrap_or(HostKeys::List) {
                HostKeys::List => list_host_keys(session, name).await,
                HostKeys::Forget { name: machines } => {
                    let forget = async |run: &RunContext, deployment| {
                        operation::forget_host_keys(run, deployment, &machines).await
                    };
                    session.act(&operation::SECRETS, name, forget).await
                }
            };
        }
    };
    match command.unwrap_or(Recipients::List) {
        Recipients::List => list(session, name).await,
        Recipients::Add { key } => {
            let key = key.join(" ");
            session
                .act(&operation::SECRETS, name, async |run, deployment| {
                    operation::add_recipient(run, deployment, &key).await
                })
                .await
        }
        Recipients::Remove { key } => {
            let key = key.join(" ");
            session
                .act(&operation::SECRETS, name, async |run, deployment| {
                    operation::remove_recipient(run, deployment, &key).await
                })
                .await
        }
    }
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
