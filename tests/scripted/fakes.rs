//! Fake programs: each reports its call to the test and waits for orders.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    sync::mpsc::Sender,
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::world::Observed;

/// How a program was called.
#[derive(Debug, Deserialize)]
pub(super) struct Invocation {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    /// The names of its environment variables.
    pub(super) variables: Vec<String>,
    /// The machine that it runs on; none for the controller.
    pub(super) machine: Option<String>,
}

/// A fake program that waits for orders.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) invocation: Invocation,
    stream: UnixStream,
}

impl Call {
    fn order(&self, order: &Value) {
        // hactl may have killed it.
        let _ = writeln!(&self.stream, "{order}");
    }

    /// Prints lines to standard output.
    pub(super) fn print(&self, text: &str) {
        text.lines().for_each(|line| self.order(&json!({"stdout": line})));
    }

    /// Writes lines to `HACTL_EVENTS`, as the callback plugin does.
    pub(super) fn write_events(&self, text: &str) {
        text.lines().for_each(|line| self.order(&json!({"event": line})));
    }

    pub(super) fn exit(self, code: i32) {
        self.order(&json!({"exit": code}));
    }

    /// The value of the argument `NAME=VALUE` whose start is `start`.
    pub(super) fn option(&self, start: &str) -> Option<&str> {
        self.invocation.arguments.iter().find_map(|argument| argument.strip_prefix(start))
    }

    pub(super) fn has(&self, argument: &str) -> bool {
        self.invocation.arguments.iter().any(|given| given == argument)
    }
}

/// Installs the fake programs in `dir`: those of the controller in `bin`, those of machines in `machine`.
pub(super) fn install(dir: &Path, observed: Sender<Observed>) {
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let python = String::from_utf8(python.stdout).unwrap();
    let python = python.trim();
    let write = |name: &str, text: &str| {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    for below in ["bin", "machine/fake"] {
        fs::create_dir_all(dir.join(below)).unwrap();
    }
    let fake = dir.join("fake");
    write("fake", &format!("#!{python} -IS\n{}", include_str!("fake.py")));
    write("machine.sh", include_str!("machine.sh"));
    write("bin/python3", &PYTHON.replace("@PYTHON@", python).replace("@FAKE@", &fake.display().to_string()));
    write("machine/systemctl", include_str!("systemctl.sh"));
    write("machine/journalctl", "#!/bin/sh\n");
    let cloud_init = "#!/bin/sh\ncase $* in *--wait*) exec \"${0%/*}/fake/cloud-init\" \"$@\" ;; esac\n";
    write("machine/cloud-init", cloud_init);
    write("machine/sudo", "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n");
    symlink(&fake, dir.join("bin/terraform")).unwrap();
    for name in ["cloud-init", "files", "ss", "systemctl"] {
        symlink(&fake, dir.join("machine/fake").join(name)).unwrap();
    }
    symlink("fake/ss", dir.join("machine/ss")).unwrap();
    let listener = UnixListener::bind(dir.join("test.socket")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let observed = observed.clone();
            std::thread::spawn(move || listen(stream, &observed));
        }
    });
}

/// Passes on what one program reports.
fn listen(stream: UnixStream, observed: &Sender<Observed>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let invocation = serde_json::from_str(&first).unwrap();
    // The test may have ended.
    let _ = observed.send(Observed::Called(Call { invocation, stream }));
    for _ in lines.map_while(Result::ok) {
        let _ = observed.send(Observed::Interrupted);
    }
}

/// `python3` and pip: hactl asks for the version, makes a virtual environment and fills it and the cache.
const PYTHON: &str = r#"#!/bin/sh
set -eu
case "$*" in
  "-c "*) exec @PYTHON@ "$@" ;;
  "-m venv --clear "*)
    version=$(@PYTHON@ -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    mkdir -p "$4/bin" "$4/lib/python$version/site-packages/ansible_mitogen/plugins/strategy"
    cp "$0" "$4/bin/python" ;;
  "-m pip install "*) ln -s @FAKE@ "$(dirname "$0")/ansible-playbook" ;;
  "-m pip download "* | "-m pip wheel "*)
    for argument; do
      case ${last:-} in -d | -w) mkdir -p "$argument" && touch "$argument/$3.whl" ;; esac
      last=$argument
    done ;;
  *) echo "the fake python3 does not know: $*" >&2; exit 1 ;;
esac
"#;
