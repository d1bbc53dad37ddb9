# shellcheck shell=sh
# The state of a unit, its result, and the last lines of its log. A unit that was stopped, or that a restart of the machine
# has ended, is no longer there; its result would be "success".
case $(systemctl show --property=LoadState --value '@UNIT@') in
  not-found) echo lost ;;
  *) systemctl show --property=ActiveState --value '@UNIT@' ;;
esac
systemctl show --property=Result --value '@UNIT@'
[ -e '/run/@UNIT@.began' ] || exit 0
journalctl --unit='@UNIT@' --since="@$(cat '/run/@UNIT@.began')" --no-pager --output=cat --lines=30 |
  sed '/^Starting \|^Started \|^Finished \|^Failed to start \|: Deactivated \|: Main process \|: Failed with \|: Consumed /d'
