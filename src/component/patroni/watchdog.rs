//! The watchdog device of a machine: a timer in hardware that resets the machine unless Patroni feeds it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Prints the state on a line of its own.
pub(super) const SCRIPT: &str = include_str!("watchdog.sh");

/// What Patroni does with the watchdog device of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Watchdog {
    /// Patroni does not use a device.
    Off,
    /// Patroni feeds the device, which resets the machine when it is not fed: only on the leader.
    Armed,
    /// Patroni will arm the device when the member becomes the leader.
    Ready,
    /// Patroni is configured to use the device, and cannot open one on the machine.
    Unavailable,
}

impl Watchdog {
    /// The state in words; none where no device is to be used.
    #[must_use]
    pub const fn in_words(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::Armed => Some("armed"),
            Self::Ready => Some("ready"),
            Self::Unavailable => Some("not available"),
        }
    }
}

/// Parses the line of the script.
pub(super) fn parse(line: &str) -> Option<Watchdog> {
    match line.strip_prefix("watchdog ")?.trim() {
        "off" => Some(Watchdog::Off),
        "armed" => Some(Watchdog::Armed),
        "ready" => Some(Watchdog::Ready),
        "unavailable" => Some(Watchdog::Unavailable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_parsed_from_its_line() {
        assert_eq!(parse("watchdog armed"), Some(Watchdog::Armed));
        assert_eq!(parse("watchdog unavailable"), Some(Watchdog::Unavailable));
        assert_eq!((parse("3"), parse("")), (None, None));
    }
}
