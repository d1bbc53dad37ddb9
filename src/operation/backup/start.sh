# shellcheck shell=sh
# Starts a command as a unit, unless that runs already. It stays "active" after it has ended well, so that its end is seen.
state=$(systemctl show --property=ActiveState --value '@UNIT@')
case $state in
  activating | deactivating)
    echo runs
    exit 0
    ;;
esac
systemctl stop '@UNIT@' 2>/dev/null || :
systemctl reset-failed '@UNIT@' 2>/dev/null || :
# What a unit of the same name said before is not its output.
date +%s >'/run/@UNIT@.began'
exec systemd-run --quiet --no-block --unit='@UNIT@' --service-type=oneshot --property=RemainAfterExit=yes \
  --property=User='@USER@' --property=MemoryMax='@MEMORY@' --property=Nice=10 --property=OOMScoreAdjust=500 \
  --property=WorkingDirectory=/ @COMMAND@
