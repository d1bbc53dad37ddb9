# shellcheck shell=sh
pgbouncer_wipe() {
  [ "$1" = configuration ] && [ -d /etc/pgbouncer/hactl ] || return 0
  rm -rf /etc/pgbouncer/hactl
  rm -f /etc/systemd/system/pgbouncer.service
}
