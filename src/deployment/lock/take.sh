# shellcheck shell=sh
# Takes or renews the lock. Reads two lines: the new holder, and one that the lock may be taken from. Where another run
# holds the lock, prints the seconds left and its holder, and ends with status 75.
set -eu
IFS= read -r mine
IFS= read -r dead
mkdir -p /run/hactl
exec 9>/run/hactl/lock.guard
flock 9
now=$(cut -d . -f 1 /proc/uptime)
if [ -e /run/hactl/lock ]; then
  {
    IFS= read -r since
    IFS= read -r holder
  } </run/hactl/lock
  ttl='@TTL@'
  left=$((since + ttl - now))
  if [ "$left" -gt 0 ] && [ "$holder" != "$mine" ] && [ "$holder" != "$dead" ]; then
    printf '%s\n%s\n' "$left" "$holder"
    exit 75
  fi
fi
printf '%s\n%s\n' "$now" "$mine" >/run/hactl/lock.new
mv /run/hactl/lock.new /run/hactl/lock
