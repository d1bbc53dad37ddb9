//! Running a playbook: the command as a value, and its events while it runs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe,
};

use super::{
    AnsibleEnvironment, Configured,
    event::{Follower, Refusal},
};
use crate::{
    context::Context,
    env,
    error::{Error, Result},
    exec::{BUFFERED_LINES, Command, Line, describe_end},
};

/// How long Ansible may take to end after an interrupt. It has nothing to save, and with Mitogen it sometimes misses
/// the signal between two tasks.
const GRACE: Duration = Duration::from_secs(5);

/// Which playbook, on which inventory, from which tree of roles.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// The directory that holds `roles` and `playbooks`.
    pub tree: PathBuf,
    /// The playbook's file name within `playbooks`.
    pub file: String,
    pub inventory: PathBuf,
    /// How many hosts of the inventory the playbook is for.
    pub hosts: usize,
    /// Further variables, from files; never on the command line.
    pub vars_files: Vec<PathBuf>,
}

/// How Ansible reaches the nodes and how it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `None` leaves the keys of the SSH agent.
    pub private_key: Option<PathBuf>,
    /// Arguments of every ssh that has none in the inventory: the known hosts.
    pub ssh_arguments: String,
    /// Without Mitogen, plain SSH pipelining.
    pub mitogen: bool,
    pub check: bool,
    /// A short directory for sockets and scratch files: the path of a socket has about 100 bytes.
    pub scratch: PathBuf,
    pub forks: usize,
}

/// An empty configuration file: the user's own must not change what a run does.
const CONFIG: &str = "ansible.cfg";

/// Checks the directories whose paths Ansible gets.
///
/// # Errors
/// When Ansible or ssh would read the path of one as another path: they replace variables in it.
pub fn check_paths(env: &BTreeMap<String, String>, dirs: &[&Path]) -> Result<()> {
    for dir in dirs {
        let text = dir.display().to_string();
        let Some(variable) = variable_in(&text, |name| is_set(name, env)) else { continue };
        return Err(Error::failed("ansible-path", "run Ansible with the directory", &text)
            .cause(format!("Ansible reads `{variable}` in the path as an environment variable"))
            .hint(format!(
                "Move the cluster file to a directory without `$` in its path, or set {}, {} and {} to such directories",
                env::HACTL_DIR,
                env::HACTL_CACHE_DIR,
                env::TMPDIR
            )));
    }
    Ok(())
}

/// Whether Ansible's process has the variable.
fn is_set(name: &str, env: &BTreeMap<String, String>) -> bool {
    let passed = env::passed_to_all().any(|passed| passed == name) && env.contains_key(name);
    passed || name == env::LC_ALL || ["ANSIBLE_", env::HACTL_, "PYTHON"].iter().any(|prefix| name.starts_with(prefix))
}

/// The first part of `path` that Python's `os.path.expandvars` replaces, or that ssh reads as a variable: `${NAME}`, set
/// or not.
fn variable_in(path: &str, is_set: impl Fn(&str) -> bool) -> Option<&str> {
    path.match_indices('$').find_map(|(at, _)| {
        let rest = &path[at + 1..];
        if let Some(inner) = rest.strip_prefix('{') {
            return inner.find('}').map(|end| &path[at..at + end + 3]);
        }
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        is_set(&rest[..length]).then(|| &path[at..at + 1 + length])
    })
}

