//! Real processes, and what is kept from them.

use super::*;
use crate::{context::Dirs, event::Events};

fn context() -> Context {
    let env =
        BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("X_SECRET".to_owned(), "1".to_owned())]);
    Context { dirs: Dirs::new(Path::new("/tmp"), &env), env, events: Events::channel().0, stop: Default::default() }
}

#[tokio::test]
async fn failed_command_error_has_its_status_and_last_lines() {
    let command = Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]);
    let error = command.succeed(&context(), |_| ()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("exited with status 3") && text.contains("err") && text.contains("out"), "{text}");
}

#[tokio::test]
async fn child_environment_has_only_the_given_variables() {
    let done = Command::new("env").succeed(&context(), |_| ()).await.unwrap();
    assert!(!done.stdout.contains("X_SECRET"), "{}", done.stdout);
    assert!(done.stdout.contains("LC_ALL=C.UTF-8"));
}

#[tokio::test]
async fn program_that_does_not_exist_gives_exit_code_3() {
    let error = Command::new("no-such-program-of-ours").run(&context(), |_| ()).await.unwrap_err();
    assert_eq!(error.kind.exit_code(), 3);
}

#[tokio::test]
async fn stop_interrupts_the_whole_process_group() {
    // As hactl itself has one: children begin with the default then, also where a script started the
    // whole in the background, which ignores SIGINT.
    let _handler = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).unwrap();
    let context = context();
    let stop = context.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.cancel();
    });
    let started = Instant::now();
    let error = Command::new("sh").args(["-c", "sleep 60 & wait"]).run(&context, |_| ()).await.unwrap_err();
    assert_eq!(error.kind.exit_code(), 130);
    assert_eq!(&*error.object, "`sh`");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn interrupted_command_is_named_by_its_program_and_subcommand() {
    let title = |program, args: &[&str]| Command::new(program).args(args.iter().copied()).title();
    assert_eq!(title("/usr/bin/terraform", &["apply", "-json", "/tmp/a/plan"]), "terraform apply");
    assert_eq!(title("/tmp/a/ansible-playbook", &["--inventory", "/tmp/a/inventory"]), "ansible-playbook");
}

/// Whether a process whose arguments hold `word` is there.
fn runs(word: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|arg| arg == word.as_bytes())
    })
}

#[tokio::test]
async fn dropped_run_kills_the_whole_process_group() {
    let command = Command::new("sh").args(["-c", "sleep 61.0625 & wait"]);
    let late = tokio::time::timeout(Duration::from_millis(300), command.run(&context(), |_| ())).await;
    assert!(late.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!runs("61.0625"));
}

#[tokio::test]
async fn processes_left_by_a_stopped_child_are_killed() {
    let context = context();
    context.stop.cancel();
    // The child ends immediately; its own child ignores the interrupt.
    let command = Command::new("sh").args(["-c", "(trap '' INT; exec sleep 61.125) & trap 'exit 1' INT; wait"]);
    assert!(command.run(&context, |_| ()).await.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!runs("61.125"));
}

#[tokio::test]
async fn child_that_ignores_the_interrupt_is_killed_after_the_grace_period() {
    let context = context();
    context.stop.cancel();
    let command = Command::new("sh").args(["-c", "trap '' INT; sleep 60"]).grace(Duration::from_millis(300));
    let started = Instant::now();
    assert!(command.run(&context, |_| ()).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn stream_with_a_slow_reader_loses_no_line_and_keeps_only_the_tail() {
    let (sender, mut lines) = mpsc::channel::<Line>(1);
    // More than fits the buffers between, and all of it written long before it is read.
    let command = Command::new("sh").args(["-c", "seq 1 3000"]);
    let context = context();
    let read = async {
        let mut read = Vec::new();
        while let Some(line) = lines.recv().await {
            if read.len() % 1000 == 500 {
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
            read.push(line.text);
        }
        read
    };
    let (finished, read) = tokio::join!(command.stream(&context, sender), read);
    let finished = finished.unwrap();
    assert_eq!(read, (1..=3000).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!((finished.stdout.as_str(), finished.tail.len()), ("", QUOTED_LINES));
    assert_eq!(finished.tail.last().unwrap(), "3000");
}

#[tokio::test]
async fn stream_whose_pipes_a_grandchild_holds_open_ends_with_the_child() {
    let (sender, _lines) = mpsc::channel(BUFFERED_LINES);
    let started = Instant::now();
    let command = Command::new("sh").args(["-c", "setsid sleep 5 & echo begun"]);
    let finished = command.stream(&context(), sender).await.unwrap();
    assert_eq!(finished.tail, ["begun"]);
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn shown_command_does_in_a_shell_what_hactl_runs() {
    let command = Command::new("cat").args(["~/pw", "-n", "a b", "$HOME", "it's", ""]);
    assert_eq!(command.to_string(), r"cat '~/pw' -n 'a b' '$HOME' 'it'\''s' ''");
    assert_eq!(Command::new("/opt/my tool").arg("--key=x@y").to_string(), "'/opt/my tool' --key=x@y");
}
