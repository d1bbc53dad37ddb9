# shellcheck shell=sh
# A backup or a restore test that runs is a unit of its own.
pgbackrest_stop() {
  [ "$1" = replicas ] || return 0
  stop hactl-backup-scheduled.timer
  systemctl stop 'hactl-backup*.service' hactl-restore-test.service 2>/dev/null || true
}
