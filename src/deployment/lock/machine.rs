//! The lock for a cluster without a running etcd: a file on one of its machines, valid while its holder renews it.
//!
//! It is in `/run`, so a restart of the machine removes it. Its age is measured by the machine's uptime, because the
//! clock may be set meanwhile.

use std::time::Duration;

use crate::{component::etcd::Taken, ssh::Remote};

/// How long the machine may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The exit code when another run holds the lock: EX_TEMPFAIL of sysexits.h.
const IS_HELD: i32 = 75;

/// Takes or renews the lock, also from the holder `dead`, for `ttl`.
pub(crate) async fn take(remote: &Remote, mine: &str, dead: &str, ttl: Duration) -> Result<Taken, String> {
    let script = include_str!("take.sh").replace("@TTL@", &ttl.as_secs().to_string());
    let input = format!("{mine}\n{dead}\n");
    let done =
        remote.run(&script, input.as_bytes(), ANSWERS_WITHIN).await.map_err(|error| error.causes().join("; "))?;
    match done.status {
        0 => Ok(Taken::Ours(0)),
        IS_HELD => {
            let (seconds, holder) = done.stdout.split_once('\n').unwrap_or_default();
            let seconds = seconds.parse().unwrap_or(ttl.as_secs());
            Ok(Taken::Held { value: holder.trim_end().to_owned(), lease: 0, seconds })
        }
        _ => Err(done.stderr.trim().to_owned()),
    }
}

/// Gives it back, if it is still ours.
pub(crate) async fn give_up(remote: &Remote, mine: &str) -> Result<(), String> {
    let input = format!("{mine}\n");
    let done = remote.run(include_str!("give_up.sh"), input.as_bytes(), ANSWERS_WITHIN).await;
    done.map(drop).map_err(|error| error.causes().join("; "))
}
