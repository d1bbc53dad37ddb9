//! Questions to the user. Ctrl-C at one ends the command at once, and nothing is done.

use std::io::{self, IsTerminal};

use tokio::sync::oneshot;

use super::Session;
use crate::{
    error::{Error, Result},
    report,
};

/// Asks for the cluster's name, and refuses whatever is not that. `refused` makes the error of a cause.
///
/// # Errors
/// When standard input is not a terminal, something else is typed, or the run is interrupted.
pub(super) async fn confirm(session: &Session, name: &str, refused: impl Fn(&str) -> Error) -> Result<()> {
    if !io::stdin().is_terminal() {
        return Err(refused("nobody is there to be asked"));
    }
    report::message(&format!("Type the cluster's name, {name}, to go on:"));
    let answer = line(session, name).await?.map_err(|error| refused(&error.to_string()))?;
    if answer.trim() == name { Ok(()) } else { Err(refused("the name was not typed")) }
}

/// A line of standard input.
///
/// # Errors
/// When the run is interrupted. The inner error is that of the input.
pub(super) async fn line(session: &Session, name: &str) -> Result<io::Result<String>> {
    let (sender, receiver) = oneshot::channel();
    // A thread that nothing waits for: a blocked read cannot be taken back, and must not hold up the end.
    std::thread::spawn(move || {
        let mut answer = String::new();
        // A receiver that is gone wants no answer any more.
        let _ = sender.send(io::stdin().read_line(&mut answer).map(|_| answer));
    });
    tokio::select! {
        biased;
        () = session.stop.cancelled() => Err(Error::interrupted("ask for confirmation about", name)),
        answer = receiver => Ok(answer.unwrap_or_else(|error| Err(io::Error::other(error)))),
    }
}
