# shellcheck shell=sh
# One step of the fault that delays what goes to other members: `possible`, `inject`, `effect` or `revert`.
step='@STEP@'
addresses='@ADDRESSES@'
endpoints='@ENDPOINTS@'
# How late a packet is, in milliseconds. Every member delays what it sends, so a round trip is late by twice as much.
delay=200
# The handle of the queue, by which the undo finds it.
handle=7a5d:

case $step in
  possible)
    command -v tc >/dev/null || {
      echo 'tc is not installed'
      exit 1
    }
    if ! said=$(tc qdisc add dev lo root netem delay 0ms 2>&1); then
      echo "the kernel cannot delay packets: netem: $said"
      exit 1
    fi
    tc qdisc del dev lo root
    ;;
  inject)
    device=$(ip -o route get "${addresses%% *}" | sed -n 's/.* dev \([^ ]*\) .*/\1/p')
    tc qdisc add dev "$device" root handle "$handle" prio bands 4
    tc qdisc add dev "$device" parent "${handle}4" netem delay "${delay}ms"
    for to in $addresses; do
      tc filter add dev "$device" parent "$handle" protocol ip u32 match ip dst "$to/32" flowid "${handle}4"
    done
    ;;
  effect)
    start=$(date +%s%3N)
    for to in $endpoints; do
      timeout 5 bash -c "exec 3<>/dev/tcp/$to" 2>/dev/null
    done
    [ $(($(date +%s%3N) - start)) -ge "$delay" ]
    ;;
  revert)
    for device in $(tc qdisc show | sed -n "s/^qdisc prio $handle dev \([^ ]*\) root.*/\1/p"); do
      tc qdisc del dev "$device" root
    done
    ;;
esac
