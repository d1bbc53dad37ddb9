# shellcheck shell=sh
# One step of the fault that delays requests to etcd: `possible`, `inject`, `effect` or `revert`.
step='@STEP@'
# The user whose packets to these ports are delayed.
user='@USER@'
ports='@PORTS@'
# The relay runs in this unit, as root, so the table does not redirect its packets.
unit='@UNIT@'
# How late a request is, in seconds: more than the first lease guard waited for, and less than Patroni waits for.
delay=1.5
# The longest time that the relay runs, should the undo fail, in seconds.
longest=600
dir=/run/$unit

# Sends new connections to the port of the relay, and resets open ones, so that their clients connect again.
table() {
  cat <<TABLE
table inet hactl_drill {
  chain detour {
    type nat hook output priority -100; policy accept;
    meta skuid "$user" tcp dport $ports counter redirect to :$1
  }
  chain output {
    type filter hook output priority 0; policy accept;
    meta skuid "$user" tcp dport $ports counter reject with tcp reset
  }
}
TABLE
}

case $step in
  possible)
    for program in nft python3; do
      command -v "$program" >/dev/null || {
        echo "$program is not installed"
        exit 1
      }
    done
    table 1 | nft --check -f -
    ;;
  inject)
    systemd-run --quiet --collect --unit="$unit" --property=RuntimeMaxSec="$longest" \
      python3 "$dir/relay.py" "$delay" "$dir"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
      [ ! -e "$dir/port" ] || break
      sleep 0.2
    done
    port=$(cat "$dir/port")
    table "$port" | nft -f -
    ;;
  effect) [ -e "$dir/late" ] ;;
  revert)
    # The table first: redirected packets need the relay. Open connections end with the relay, and clients reconnect.
    nft add table inet hactl_drill '; delete table inet hactl_drill'
    ! systemctl is-active --quiet "$unit" || systemctl stop "$unit"
    rm -rf "$dir"
    ;;
esac
