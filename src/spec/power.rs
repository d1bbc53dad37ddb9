//! Commands that power machines off and on: what the file has -> what runs.

use super::{checker::Checker, file::PowerFile};
use crate::model::{PLACEHOLDERS, PowerCommands, nearest_placeholder, placeholders};

const PATH: [&str; 3] = ["platform", "hosts", "power"];

/// The commands of a platform that has `machines` machines.
pub(super) fn commands(
    checker: &mut Checker<'_, '_>,
    written: Option<PowerFile>,
    machines: usize,
) -> Option<PowerCommands> {
    let PowerFile { off, on, state } = written?;
    let [off, on, state] =
        [("off", off), ("on", on), ("state", state)].map(|(name, words)| command(checker, name, words, machines));
    Some(PowerCommands { off, on, state })
}

/// One command, with the path of a program that is relative to the file.
fn command(checker: &mut Checker<'_, '_>, name: &str, mut words: Vec<String>, machines: usize) -> Vec<String> {
    let path = [PATH[0], PATH[1], PATH[2], name];
    let mut for_each = false;
    for (index, word) in words.iter().enumerate() {
        for found in placeholders(word) {
            for_each |= PLACEHOLDERS.contains(&found);
            if !PLACEHOLDERS.contains(&found) {
                let message =
                    format!("`{{{{ {found} }}}}` is unknown: a word may have {{{{ instance }}}} and {{{{ host }}}}");
                checker.meant(&[&path[..], &[&index.to_string()]].concat(), message, nearest_placeholder(found));
            }
        }
    }
    let Some(program) = words.first_mut() else { return words };
    if program.is_empty() {
        checker.say(&path, "the first word, which is the program, is empty");
    } else if !for_each && machines > 1 {
        let message =
            "has neither {{ instance }} nor {{ host }}, so it would act on the same machine for every instance";
        checker.say(&path, message);
    } else if program.contains('/') {
        *program = checker.beside(program).display().to_string();
    }
    words
}
