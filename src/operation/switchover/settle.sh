# shellcheck shell=sh
# Takes a raised priority back, if there is one.
if [ ! -e /run/hactl-switchover ] && ! grep -qs ' # hactl-switchover$' /etc/patroni/patroni.yml; then exit 0; fi
systemctl stop hactl-switchover.timer 2>/dev/null
set -e
sed -i '/ # hactl-switchover$/d' /etc/patroni/patroni.yml
systemctl reload patroni || :
rm -f /run/hactl-switchover
systemctl reset-failed hactl-switchover.service 2>/dev/null || :
