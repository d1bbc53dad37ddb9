# shellcheck shell=sh
# The repository stays: what is in it is a backup.
pgbackrest_wipe() {
  case $1 in
    data) rm -rf /var/lib/postgresql/hactl-spool /var/lib/postgresql/hactl-restore-test ;;
    configuration)
      [ ! -e /usr/local/sbin/hactl-pgbackrest ] || rm -rf /etc/pgbackrest /usr/local/sbin/hactl-pgbackrest /usr/local/sbin/hactl-backup
      rm -f /etc/systemd/system/hactl-backup-scheduled.service /etc/systemd/system/hactl-backup-scheduled.timer
      ;;
  esac
}
