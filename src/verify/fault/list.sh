# shellcheck shell=sh
# Prints every trace of a fault on a node, one per line.
units='@UNITS@'
for undo in /run/hactl-undo-*; do
  [ ! -e "$undo" ] || echo "${undo#/run/}"
done
[ ! -e /etc/hactl/drill-leaf/undo ] || echo 'certificates that end soon'
systemctl list-units --all --plain --no-legend 'hactl-undo-*.timer' 'hactl-fill-*' 'hactl-slow-*' 'hactl-silent-*' 'hactl-oom-*' | cut -d ' ' -f 1
for unit in $units; do
  [ ! -e "/run/systemd/system/$unit.service.d/hactl-drill.conf" ] || echo "$unit is kept from starting"
done
if command -v nft >/dev/null && nft list table inet hactl_drill >/dev/null 2>&1; then echo 'table inet hactl_drill'; fi
