//! The thread that owns an SSH session and moves bytes for all of its channels.
//!
//! libssh2 keeps one lock per session, so a channel that blocks would stop all others: nothing here
//! blocks. A channel that the node does not open (a tunnel to a port whose queue is full, say) holds
//! up only those that are still to be opened, and ends the session after a while.

use std::{
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssh2::{BlockDirections, Channel, ErrorCode, Session};
use tokio::sync::{
    mpsc::{Receiver, error::TryRecvError},
    oneshot,
};

use super::{
    channel::{Finished, Request},
    error::{Seen, SshFailure},
};

/// Bytes that may wait in one direction of a tunnel before its source has to wait.
const WINDOW: usize = 256 * 1024;

/// A session without traffic is looked at this often, in milliseconds.
const IDLE_MS: u16 = 5_000;

/// The same while a channel is being opened, and how long that may take.
const OPENING_MS: u16 = 500;
const OPENS_WITHIN: Duration = Duration::from_secs(5);

/// How long a tunnel that we ended may wait for the node's end of it.
const LINGERS: Duration = Duration::from_secs(15);

/// What to do about a server that forwards nothing.
pub(crate) const FORWARD: &str = "Set `AllowTcpForwarding local` in the machine's sshd_config, allow the address in \
     `PermitOpen` if that is set, and reload sshd";

/// One open channel.
enum Link {
    Run {
        channel: Channel,
        input: Vec<u8>,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
        reply: oneshot::Sender<Result<Finished, Seen>>,
    },
    Tunnel {
        channel: Channel,
        stream: UnixStream,
        to_node: Vec<u8>,
        to_us: Vec<u8>,
        we_ended: bool,
        /// When the node was told that nothing more comes from us, or has last moved since.
        eof_sent: Option<Instant>,
        node_ended: bool,
    },
}

/// What came of one look at a link.
enum Progress {
    Moved,
    Nothing,
    Over,
}

/// A channel that is being opened: libssh2 opens one at a time.
struct Opening {
    request: Request,
    /// The channel of a command, open and not yet told the command.
    channel: Option<Channel>,
    since: Instant,
}

/// Serves requests until every handle is gone and every channel closed, or the connection breaks.
pub(super) fn run(session: &Session, socket: &OwnedFd, mut requests: Receiver<Request>, woken: &UnixStream) {
    let mut links: Vec<Link> = Vec::new();
    let mut opening: Option<Opening> = None;
    let mut woken = Some(woken);
    let mut broken = false;
    session.set_keepalive(true, 10);
    session.set_blocking(false);
    loop {
        let mut alone = false;
        // Reading one channel may take bytes of another off the socket: go round until all is quiet.
        let mut moved = true;
        while moved {
            moved = false;
            loop {
                let current = match opening.take() {
                    Some(current) => current,
                    None => match next(&mut requests) {
                        Ok(request) => Opening { request, channel: None, since: Instant::now() },
                        Err(ended) => {
                            alone = ended == TryRecvError::Disconnected;
                            break;
                        }
                    },
                };
                match open(session, current, &mut links) {
                    None => moved = true,
                    // A channel that was given up half-open would be taken for the next one.
                    Some(pending) if pending.since.elapsed() > OPENS_WITHIN => return,
                    Some(pending) => {
                        opening = Some(pending);
                        break;
                    }
                }
            }
            let mut index = 0;
            while index < links.len() {
                match links[index].advance() {
                    Progress::Moved => (moved, index) = (true, index + 1),
                    Progress::Nothing => index += 1,
                    Progress::Over => {
                        links.swap_remove(index).finish();
                        moved = true;
                    }
                }
            }
        }
        if broken || alone && links.is_empty() && opening.is_none() {
            return;
        }
        // A failed keepalive shows as an error of the next read.
        let _ = session.keepalive_send();
        let patience = if opening.is_some() { OPENING_MS } else { IDLE_MS };
        // What came before the end is still to be read.
        match wait(session, socket, woken, &links, patience) {
            Ok(ended) => broken = ended,
            Err(_) => return,
        }
        woken = woken.filter(|woken| drain(woken));
    }
}

/// The next request whose asker still waits.
fn next(requests: &mut Receiver<Request>) -> Result<Request, TryRecvError> {
    loop {
        let request = requests.try_recv()?;
        if !request.is_given_up() {
            return Ok(request);
        }
    }
}

/// One step of opening a channel; gives back what the node has not answered yet.
fn open(session: &Session, opening: Opening, links: &mut Vec<Link>) -> Option<Opening> {
    let Opening { request, channel, since } = opening;
    match request {
        Request::Run { command, input, reply } => {
            let opened = channel.map_or_else(|| session.channel_session(), Ok);
            let told = opened.and_then(|mut channel| match channel.exec(&command) {
                Err(error) if would_block(&error) => Ok((channel, false)),
                done => done.map(|()| (channel, true)),
            });
            match told {
                Ok((mut channel, true)) => {
                    if input.is_empty() {
                        // Best effort: most commands do not read their input.
                        let _ = channel.send_eof();
                    }
                    links.push(Link::Run { channel, input, stdout: Vec::new(), stderr: Vec::new(), reply });
                }
                Ok((channel, false)) => {
                    let request = Request::Run { command, input, reply };
                    return Some(Opening { request, channel: Some(channel), since });
                }
                Err(error) if would_block(&error) => {
                    let request = Request::Run { command, input, reply };
                    return Some(Opening { request, channel: None, since });
                }
                // The receiver may have gone; then the answer is not needed.
                Err(error) => drop(reply.send(Err(Seen::new(failure(&error), error.to_string())))),
            }
        }
        Request::Tunnel { host, port, stream, reply } => match session.channel_direct_tcpip(&host, port, None) {
            Ok(channel) => {
                if reply.send(Ok(())).is_ok() {
                    links.push(Link::tunnel(channel, stream));
                }
            }
            Err(error) if would_block(&error) => {
                let request = Request::Tunnel { host, port, stream, reply };
                return Some(Opening { request, channel: None, since });
            }
            Err(error) => {
                let seen = match failure(&error) {
                    failure @ SshFailure::TunnelProhibited => {
                        let words = format!("the SSH server does not forward connections to {host}:{port} ({error})");
                        Seen::new(failure, words).hint(FORWARD)
                    }
                    failure => Seen::new(failure, format!("nothing answers on {host}:{port} ({error})")),
                };
                drop(reply.send(Err(seen)));
            }
        },
    }
    None
}

fn would_block(error: &ssh2::Error) -> bool {
    /// `LIBSSH2_ERROR_EAGAIN`.
    const AGAIN: ErrorCode = ErrorCode::Session(-37);
    error.code() == AGAIN
}

/// Why a channel was not opened, or not served to its end.
fn failure(error: &ssh2::Error) -> SshFailure {
    /// `LIBSSH2_ERROR_CHANNEL_FAILURE`.
    const NOT_OPENED: ErrorCode = ErrorCode::Session(-21);
    // libssh2 tells the server's reason by this constant text alone.
    const PROHIBITED: &str = "Channel open failure (administratively prohibited)";
    match error.code() {
        NOT_OPENED if error.message() == PROHIBITED => SshFailure::TunnelProhibited,
        NOT_OPENED => SshFailure::ChannelRefused,
        _ => SshFailure::SessionEnded,
    }
}

impl Link {
    fn tunnel(channel: Channel, stream: UnixStream) -> Self {
        let (to_node, to_us) = (Vec::new(), Vec::new());
        Self::Tunnel { channel, stream, to_node, to_us, we_ended: false, eof_sent: None, node_ended: false }
    }

    fn advance(&mut self) -> Progress {
        match self {
            Self::Run { channel, input, stdout, stderr, .. } => {
                let before = (input.len(), stdout.len(), stderr.len());
                if !input.is_empty() {
                    if push(channel, input).is_err() {
                        input.clear();
                    }
                    if input.is_empty() {
                        // Best effort: a command that does not read its input sees no end of it.
                        let _ = channel.send_eof();
                    }
                }
                pull(channel, stdout, usize::MAX);
                pull(&mut channel.stderr(), stderr, usize::MAX);
                // The exit status may come after the end of the output, but not after the close.
                if channel.eof() && channel.wait_close().is_ok() {
                    return Progress::Over;
                }
                if before == (input.len(), stdout.len(), stderr.len()) { Progress::Nothing } else { Progress::Moved }
            }
            Self::Tunnel { channel, stream, to_node, to_us, we_ended, eof_sent, node_ended } => {
                let mut moved = false;
                if !*node_ended && to_us.len() < WINDOW {
                    let before = to_us.len();
                    *node_ended = pull(channel, to_us, WINDOW) || channel.eof();
                    moved |= to_us.len() != before || *node_ended;
                }
                if !to_us.is_empty() {
                    let before = to_us.len();
                    if push(stream, to_us).is_err() {
                        return Progress::Over;
                    }
                    moved |= to_us.len() != before;
                }
                if !*we_ended && to_node.len() < WINDOW {
                    let before = to_node.len();
                    *we_ended = pull(stream, to_node, WINDOW);
                    moved |= to_node.len() != before || *we_ended;
                }
                if !to_node.is_empty() {
                    let before = to_node.len();
                    if push(channel, to_node).is_err() {
                        return Progress::Over;
                    }
                    moved |= to_node.len() != before;
                }
                if *we_ended && to_node.is_empty() && eof_sent.is_none() {
                    *eof_sent = channel.send_eof().is_ok().then(Instant::now);
                }
                if *node_ended && to_us.is_empty() {
                    return Progress::Over;
                }
                match eof_sent {
                    Some(since) if moved => *since = Instant::now(),
                    // A machine that lost its power never ends a connection.
                    Some(since) if since.elapsed() > LINGERS => return Progress::Over,
                    _ => {}
                }
                if moved { Progress::Moved } else { Progress::Nothing }
            }
        }
    }

    fn finish(self) {
        if let Self::Run { channel, stdout, stderr, reply, .. } = self {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let finished = channel
                .exit_status()
                .map(|status| Finished { status, stdout: text(stdout), stderr: text(stderr) })
                .map_err(|error| Seen::new(failure(&error), error.to_string()));
            // The receiver may have gone.
            let _ = reply.send(finished);
        }
    }
}

/// Reads what is there into `buffer`, up to `limit` in all; true when nothing more will come.
fn pull(source: &mut impl Read, buffer: &mut Vec<u8>, limit: usize) -> bool {
    let mut chunk = [0; 32 * 1024];
    while buffer.len() < limit {
        match source.read(&mut chunk) {
            Ok(0) => return true,
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
    false
}

/// Writes as much of `buffer` as the sink takes.
fn push(sink: &mut impl Write, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match sink.write(buffer) {
            Ok(count) => drop(buffer.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until something can be done; true when the connection has ended.
fn wait(
    session: &Session,
    socket: &OwnedFd,
    woken: Option<&UnixStream>,
    links: &[Link],
    patience: u16,
) -> nix::Result<bool> {
    // Without a channel no task reads what comes; a request wakes this thread, which then reads it.
    let mut flags = if links.is_empty() && patience == IDLE_MS { PollFlags::empty() } else { PollFlags::POLLIN };
    if matches!(session.block_directions(), BlockDirections::Outbound | BlockDirections::Both) {
        flags |= PollFlags::POLLOUT;
    }
    let mut fds = vec![PollFd::new(socket.as_fd(), flags)];
    fds.extend(woken.map(|woken| PollFd::new(woken.as_fd(), PollFlags::POLLIN)));
    for link in links {
        if let Link::Tunnel { stream, to_node, to_us, we_ended, .. } = link {
            let mut flags = PollFlags::empty();
            if !we_ended && to_node.len() < WINDOW {
                flags |= PollFlags::POLLIN;
            }
            if !to_us.is_empty() {
                flags |= PollFlags::POLLOUT;
            }
            // A descriptor without flags still reports POLLHUP, which would spin.
            if !flags.is_empty() {
                fds.push(PollFd::new(stream.as_fd(), flags));
            }
        }
    }
    match poll(&mut fds, PollTimeout::from(patience)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error),
    }
    Ok(fds[0].revents().is_some_and(|seen| seen.intersects(PollFlags::POLLERR | PollFlags::POLLHUP)))
}

/// Empties the pipe; false when every writer of it is gone.
fn drain(mut woken: &UnixStream) -> bool {
    let mut bytes = [0; 64];
    loop {
        match woken.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
