//! A command in a terminal of its own, which types an answer once a text is on it.

use std::process::Command;

use super::Bench;

/// Runs a command in a terminal, types once a text is on it, and prints how long the command went on after that, how it
/// ended and what was on the terminal. Standard library alone: a terminal is what hactl asks for.
const TERMINAL: &str = r#"
import os, pty, sys, time
text, typed, command = sys.argv[1].encode(), sys.argv[2].encode(), sys.argv[3:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
seen, at = b"", None
while True:
    try:
        read = os.read(terminal, 4096)
    except OSError:
        break
    if not read:
        break
    seen += read
    if at is None and text in seen:
        os.write(terminal, typed)
        at = time.monotonic()
_, status = os.waitpid(child, 0)
took = time.monotonic() - at if at else -1
print(f"{took:.3f} {os.waitstatus_to_exitcode(status)}")
print(seen.decode(errors="replace"))
"#;

/// How a command in a terminal ended.
pub(crate) struct Ended {
    /// Seconds between the answer and the end; negative if the text never came.
    pub(crate) took: f64,
    pub(crate) code: i32,
    pub(crate) screen: String,
}

/// Runs hactl in a terminal, and types `typed` once `text` is on it. 10 minutes at most.
pub(crate) fn answer(bench: &Bench, args: &[&str], text: &str, typed: &str) -> Ended {
    let done = Command::new("timeout")
        .args(["600", "python3", "-c", TERMINAL, text, typed, env!("CARGO_BIN_EXE_hactl")])
        .args(args)
        .current_dir(bench.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let parsed = said.split_once('\n').and_then(|(first, screen)| {
        let (took, code) = first.split_once(' ')?;
        Some(Ended { took: took.parse().ok()?, code: code.trim().parse().ok()?, screen: screen.to_owned() })
    });
    parsed.unwrap_or_else(|| panic!("{args:?}: {said}{}", String::from_utf8_lossy(&done.stderr)))
}
