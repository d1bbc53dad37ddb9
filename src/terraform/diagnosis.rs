//! Why a command of Terraform failed, read from its text: the commands `output`, `state` and `force-unlock` say this only
//! as text, and not in their exit codes or in JSON. No other module reads that text.

use crate::error::Error;

/// Why a command of Terraform failed, as far as hactl acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Diagnosis {
    /// The directory was not initialised for the backend of its configuration.
    NotInitialised,
    /// No state was ever written.
    NoState,
    /// Anything else.
    Other,
}

impl Diagnosis {
    /// Reads the last lines of a command that failed.
    pub(super) fn of(tail: &[String]) -> Self {
        let says = |words: &str| tail.iter().any(|line| line.contains(words));
        if says("No state file was found") {
            Self::NoState
        // "Please run "terraform init"", or "tofu init".
        } else if says(" init\"") {
            Self::NotInitialised
        } else {
            Self::Other
        }
    }
}

/// A command of Terraform that failed.
#[derive(Clone, Debug)]
pub(super) struct TerraformError {
    pub(super) diagnosis: Diagnosis,
    pub(super) error: Error,
}

impl From<TerraformError> for Error {
    fn from(error: TerraformError) -> Self {
        error.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Terraform 1.11 and OpenTofu 1.9 print.
    const RECORDED: [(&str, Diagnosis); 6] = [
        (
            "Error: Backend initialization required, please run \"terraform init\"\n\nReason: Initial configuration of the \
             requested backend \"pg\"\n\nThe \"backend\" is the interface that Terraform uses to store state,\nperform \
             operations, etc.",
            Diagnosis::NotInitialised,
        ),
        (
            "Error: Backend initialization required, please run \"tofu init\"\n\nReason: Backend configuration block has \
             changed",
            Diagnosis::NotInitialised,
        ),
        (
            "Error: Required plugins are not installed\n\nTo download the plugins required for this configuration, \
             run:\n  terraform init",
            Diagnosis::Other,
        ),
        (
            "No state file was found!\n\nState management commands require a state file. Run this command\nin a directory \
             where Terraform has been run or use the -state flag\nto point the command to a specific state location.",
            Diagnosis::NoState,
        ),
        ("Error: Failed to load state: HTTP remote state endpoint invalid auth", Diagnosis::Other),
        ("", Diagnosis::Other),
    ];

    #[test]
    fn recorded_terraform_errors_give_the_expected_diagnosis() {
        for (text, diagnosis) in RECORDED {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            assert_eq!(Diagnosis::of(&lines), diagnosis, "{text}");
        }
    }
}
