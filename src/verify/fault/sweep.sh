# shellcheck shell=sh
# Reverts every fault on a node: runs the undos that still wait, and removes what would remain without them.
set -e
units='@UNITS@'
for undo in /run/hactl-undo-*; do
  [ -e "$undo" ] || continue
  systemctl stop "${undo#/run/}.timer" 2>/dev/null || :
  /bin/sh "$undo"
done
if [ -e /etc/hactl/drill-leaf/undo ]; then /bin/sh /etc/hactl/drill-leaf/undo; fi
systemctl stop 'hactl-fill-*' 'hactl-slow-*' 'hactl-silent-*' 'hactl-oom-*'
systemctl reset-failed 'hactl-undo-*' 'hactl-fill-*' 'hactl-slow-*' 'hactl-silent-*' 'hactl-oom-*'
rm -rf /run/hactl-slow-* /run/hactl-silent-* /run/hactl-oom-*
for unit in $units; do
  if [ -e "/run/systemd/system/$unit.service.d/hactl-drill.conf" ]; then
    rm "/run/systemd/system/$unit.service.d/hactl-drill.conf"
    systemctl daemon-reload
    systemctl start --no-block "$unit"
  fi
done
if command -v nft >/dev/null; then nft add table inet hactl_drill '; delete table inet hactl_drill'; fi
