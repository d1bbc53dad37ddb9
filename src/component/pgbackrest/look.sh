# shellcheck shell=sh
# How the last backup of the schedule ended, "success" where it never ran. What the repository has follows.
systemctl show --property=Result --value hactl-backup-scheduled.service
