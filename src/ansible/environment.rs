//! Ansible's environment: hactl's own ansible-core and Mitogen, pinned, installed on first use.
//!
//! In comes the context; out go the paths that a playbook run needs. `fetch` has the pins and the location.

use std::path::PathBuf;

use crate::{
    context::Context,
    error::{Error, Kind, Result},
    exec::Command,
    fetch::python_environment,
};

/// Paths of the Ansible that hactl runs.
#[derive(Clone, Debug)]
pub struct AnsibleEnvironment {
    pub ansible_playbook: PathBuf,
    /// The controller's interpreter, for callbacks and scripts.
    pub python: PathBuf,
    /// For `ANSIBLE_STRATEGY_PLUGINS`.
    pub mitogen_strategy_dir: PathBuf,
}

/// Ansible for this machine's Python: core 2.19 from Python 3.11 on, 2.17 for 3.10.
///
/// # Errors
/// When no fitting Python is on this machine, its packages cannot be downloaded, or the environment
/// was damaged.
pub async fn environment(context: &Context) -> Result<AnsibleEnvironment> {
    let environment = python_environment(context).await?;
    let found = AnsibleEnvironment {
        ansible_playbook: environment.program("ansible-playbook"),
        python: environment.python(),
        mitogen_strategy_dir: environment.site_packages().join("ansible_mitogen/plugins/strategy"),
    };
    for path in [&found.ansible_playbook, &found.mitogen_strategy_dir] {
        if !path.exists() {
            return Err(Error::failed("ansible-environment", "use Ansible's environment", path.display())
                .cause("the path does not exist, although the environment was complete before")
                .hint(format!(
                    "Remove {} and run the same command again",
                    context.dirs.cache.join("ansible").display()
                )));
        }
    }
    Ok(found)
}

/// The version of OpenSSH's client, with which Ansible and `hactl ssh` connect to machines.
///
/// # Errors
/// When it is not on this machine, or does not run.
pub async fn ssh_version(context: &Context) -> Result<String> {
    match Command::new("ssh").arg("-V").succeed(context, |_| ()).await {
        Ok(finished) => Ok(finished.tail.first().cloned().unwrap_or_default()),
        Err(error) if error.kind == Kind::Missing => {
            Err(Error::missing("ssh-missing", "connect to machines with", "SSH")
                .cause("no directory of PATH has `ssh`")
                .hint("Install the OpenSSH client (`apt-get install openssh-client`), then run the same command again"))
        }
        Err(error) => Err(error),
    }
}
