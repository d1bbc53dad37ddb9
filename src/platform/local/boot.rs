//! Waiting for a node: a started container comes in, a node that answers SSH goes out, or an error
//! with what was last seen of it and the end of its console.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use bollard::{container::LogOutput, models::ContainerState, query_parameters::LogsOptions};
use futures_util::StreamExt;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    engine::Engine,
    node::{Container, to_node},
    progress::Progress,
};
use crate::error::{Error, Result};

/// A node boots in about three seconds; a loaded machine may need much longer.
const BOOT_DEADLINE: Duration = Duration::from_secs(90);
/// The time between two looks at a booting node.
const BOOT_PAUSE: Duration = Duration::from_millis(100);
/// Lines of a container's log that an error quotes.
const QUOTED_LINES: &str = "15";

impl Engine {
    /// Waits until the node's own sshd speaks: the engine's proxy accepts connections before it.
    pub(super) async fn wait_for_ssh(
        &self,
        name: &str,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<Container> {
        progress.report("booting").await;
        let deadline = Instant::now() + BOOT_DEADLINE;
        loop {
            if stop.is_cancelled() {
                return Err(Error::interrupted("wait for SSH of node", name));
            }
            let Some(found) = self.inspect_container(name).await? else {
                return Err(Error::failed("node-gone", "boot node", name).cause("its container is gone"));
            };
            let node = to_node(&found)?;
            if !node.running {
                return Err(self.not_booted(name, &describe_end(found.state.as_ref())).await);
            }
            let last_seen = match banner(node.ssh_port).await {
                Ok(banner) if banner.starts_with("SSH-") => {
                    progress.report("ssh up").await;
                    return Ok(node);
                }
                Ok(other) => format!("{other:?} instead of an SSH banner"),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                let last = format!(
                    "no SSH on 127.0.0.1:{} within {} s, last seen: {last_seen}",
                    node.ssh_port,
                    BOOT_DEADLINE.as_secs()
                );
                return Err(self.not_booted(name, &last).await);
            }
            tokio::select! {
                () = tokio::time::sleep(BOOT_PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn not_booted(&self, name: &str, last: &str) -> Error {
        let mut error = Error::failed("node-boot", "boot node", name).cause(last);
        let log = self.log_tail(name).await;
        if !log.is_empty() {
            error = error.cause(format!("the end of its console:\n{log}"));
        }
        error.hint(boot_hint(name, &log))
    }

    pub(super) async fn log_tail(&self, name: &str) -> String {
        let options = LogsOptions { stdout: true, stderr: true, tail: QUOTED_LINES.to_owned(), ..Default::default() };
        let mut logs = std::pin::pin!(self.docker.logs(name, Some(options)));
        let mut bytes = Vec::new();
        // A log that cannot be read must not hide the error that it was wanted for.
        while let Some(Ok(output)) = logs.next().await {
            bytes.extend_from_slice(&LogOutput::into_bytes(output));
        }
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        console::strip_ansi_codes(text.trim()).into_owned()
    }
}

/// The first bytes that the server on the port sends.
async fn banner(port: u16) -> std::io::Result<String> {
    let wait = Duration::from_secs(2);
    let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = timeout(wait, TcpStream::connect(address)).await.map_err(late)??;
    let mut bytes = [0; 64];
    let count = timeout(wait, stream.read(&mut bytes)).await.map_err(late)??;
    Ok(String::from_utf8_lossy(&bytes[..count]).trim_end().to_owned())
}

/// What to do after a node did not boot, by the end of its console.
fn boot_hint(name: &str, log: &str) -> String {
    if log.contains("inotify") && log.contains("Too many open files") {
        // Each systemd needs several; the kernel's default is 128 for all processes of a user.
        return "Run `sysctl fs.inotify.max_user_instances=1024` on this machine: its limit is reached".to_owned();
    }
    format!("Run `docker logs {name}` for the whole console, and check that the image has systemd and sshd")
}

fn describe_end(state: Option<&ContainerState>) -> String {
    let code = state.and_then(|state| state.exit_code).unwrap_or_default();
    let error = state.and_then(|state| state.error.clone()).unwrap_or_default();
    let killed = if state.and_then(|state| state.oom_killed) == Some(true) { ", out of memory" } else { "" };
    format!("its init exited with status {code}{killed} {error}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_hint_names_the_limit_that_the_console_names() {
        let full = "Failed to create control group inotify object: Too many open files\nExiting PID 1...";
        assert!(boot_hint("pg-node1", full).contains("fs.inotify.max_user_instances=1024"));
        assert!(boot_hint("pg-node1", "Exiting PID 1...").contains("`docker logs pg-node1`"));
    }
}
