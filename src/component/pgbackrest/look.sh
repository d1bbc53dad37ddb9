# shellcheck shell=sh
# How the last backup of the schedule ended, "success" where it never ran; then what the repository says, if it answers in time.
systemctl show --property=Result --value hactl-backup-scheduled.service
timeout 8 /usr/local/sbin/hactl-pgbackrest --output=json info
status=$?
[ "$status" != 124 ] || echo 'it did not answer within 8 s' >&2
exit "$status"
