//! The edge: arguments, environment and signals in, exit code out.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    command::{self, Cli, Command, Session},
    error::{Error, Kind, Result},
    exec,
    report::{self, Output},
};

/// How long a thread that cannot be interrupted may delay the exit: one that waits for an SSH server has its own
/// timeout of several seconds.
const THREADS_END_WITHIN: Duration = Duration::from_millis(500);

/// Runs hactl as the process's arguments ask for.
#[must_use]
pub fn run() -> ExitCode {
    // Help, or a usage error: 0 or 2.
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) => {
            let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
            let help = command::with_list(help, arguments);
            let code = u8::try_from(help.exit_code()).unwrap_or(Kind::Usage.exit_code());
            return match help.print() {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    ended(code, Err(report::not_written(&error)))
                }
                _ => ExitCode::from(code),
            };
        }
    };
    let terminated = Arc::new(AtomicBool::new(false));
    let result = start(cli, Arc::clone(&terminated));
    let code = match result {
        Ok(code) => code,
        Err(error) => {
            report::print_error(Output::Text, &error);
            error.kind.exit_code()
        }
    };
    if code == Kind::Interrupted.exit_code() && terminated.load(Ordering::Relaxed) {
        return ExitCode::from(Kind::Terminated.exit_code());
    }
    ended(code, report::written())
}

/// The exit code: results that could not be written are a failure.
fn ended(code: u8, written: Result<()>) -> ExitCode {
    match written {
        Err(error) if code == 0 => {
            report::print_error(Output::Text, &error);
            ExitCode::from(error.kind.exit_code())
        }
        _ => ExitCode::from(code),
    }
}

fn start(cli: Cli, terminated: Arc<AtomicBool>) -> Result<u8> {
    let failed = |error: std::io::Error| Error::failed("start", "start", "hactl").source(&error);
    let work = std::env::current_dir().map_err(failed)?;
    // Variables that are not UTF-8 cannot be meant for hactl or for the tools that it starts.
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let stop = CancellationToken::new();
    let session = Session::new(&cli.global, work, env.collect(), stop.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let code = runtime.block_on(async {
        let (interrupt, terminate) =
            (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?);
        // Terraform sends its own Stop; a signal reaches the whole group and is not for the provider.
        if !matches!(cli.command, Command::TerraformProvider) {
            tokio::spawn(listen(interrupt, terminate, stop, terminated));
        }
        // Errors from before the session exists are printed as text.
        Ok(command::run(&session, cli.command).await.unwrap_or_else(|error| {
            session.show_error(&error);
            error.kind.exit_code()
        }))
    });
    // The command has ended, and with it reporters, locks and child processes. Dropping the runtime would wait for every
    // thread, while nothing listens for a second signal any more.
    runtime.shutdown_timeout(THREADS_END_WITHIN);
    code
}

/// The first signal asks for a clean stop; the second ends everything now.
async fn listen(
    mut interrupt: tokio::signal::unix::Signal,
    mut terminate: tokio::signal::unix::Signal,
    stop: CancellationToken,
    terminated: Arc<AtomicBool>,
) {
    loop {
        let kind = tokio::select! {
            Some(()) = interrupt.recv() => Kind::Interrupted,
            Some(()) = terminate.recv() => Kind::Terminated,
            else => return,
        };
        if kind == Kind::Terminated {
            terminated.store(true, Ordering::Relaxed);
        }
        if stop.is_cancelled() {
            exec::kill_children();
            std::process::exit(i32::from(kind.exit_code()));
        }
        stop.cancel();
        report::message("stopping cleanly; press Ctrl-C again to stop at once");
    }
}
