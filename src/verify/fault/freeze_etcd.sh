# shellcheck shell=sh
# One step of the fault that stops etcd again and again: `possible`, `inject`, `effect` or `revert`.
step='@STEP@'
# The unit of etcd.
unit='@UNIT@'
# The unit that stops and continues it.
freezer='@FREEZER@'
# How long etcd is stopped, and how long it then runs, in seconds: longer than its election timeout, and shorter than
# Patroni and the lease guard wait for an answer.
stopped=1.5
runs=1.5
# The longest time that the bursts last, should the undo fail, in seconds.
longest=600
dir=/run/$freezer

case $step in
  possible)
    systemctl is-active --quiet "$unit" || {
      echo "the systemd unit $unit is not running"
      exit 1
    }
    ;;
  inject)
    mkdir -p "$dir"
    cat >"$dir/bursts.sh" <<BURSTS
while :; do
  main=\$(systemctl show -p MainPID --value $unit)
  if [ "\$main" -gt 0 ] && kill -STOP "\$main"; then
    ! grep -q '^State:.T' "/proc/\$main/status" || touch "$dir/stopped"
    sleep $stopped
    kill -CONT "\$main"
  fi
  sleep $runs
done
BURSTS
    # However the bursts end, etcd continues.
    systemd-run --quiet --collect --unit="$freezer" --property=RuntimeMaxSec="$longest" \
      --property=ExecStopPost="-systemctl kill --kill-who=main -s CONT $unit" /bin/sh "$dir/bursts.sh"
    ;;
  effect) [ -e "$dir/stopped" ] ;;
  revert)
    ! systemctl is-active --quiet "$freezer" || systemctl stop "$freezer"
    rm -rf "$dir"
    ;;
esac
