# shellcheck shell=sh
# The repository stays: what is in it is a backup.
pgbackrest_wipe() {
  case $1 in
    data) rm -rf /var/lib/postgresql/hactl-spool /var/lib/postgresql/hactl-restore-test ;;
    configuration)
      # A run that ended before it wrote the programs has written the keys.
      if [ -e /usr/local/sbin/hactl-pgbackrest ] || grep -qs hactl-backup /etc/pgbackrest/pgbackrest.conf; then
        rm -rf /etc/pgbackrest /usr/local/sbin/hactl-pgbackrest /usr/local/sbin/hactl-backup /usr/local/sbin/hactl-restore
      fi
      rm -f /etc/systemd/system/hactl-backup-scheduled.service /etc/systemd/system/hactl-backup-scheduled.timer
      ;;
  esac
}
