//! Commands of the user that power machines off and on.

use serde::{Deserialize, Serialize};

use super::nearest;

/// Commands that power one machine off and on and tell its state, each a program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerCommands {
    pub off: Vec<String>,
    pub on: Vec<String>,
    pub state: Vec<String>,
}

/// What the words of a command may have in place of a value of the machine.
pub const PLACEHOLDERS: [&str; 2] = ["instance", "host"];

impl PowerCommands {
    /// The commands for one machine. Only names of [`PLACEHOLDERS`] are replaced.
    #[must_use]
    pub fn of_machine(&self, instance: &str, host: &str) -> Self {
        let fill = |words: &[String]| {
            let words = words.iter().map(|word| {
                replaced(word, |name| match name {
                    "instance" => Some(instance),
                    "host" => Some(host),
                    _ => None,
                })
            });
            words.collect()
        };
        Self { off: fill(&self.off), on: fill(&self.on), state: fill(&self.state) }
    }
}

/// The names between `{{` and `}}` in a word. What is not a name, such as Go's `{{.State}}`, is none.
#[must_use]
pub fn placeholders(word: &str) -> Vec<&str> {
    let mut found = Vec::new();
    replaced(word, |name| {
        found.push(name);
        None
    });
    found
}

/// The placeholder that was probably meant.
#[must_use]
pub fn nearest_placeholder(name: &str) -> Option<String> {
    nearest(name, PLACEHOLDERS)
}

/// `word` with a value for each name that has one; everything else stays as it is.
fn replaced<'w, 'v>(word: &'w str, mut value: impl FnMut(&'w str) -> Option<&'v str>) -> String {
    let (mut text, mut rest) = (String::new(), word);
    while let Some(start) = rest.find("{{") {
        let Some(end) = rest[start..].find("}}").map(|end| start + end + 2) else { break };
        let name = rest[start + 2..end - 2].trim();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        text.push_str(&rest[..start]);
        match is_name.then(|| value(name)).flatten() {
            Some(value) => text.push_str(value),
            None => text.push_str(&rest[start..end]),
        }
        rest = &rest[end..];
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_and_other_braces_stay() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let commands = PowerCommands {
            off: words(&["ipmitool", "-H", "bmc-{{ instance }}.example.org", "power", "off"]),
            on: words(&["wake", "{{host}}{{ host }}", "{{ other }}", "{{"]),
            state: words(&["docker", "inspect", "-f", "{{.State.Status}} {{ instance }}"]),
        };
        let filled = commands.of_machine("node1", "10.0.0.1");
        assert_eq!(filled.off, ["ipmitool", "-H", "bmc-node1.example.org", "power", "off"]);
        assert_eq!(filled.on, ["wake", "10.0.0.110.0.0.1", "{{ other }}", "{{"]);
        assert_eq!(filled.state, ["docker", "inspect", "-f", "{{.State.Status}} node1"]);
    }

    #[test]
    fn names_between_braces_are_placeholders() {
        assert_eq!(placeholders("a{{ instance }}b{{hots}}{{.State}}{{ }}{{x"), ["instance", "hots"]);
        assert_eq!(nearest_placeholder("hots").as_deref(), Some("host"));
    }
}
