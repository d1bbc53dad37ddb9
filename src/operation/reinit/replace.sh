# shellcheck shell=sh
# Runs as a unit of its own on the node, so that it ends whatever becomes of hactl.
cat >/run/hactl-reinit <<'END'
set -e
dir='@DIR@' kept='@KEPT@'
if [ "$(runuser -u postgres -- psql -XAtqc 'SELECT pg_is_in_recovery()' postgres 2>/dev/null)" = f ]; then
  echo 'this member is the primary'
  exit 1
fi
trap 'systemctl start patroni' EXIT
systemctl stop patroni
pid=$(head -n 1 "$dir/postmaster.pid" 2>/dev/null || :)
if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then
  echo "PostgreSQL (process $pid) still runs after Patroni has stopped"
  exit 1
fi
if [ ! -e "$dir" ]; then exit 0; fi
# A copy that did not end: pg_basebackup writes pg_control last.
if [ -e "$dir/backup_label" ] && [ ! -e "$dir/global/pg_control" ]; then kept=; fi
if [ -n "$kept" ]; then mv "$dir" "$kept"; else rm -r "$dir"; fi
END
systemctl reset-failed hactl-reinit.service 2>/dev/null || :
systemd-run --quiet --wait --unit=hactl-reinit --service-type=oneshot /bin/sh /run/hactl-reinit || {
  journalctl -u hactl-reinit.service -n 6 --no-pager -o cat | sed '/^Started\|^Finished/d' >&2
  exit 1
}
kept='@KEPT@'
if [ -n "$kept" ] && [ -e "$kept" ]; then echo kept; fi
