# shellcheck shell=sh
# Prints `watchdog` and the state of the device that Patroni's configuration names: off, armed, ready or unavailable.
config=/etc/patroni/patroni.yml
setting() { sed -n "/^watchdog:/,/^[^ ]/s/^  $1: \"*\([^\"]*\)\"*\$/\1/p" "$config" 2>/dev/null; }
device=$(readlink -f "$(setting device)")
main=$(systemctl show -p MainPID --value patroni)
if [ "$(setting mode)" != automatic ]; then
  echo 'watchdog off'
elif [ -n "$(find "/proc/$main/fd" -lname "$device" 2>/dev/null)" ]; then
  # Only the leader keeps it open.
  echo 'watchdog armed'
elif [ -c "$device" ] && runuser -u postgres -- test -w "$device"; then
  echo 'watchdog ready'
else
  echo 'watchdog unavailable'
fi
