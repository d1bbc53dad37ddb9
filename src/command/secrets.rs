use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::Session;
use crate::{
    cli::{self, HostKeys, Recipients, SecretsCommand},
    error::Result,
    operation,
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
            return session
                .act("secrets", name, async |run, cluster| operation::create_secrets(run, cluster).await)
                .await;
        }
        SecretsCommand::Recipients { command } => command,
        SecretsCommand::HostKeys { command } => {
            return match command.unwrap_or(HostKeys::List) {
                HostKeys::List => list_host_keys(session, name).await,
                HostKeys::Forget { name: machines } => {
                    let forget =
                        async |run: &_, cluster: &_| operation::forget_host_keys(run, cluster, &machines).await;
                    session.act("secrets", name, forget).await
                }
            };
        }
    };
    match command.unwrap_or(Recipients::List) {
        Recipients::List => list(session, name).await,
        Recipients::Add { key } => {
            let key = key.join(" ");
            session.act("secrets", name, async |run, cluster| operation::add_recipient(run, cluster, &key).await).await
        }
        Recipients::Remove { key } => {
            let key = key.join(" ");
            session
                .act("secrets", name, async |run, cluster| operation::remove_recipient(run, cluster, &key).await)
                .await
        }
    }
}

async fn list(session: &Session, name: &str) -> Result<u8> {
    let cluster = session.cluster(name)?;
    cluster.must_be_made_here("secrets")?;
    let recipients = session.query(async |context| operation::recipients(context, &cluster).await).await?;
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
    let keys = session.query(async |context| operation::host_keys(context, &cluster).await).await?;
    match session.output {
        Output::Json => report::print_json(&HostKeyList { host_keys: keys }),
        Output::Text => keys.iter().for_each(|(name, key)| report::print(&format!("{name} {key}"))),
    }
    Ok(0)
}
