# shellcheck shell=sh
# Kills a unit's main process, and keeps the unit from starting again. A mask in /run would do nothing: the unit's file in
# /etc comes before it. A drop-in counts, and is gone after a reboot.
unit='@UNIT@'
dir=/run/systemd/system/$unit.service.d
mkdir -p "$dir"
printf '[Unit]\nConditionPathExists=!%s/hactl-drill.conf\n[Service]\nRestart=no\n' "$dir" >"$dir/hactl-drill.conf"
systemctl daemon-reload
systemctl kill --kill-who=main -s KILL "$unit"
