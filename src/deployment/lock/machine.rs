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

/// Input: the new holder, and a holder that it may be taken from. Output when it is held: the seconds left, and the
/// holder.
const TAKE: &str = r#"set -eu
IFS= read -r mine
IFS= read -r dead
mkdir -p /run/hactl
exec 9>/run/hactl/lock.guard
flock 9
now=$(cut -d . -f 1 /proc/uptime)
if [ -e /run/hactl/lock ]; then
  { IFS= read -r since; IFS= read -r holder; } </run/hactl/lock
  left=$((since + @TTL@ - now))
  if [ "$left" -gt 0 ] && [ "$holder" != "$mine" ] && [ "$holder" != "$dead" ]; then
    printf '%s\n%s\n' "$left" "$holder"
    exit 75
  fi
fi
printf '%s\n%s\n' "$now" "$mine" >/run/hactl/lock.new
mv /run/hactl/lock.new /run/hactl/lock
"#;

const GIVE_UP: &str = r#"IFS= read -r mine
exec 9>/run/hactl/lock.guard
flock 9
if [ "$(sed -n 2p /run/hactl/lock)" = "$mine" ]; then rm -f /run/hactl/lock; fi
"#;

/// Takes or renews the lock, also from the holder `dead`, for `ttl`.
pub(crate) async fn take(remote: &Remote, mine: &str, dead: &str, ttl: Duration) -> Result<Taken, String> {
    let script = TAKE.replace("@TTL@", &ttl.as_secs().to_string());
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
    let done = remote.run(GIVE_UP, input.as_bytes(), ANSWERS_WITHIN).await;
    done.map(drop).map_err(|error| error.causes().join("; "))
}
