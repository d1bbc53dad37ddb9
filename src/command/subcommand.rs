//! A word in the place of a subcommand.

use clap::{
    Command, CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Cli;
use crate::model::nearest;

/// Adds the list of subcommands to the error about a word that is not a subcommand. After a name, as in `hactl secrets NAME WORD`,
/// clap calls such a word an unexpected argument.
pub(crate) fn with_list(error: clap::Error, arguments: impl IntoIterator<Item = String>) -> clap::Error {
    let kind = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return error,
    };
    let Some(ContextValue::String(word)) = error.get(kind) else { return error };
    if word.starts_with('-') {
        return error;
    }
    let mut root = Cli::command();
    root.build();
    let mut command = &mut root;
    for argument in arguments.into_iter().take_while(|argument| argument != word) {
        if command.find_subcommand(&argument).is_some() {
            command = command.find_subcommand_mut(&argument).expect("it is there");
        }
    }
    // Clap's own error suggests one of the many commands of hactl.
    if !command.has_subcommands() || kind == ContextKind::InvalidSubcommand && command.get_name() == "hactl" {
        return error;
    }
    let names: Vec<&str> = command.get_subcommands().filter(|one| !one.is_hide_set()).map(Command::get_name).collect();
    let list = format!("unrecognized subcommand '{word}'\n  [subcommands: {}]", names.join(", "));
    let meant = nearest(word, names).map(|name| format!("\n\n  tip: did you mean '{name}'?"));
    command.error(ErrorKind::InvalidSubcommand, list + &meant.unwrap_or_default())
}
