# shellcheck shell=sh
# A backup or a restore test that runs is a unit of its own.
pgbackrest_stop() {
  [ "$1" = replicas ] || return 0
  stop hactl-backup-scheduled.timer
  for unit in hactl-backup-scheduled.service hactl-backup.service hactl-backup-expire.service hactl-restore-test.service; do
    systemctl stop "$unit" 2>/dev/null || true
  done
}
