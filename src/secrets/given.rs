//! Passwords that are given from outside: by an environment variable, or by a command of the cluster file.
//!
//! They take the place of those in the secrets file for one run, and are never written into it.

use std::{collections::BTreeMap, path::Path};

use super::command;
use crate::{
    context::Context,
    error::{Error, Result},
    exec::Command,
    model::{Account, Secret, nearest},
};

/// What may give a password, beside the environment.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Commands by account: program and arguments.
    pub commands: &'a [(&'a Account, &'a [String])],
    /// The directory in which they run.
    pub dir: &'a Path,
    /// The accounts of the cluster: a variable may give their passwords.
    pub accounts: &'a [Account],
}

/// The passwords that are given, by account. A variable goes before a command, which then does not run.
///
/// # Errors
/// When a variable belongs to no account, a command fails, or a password has characters that it must not have.
pub async fn given(context: &Context, sources: &Sources<'_>) -> Result<BTreeMap<Account, Secret>> {
    let mut given = from_environment(context, sources.accounts)?;
    for (account, words) in sources.commands {
        if !given.contains_key(*account) {
            given.insert((*account).clone(), from_command(context, account, words, sources.dir).await?);
        }
    }
    Ok(given)
}

fn from_environment(context: &Context, accounts: &[Account]) -> Result<BTreeMap<Account, Secret>> {
    let known: BTreeMap<String, &Account> = accounts.iter().map(|account| (account.variable(), account)).collect();
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    let (mut given, mut wrong) = (BTreeMap::new(), Vec::new());
    for (name, value) in context.env.iter().filter(|(name, _)| name.starts_with(Account::PREFIX)) {
        match (known.get(name), flaw(value)) {
            (None, _) => wrong.push(match nearest(name, names.iter().copied()) {
                Some(meant) => format!("{name} belongs to no account of this cluster (did you mean {meant}?)"),
                None => format!("{name} belongs to no account of this cluster: expected one of {}", names.join(", ")),
            }),
            (Some(_), Some(flaw)) => wrong.push(format!("the value of {name} {flaw}")),
            (Some(account), None) => _ = given.insert((*account).clone(), Secret::new(value.clone())),
        }
    }
    if wrong.is_empty() {
        return Ok(given);
    }
    let error = Error::usage("secrets-given", "take passwords from", "the environment");
    Err(wrong.iter().fold(error, |error, text| error.cause(text)).hint(EXPECTED))
}

async fn from_command(context: &Context, account: &Account, words: &[String], dir: &Path) -> Result<Secret> {
    let object = format!("the command of secrets.{account}");
    let failed = || Error::failed("secrets-command", "get a password from", &object);
    let Some((program, arguments)) = words.split_first() else { return Err(failed().cause("the command is empty")) };
    let command = Command::new(program).args(arguments).dir(dir);
    let by_hand = format!("Run `{command}` in {} by hand: it must print the password and nothing else", dir.display());
    let output = command::output(context, command, || failed().hint(&by_hand)).await?;
    // The line break at the end is not part of the password.
    let text = output.strip_suffix('\n').unwrap_or(&output);
    match flaw(text) {
        None => Ok(Secret::new(text.to_owned())),
        Some(flaw) => Err(failed().cause(format!("its output {flaw}")).hint(by_hand)),
    }
}

/// A secret that is to be kept.
///
/// # Errors
/// When it has characters that it must not have.
pub(super) fn checked(account: &Account, secret: Secret) -> Result<Secret> {
    match flaw(secret.expose()) {
        None => Ok(secret),
        Some(flaw) => Err(Error::usage("secrets-given", "keep", account)
            .cause(format!("the value on standard input {flaw}"))
            .hint(EXPECTED)),
    }
}

const EXPECTED: &str = "Use one line of printable ASCII characters as the password";

/// What is wrong with a password, if anything is. Beyond ASCII not all clients encode alike.
fn flaw(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.contains(['\n', '\r']) {
        Some("has more than one line")
    } else if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        Some("has a character that is not printable ASCII")
    } else {
        None
    }
}
