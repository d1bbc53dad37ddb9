//! Questions to the user. Ctrl-C at a question ends the command at once, before it does anything.

use std::io::{self, IsTerminal};

use tokio::sync::oneshot;

use super::Session;
use crate::{
    error::{Error, Result},
    report,
};

/// Asks for the cluster's name and refuses any other answer. `refused` makes the error of a cause.
///
/// # Errors
/// When standard input is not a terminal, something else is typed, or the run is interrupted.
pub(super) async fn confirm(session: &Session, name: &str, refused: impl Fn(&str) -> Error) -> Result<()> {
    if !io::stdin().is_terminal() {
        return Err(refused("cannot ask for confirmation: stdin is not a terminal"));
    }
    report::message(&format!("Type the cluster's name, {name}, to continue:"));
    let answer = line(session, name).await?.map_err(|error| refused(&error.to_string()))?;
    if answer.trim() == name { Ok(()) } else { Err(refused("the answer is not the cluster's name")) }
}

/// Asks a question and takes `yes` for consent. Without a terminal the answer is no, and so it is for readers of event
/// lines: a program that reads them does not answer.
///
/// # Errors
/// When the run is interrupted.
pub(super) async fn agree(session: &Session, name: &str, question: &str) -> Result<bool> {
    if session.by_events() || !io::stdin().is_terminal() {
        return Ok(false);
    }
    report::message(&format!("{question} Type `yes` to continue, or press Enter to leave it:"));
    // No answer is no consent.
    Ok(line(session, name).await?.unwrap_or_default().trim() == "yes")
}

/// A line of standard input.
///
/// # Errors
/// When the run is interrupted. The inner error is that of the input.
pub(super) async fn line(session: &Session, name: &str) -> Result<io::Result<String>> {
    let (sender, receiver) = oneshot::channel();
    // A thread that nothing waits for: a blocked read cannot be cancelled, and must not delay the end of the command.
    std::thread::spawn(move || {
        let mut answer = String::new();
        // Without a receiver the answer is of no use.
        let _ = sender.send(io::stdin().read_line(&mut answer).map(|_| answer));
    });
    tokio::select! {
        biased;
        () = session.stop.cancelled() => Err(Error::interrupted("ask for confirmation about", name)),
        answer = receiver => Ok(answer.unwrap_or_else(|error| Err(io::Error::other(error)))),
    }
}
