//! A program that is asked line by line.

use std::{io, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout},
};

use super::Command;
use crate::{context::Context, error::Result};

/// A running program and its input and output. Dropping this value kills the program.
pub struct Dialogue {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Dialogue {
    /// Sends a line, and returns the next line of output; none if the program has ended or no longer reads.
    pub async fn ask(&mut self, line: &str) -> Option<String> {
        self.input.write_all(format!("{line}\n").as_bytes()).await.ok()?;
        let mut answer = String::new();
        let count = self.output.read_line(&mut answer).await.ok()?;
        (count > 0).then(|| answer.trim_end().to_owned())
    }

    /// What the program wrote to standard error, after its end.
    pub async fn complaint(mut self) -> String {
        let mut text = String::new();
        drop(self.input);
        if let Some(mut errors) = self.child.stderr.take() {
            let _ = errors.read_to_string(&mut text).await;
        }
        text.trim().to_owned()
    }
}

impl Command {
    /// Starts a program to ask it line by line.
    ///
    /// # Errors
    /// When the program is not there or cannot be started.
    pub fn dialogue(&self, context: &Context) -> Result<Dialogue> {
        let mut child = tokio::process::Command::new(self.program())
            .args(self.arguments())
            .env_clear()
            .envs(self.environment(context))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.not_started(&error))?;
        match child.stdin.take().zip(child.stdout.take()) {
            Some((input, output)) => Ok(Dialogue { child, input, output: BufReader::new(output) }),
            None => Err(self.not_started(&io::Error::from(io::ErrorKind::BrokenPipe))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{context::Dirs, event::Events};

    #[tokio::test]
    async fn program_is_asked_and_its_end_is_seen() {
        let env = BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]);
        let dirs = Dirs::new(std::path::Path::new("/nowhere"), &env);
        let context = Context { dirs, env, events: Events::channel().0, stop: Default::default() };
        let script = "while read -r line; do [ \"$line\" != end ] || break; echo \"<$line>\"; done; echo why >&2";
        let mut dialogue = Command::new("sh").args(["-c", script]).dialogue(&context).unwrap();
        assert_eq!(dialogue.ask("a").await.as_deref(), Some("<a>"));
        assert_eq!(dialogue.ask("b").await.as_deref(), Some("<b>"));
        assert_eq!(dialogue.ask("end").await, None);
        assert_eq!(dialogue.complaint().await, "why");
    }
}
