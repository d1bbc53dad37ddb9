# shellcheck shell=sh
# The state of a unit, its result, and the last lines of its log.
systemctl show --property=ActiveState --value '@UNIT@'
systemctl show --property=Result --value '@UNIT@'
journalctl --unit='@UNIT@' --since="@$(cat '/run/@UNIT@.began')" --no-pager --output=cat --lines=30 |
  sed '/^Starting \|^Started \|^Finished \|^Failed to start \|: Deactivated \|: Main process \|: Failed with \|: Consumed /d'
