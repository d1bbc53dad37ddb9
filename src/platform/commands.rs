//! Power of machines by commands of the user, such as ipmitool's. They run on this machine.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{
    context::Context,
    env,
    error::{Error, Result},
    exec::{Command, describe_end},
    model::{InstanceKey, PowerCommands},
};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the state is asked after a command, with a pause before each time, until it has changed.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_secs(1);

/// The commands of each machine, without placeholders.
#[derive(Debug)]
pub(super) struct CommandPower {
    pub(super) context: Context,
    pub(super) dir: PathBuf,
    pub(super) machines: BTreeMap<InstanceKey, PowerCommands>,
}

impl CommandPower {
    pub(super) async fn off(&self, key: &InstanceKey) -> Result<()> {
        self.run(key, "off", |commands| &commands.off).await.map(drop)
    }

    /// A machine that has power is left alone.
    pub(super) async fn on(&self, key: &InstanceKey) -> Result<()> {
        if self.is_on(key).await? {
            return Ok(());
        }
        self.run(key, "on", |commands| &commands.on).await?;
        for _ in 0..LOOKS {
            if self.is_on(key).await? {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        let cause = format!("`state` does not report that it has power {} s later", LOOKS * PAUSE.as_secs() as u32);
        Err(failed("on", key).cause(cause))
    }

    pub(super) async fn is_on(&self, key: &InstanceKey) -> Result<bool> {
        let said = self.run(key, "state", |commands| &commands.state).await?;
        state(&said).ok_or_else(|| {
            failed("state", key)
                .cause(format!("its output says neither on nor off: {}", said.trim()))
                .hint("Change `power.state`: it must print `on` or `off`")
        })
    }

    /// What a command prints.
    async fn run(
        &self,
        key: &InstanceKey,
        name: &str,
        which: impl Fn(&PowerCommands) -> &Vec<String>,
    ) -> Result<String> {
        let words = self.machines.get(key).map(which);
        let (program, arguments) =
            words.and_then(|words| words.split_first()).ok_or_else(|| failed(name, key).cause("it is not known"))?;
        let mut program = self.context.at_home(program.as_ref());
        // A name without a slash is searched for in PATH.
        if program.components().count() > 1 {
            program = self.dir.join(program);
        }
        let command = Command::new(program).args(arguments).dir(&self.dir).pass_prefix("").withhold_prefix(env::HACTL_);
        let done = tokio::time::timeout(PATIENCE, command.run(&self.context, |_| ())).await;
        let done =
            done.map_err(|_| failed(name, key).cause(format!("it took more than {} s", PATIENCE.as_secs())))??;
        match done.status.success() {
            true => Ok(done.stdout),
            false => Err(failed(name, key).cause(describe_end(done.status)).cause(done.tail.join("\n").trim())),
        }
    }
}

/// The words of the command stay out of messages: they may hold a password.
fn failed(name: &str, key: &InstanceKey) -> Error {
    Error::failed("power", format!("run `power.{name}` for"), key)
}

/// Whether the output of `state` says that a machine has power; none if it says neither, or both.
fn state(output: &str) -> Option<bool> {
    let words = output.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
    let (mut on, mut off) = (false, false);
    for word in words {
        on |= ["on", "running"].contains(&word.as_str());
        off |= ["off", "exited", "stopped"].contains(&word.as_str());
    }
    (on != off).then_some(on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_read_from_the_output_of_common_programs() {
        for (output, expected) in [
            ("Chassis Power is on\n", Some(true)),
            ("Chassis Power is off\n", Some(false)),
            ("\"PowerState\": \"On\"", Some(true)),
            ("PowerState: Off", Some(false)),
            ("running\n", Some(true)),
            ("shut off\n", Some(false)),
            ("exited\n", Some(false)),
            ("PoweringOn\n", None),
            ("on, then off", None),
            ("", None),
        ] {
            assert_eq!(state(output), expected, "{output}");
        }
    }
}
