# shellcheck shell=sh
# Raises the priority of this member in a vote, after a timer that takes it back is set. /run is empty after a reboot:
# the mark in patroni.yml is then taken out by the next switchover or the next run of the role.
set -e
config=/etc/patroni/patroni.yml
cat >/run/hactl-switchover <<'END'
sed -i '/ # hactl-switchover$/d' /etc/patroni/patroni.yml
systemctl reload patroni
rm -f /run/hactl-switchover
END
systemctl stop hactl-switchover.timer 2>/dev/null || :
systemctl reset-failed hactl-switchover.service 2>/dev/null || :
systemd-run --quiet --unit=hactl-switchover --service-type=oneshot --on-active=@SECONDS@ \
  --timer-property=AccuracySec=1s /bin/sh /run/hactl-switchover
cp -p "$config" "$config.hactl"
sed -i '/ # hactl-switchover$/d' "$config.hactl"
# The section is the last one of the file.
grep -q '^tags:$' "$config.hactl" || echo 'tags: # hactl-switchover' >>"$config.hactl"
echo '  failover_priority: @PRIORITY@ # hactl-switchover' >>"$config.hactl"
mv "$config.hactl" "$config"
systemctl reload patroni