/// The command line and environment of `ansible-playbook`.
fn command(environment: &AnsibleEnvironment, playbook: &Playbook, settings: &Settings, events: &Path) -> Command {
    let text = |path: &Path| path.display().to_string();
    let playbooks = playbook.tree.join("playbooks");
    let mut command = Command::new(&environment.ansible_playbook)
        .arg("--inventory")
        .arg(text(&playbook.inventory))
        .grace(GRACE)
        .dir(&playbook.tree)
        .env("ANSIBLE_CONFIG", text(&settings.scratch.join(CONFIG)))
        .env("ANSIBLE_HOME", text(&settings.scratch.join("ansible")))
        .env("ANSIBLE_LOCAL_TEMP", text(&settings.scratch.join("tmp")))
        .env("ANSIBLE_SSH_CONTROL_PATH_DIR", text(&settings.scratch.join("cp")))
        .env("ANSIBLE_ROLES_PATH", text(&playbook.tree.join("roles")))
        .env("ANSIBLE_CALLBACK_PLUGINS", text(&playbooks.join("callback_plugins")))
        .env("ANSIBLE_CALLBACKS_ENABLED", "hactl_events")
        .env(env::HACTL_EVENTS, text(events))
        .env("ANSIBLE_HOST_KEY_CHECKING", "True")
        .env("ANSIBLE_SSH_COMMON_ARGS", &settings.ssh_arguments)
        .env("ANSIBLE_SSH_ARGS", "-C -o ControlMaster=auto -o ControlPersist=30s")
        .env("ANSIBLE_PIPELINING", "True")
        .env("ANSIBLE_FORKS", settings.forks.to_string())
        // Ansible's default of 10 s (`DEFAULT_TIMEOUT`) is short for a new Python on a machine that has much to do.
        .env("ANSIBLE_TIMEOUT", "30")
        .env("ANSIBLE_INTERPRETER_PYTHON", "/usr/bin/python3")
        .env("ANSIBLE_GATHERING", "explicit")
        // Plays name the groups of programs that a cluster may not have.
        .env("ANSIBLE_HOST_PATTERN_MISMATCH", "ignore")
        .env("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "True")
        .env("ANSIBLE_RETRY_FILES_ENABLED", "False")
        .env("ANSIBLE_NOCOLOR", "1")
        .env("ANSIBLE_DEPRECATION_WARNINGS", "False")
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(file) = &settings.private_key {
        command = command.env("ANSIBLE_PRIVATE_KEY_FILE", text(file));
    }
    if settings.mitogen {
        command = command
            .env("ANSIBLE_STRATEGY", "mitogen_linear")
            .env("ANSIBLE_STRATEGY_PLUGINS", text(&environment.mitogen_strategy_dir));
    }
    if settings.check {
        command = command.arg("--check").arg("--diff");
    }
    for file in &playbook.vars_files {
        command = command.arg("--extra-vars").arg(format!("@{}", text(file)));
    }
    command.arg(text(&playbooks.join(&playbook.file)))
}

/// Runs a playbook and returns its recap. `place` makes the error of refused parameters, which are the user's.
///
/// # Errors
/// With every failed task and host and the task's own message; or when the run was interrupted.
pub async fn run(
    context: &Context,
    environment: &AnsibleEnvironment,
    playbook: &Playbook,
    settings: &Settings,
    place: impl Fn(&[Refusal]) -> Error,
) -> Result<Configured> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Error::failed("ansible", "prepare", format!("playbook {}", playbook.file)).source(error)
    };
    std::fs::create_dir_all(&settings.scratch).map_err(|error| failed(&error))?;
    std::fs::write(settings.scratch.join(CONFIG), "").map_err(|error| failed(&error))?;
    let fifo = settings.scratch.join("events");
    let _ = std::fs::remove_file(&fifo);
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| failed(&error))?;
    // Open for writing as well, so that the pipe does not end: the playbook ends with its process.
    let receiver = pipe::OpenOptions::new().read_write(true).open_receiver(&fifo).map_err(|error| failed(&error))?;
    let mut lines = BufReader::new(receiver).lines();

    let (sender, mut output) = tokio::sync::mpsc::channel(BUFFERED_LINES);
    let command = command(environment, playbook, settings, &fifo);
    let running = command.stream(context, sender);
    tokio::pin!(running);
    let mut follower = Follower::default();
    let finished = loop {
        tokio::select! {
            biased;
            line = lines.next_line() => if let Ok(Some(line)) = line
                && let Some(event) = follower.line(&line)
            {
                context.events.emit(event).await;
            },
            Some(line) = output.recv() => context.events.emit(Line::event(line, "ansible")).await,
            finished = &mut running => break finished,
        }
    };
    // What was written before the end is still in the pipe.
    while let Ok(Ok(Some(line))) = tokio::time::timeout(std::time::Duration::from_millis(50), lines.next_line()).await {
        if let Some(event) = follower.line(&line) {
            context.events.emit(event).await;
        }
    }
    while let Ok(line) = output.try_recv() {
        context.events.emit(Line::event(line, "ansible")).await;
    }
    let finished = finished?;
    if !follower.untried.is_empty() {
        let names: Vec<&str> = follower.untried.iter().map(String::as_str).collect();
        let message = format!("could not try {} before the cluster got the change", names.join(", "));
        let hint = "Read the log of the primary with `hactl logs`, to see that the new value works".to_owned();
        context.events.warn("parameter-untried", message, Some(hint)).await;
    }
    let mut error = Error::failed("ansible", "run", format!("playbook {}", playbook.file));
    if finished.status.success()
        && let Some(configured) = follower.configured
    {
        let (hosts, expected) = (configured.hosts.len(), playbook.hosts);
        if hosts >= expected {
            return Ok(configured);
        }
        // Ansible takes an inventory without hosts for success.
        error = error.cause(format!("Ansible ran tasks on {hosts} of {expected} machines"));
    }
    if !follower.refused.is_empty() {
        return Err(place(&follower.refused));
    }
    for (host, task, message) in &follower.failures {
        error = error.cause(format!("{host}: {task}: {message}"));
    }
    if follower.failures.is_empty() && !finished.status.success() {
        error = error.cause(describe_end(finished.status)).cause(finished.tail.join("\n"));
    }
    Err(error.hint("Read the full output in ansible.log of the run record; run the same command again to resume"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

    use super::*;
    use crate::{context::Dirs, event::Events};

    /// The end of a run of `script` in place of ansible-playbook, for a playbook of two hosts.
    async fn ended(script: &str) -> Result<Configured> {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().to_owned();
        let program = here.join("ansible-playbook");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        let (dirs, events) = (Dirs::new(&here, &env), Events::channel().0);
        let context = Context { dirs, env, events, stop: tokio_util::sync::CancellationToken::new() };
        let environment = AnsibleEnvironment {
            ansible_playbook: program,
            python: "python3".into(),
            mitogen_strategy_dir: here.clone(),
        };
        let (tree, inventory, scratch) = (here.clone(), here.join("inventory"), here.join("scratch"));
        let playbook = Playbook { tree, file: "site.yml".to_owned(), inventory, hosts: 2, vars_files: Vec::new() };
        let settings = Settings {
            private_key: None,
            ssh_arguments: String::new(),
            mitogen: false,
            check: false,
            scratch,
            forks: 1,
        };
        run(&context, &environment, &playbook, &settings, |_| unreachable!("nothing is refused")).await
    }

    #[tokio::test]
    async fn run_on_fewer_hosts_than_the_inventory_has_is_a_failure() {
        let stats = |hosts: &[&str]| {
            let recap = r#"{"ok":1,"changed":0,"failures":0,"unreachable":0,"skipped":0,"rescued":0,"ignored":0}"#;
            let hosts: Vec<String> = hosts.iter().map(|host| format!("\"{host}\":{recap}")).collect();
            format!("echo '{{\"event\":\"stats\",\"hosts\":{{{}}}}}' > \"$HACTL_EVENTS\"", hosts.join(","))
        };
        for (hosts, count) in [(&[][..], 0), (&["node1"], 1)] {
            let error = ended(&stats(hosts)).await.unwrap_err();
            assert_eq!(error.causes, [format!("Ansible ran tasks on {count} of 2 machines")]);
        }
        assert_eq!(ended(&stats(&["node1", "node2"])).await.unwrap().hosts.len(), 2);
        // Ansible itself fails, too, where it cannot read an inventory.
        let asked = "[ \"$ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED\" = True ] && exit 4";
        assert!(ended(asked).await.unwrap_err().causes[0].contains("status 4"));
    }

    #[test]
    fn directory_that_ansible_reads_as_another_one_is_an_error_with_its_variable() {
        let env = BTreeMap::from(["HOME", "USER", "SECRET"].map(|name| (name.to_owned(), "x".to_owned())));
        let variable = |path: &str| {
            let said = check_paths(&env, &[Path::new("/fine"), Path::new(path)]).err();
            said.map(|error| error.causes[0].split('`').nth(1).unwrap_or_default().to_owned())
        };
        for (path, expected) in [
            ("/e $HOME/.hactl", "$HOME"),
            ("/a/${HOME}x", "${HOME}"),
            ("/a/$USER-b", "$USER"),
            ("/a/$ANSIBLE_CONFIG", "$ANSIBLE_CONFIG"),
            ("/a$b/${unset}", "${unset}"),
        ] {
            assert_eq!(variable(path).as_deref(), Some(expected), "{path}");
        }
        // Not a variable, or not one of Ansible's process.
        for path in ["/5$", "/$/x", "/$HOMES", "/$SECRET", "/~root/a", "/it's `id` \"x\" 50% {{x}},b", "/a ${b"] {
            assert_eq!(variable(path), None, "{path}");
        }
    }

    #[tokio::test]
    async fn ansible_that_ignores_the_interrupt_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let deaf = dir.path().join("ansible-playbook");
        fs::write(&deaf, "#!/bin/sh\ntrap '' INT\nsleep 60 & wait\n").unwrap();
        fs::set_permissions(&deaf, fs::Permissions::from_mode(0o755)).unwrap();
        let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        let (dirs, events) = (Dirs::new(dir.path(), &env), Events::channel().0);
        let context = Context { dirs, env, events, stop: tokio_util::sync::CancellationToken::new() };
        let stop = context.stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stop.cancel();
        });
        let here = dir.path().to_owned();
        let environment =
            AnsibleEnvironment { ansible_playbook: deaf, python: "python3".into(), mitogen_strategy_dir: here.clone() };
        let playbook = Playbook {
            tree: here.clone(),
            file: "site.yml".to_owned(),
            inventory: here.join("inventory"),
            hosts: 1,
            vars_files: Vec::new(),
        };
        let settings = Settings {
            private_key: Some(here.join("key")),
            ssh_arguments: String::new(),
            mitogen: true,
            check: false,
            scratch: here.join("scratch"),
            forks: 1,
        };
        let started = Instant::now();
        let error = run(&context, &environment, &playbook, &settings, |_| unreachable!()).await.unwrap_err();
        assert_eq!(error.kind.exit_code(), 130);
        // Half of the grace period of other programs.
        assert!(started.elapsed() < crate::exec::GRACE / 2, "{:?}", started.elapsed());
    }
}
