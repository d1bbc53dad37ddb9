//! The one error type: what was being done to which object, why it failed, and what to do next.

pub mod codes;

use std::{fmt, process::ExitCode};

use schemars::JsonSchema;
use serde::Serialize;

/// Who must act, and with that the exit code. Scripts depend on these numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// 1: a stage failed, or the cluster is not healthy.
    Failed,
    /// 2: the command line or the cluster file is wrong.
    Usage,
    /// 3: something that hactl needs is missing on this machine.
    Missing,
    /// 4: the cluster is up but failed its proof, or was not healthy enough to be drilled.
    Unproved,
    /// 130: interrupted by SIGINT.
    Interrupted,
    /// 143: ended by SIGTERM.
    Terminated,
}

impl Kind {
    /// The exit code of a run that ended with this kind of error.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Missing => 3,
            Self::Unproved => 4,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// A failed run. `what` reads as "cannot WHAT" without the "cannot": `create node`, `read cluster file`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Error {
    #[serde(skip)]
    pub kind: Kind,
    /// A stable word for scripts, for example `terraform-apply`.
    pub code: &'static str,
    /// What hactl could not do, without its object: for example `create node`.
    pub what: Box<str>,
    /// To which object: a file, a node, an address.
    pub object: Box<str>,
    /// Why, the nearest cause first.
    pub causes: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// The causes that are at a position in a file, for readers that mark lines.
    #[serde(skip)]
    pub locations: Box<[SourceLocation]>,
}

/// Something wrong in a file of the user's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceLocation {
    /// As the user would type it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    pub message: String,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, code: &'static str, what: impl Into<String>, object: impl fmt::Display) -> Self {
        Self {
            kind,
            code,
            what: what.into().into(),
            object: object.to_string().into(),
            causes: Vec::new(),
            hint: None,
            locations: Box::default(),
        }
    }

    pub fn failed(code: &'static str, what: impl Into<String>, object: impl fmt::Display) -> Self {
        Self::new(Kind::Failed, code, what, object)
    }

    pub fn usage(code: &'static str, what: impl Into<String>, object: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, code, what, object)
    }

    pub fn missing(code: &'static str, what: impl Into<String>, object: impl fmt::Display) -> Self {
        Self::new(Kind::Missing, code, what, object)
    }

    /// A signal stopped the run.
    #[must_use]
    pub fn interrupted(what: impl Into<String>, object: impl fmt::Display) -> Self {
        Self::new(Kind::Interrupted, codes::INTERRUPTED, what, object)
            .cause("interrupted")
            .hint("Run the same command again to resume")
    }

    /// Adds a cause; the nearest cause comes first.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Adds an error and its sources.
    #[must_use]
    pub fn source(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            // Many errors repeat their source in their own text.
            if !self.causes.last().is_some_and(|last| last.contains(&text)) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// What the user can do next: a sentence, best with the command to run.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_code())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.what, self.object)?;
        for cause in &self.causes {
            write!(f, "\n  cause: {}", cause.replace('\n', "\n         "))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {}", hint.replace('\n', "\n        "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_error_has_its_cause_and_a_hint() {
        let error = Error::interrupted("drill", "pg");
        assert_eq!((error.code, error.kind.exit_code()), ("interrupted", 130));
        assert!(error.to_string().starts_with("cannot drill pg\n  cause: interrupted\n  hint: "), "{error}");
    }

    #[test]
    fn error_text_has_action_object_causes_and_hint() {
        let error = Error::failed("x", "create node", "node1").cause("no space left").hint("Free some");
        assert_eq!(error.to_string(), "cannot create node node1\n  cause: no space left\n  hint: Free some");
    }
}
