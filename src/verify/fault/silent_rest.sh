# shellcheck shell=sh
# One step of the fault that opens connections to Patroni's REST API and sends nothing: `possible`, `inject`, `effect` or
# `revert`.
step='@STEP@'
# The REST API, as host/port.
endpoint='@ENDPOINT@'
unit='@UNIT@'
# More than the threads that Patroni has by default.
connections=10
# The longest time that they stay open, should the undo fail, in seconds.
longest=600
dir=/run/$unit

case $step in
  possible)
    command -v bash >/dev/null || {
      echo 'bash is not installed'
      exit 1
    }
    timeout 2 bash -c "exec 3<>/dev/tcp/$endpoint" 2>/dev/null || {
      echo "the REST API does not accept connections on $endpoint"
      exit 1
    }
    ;;
  inject)
    mkdir -p "$dir"
    systemd-run --quiet --collect --unit="$unit" --property=RuntimeMaxSec="$longest" bash -c \
      "for n in {1..$connections}; do exec {connection}<>/dev/tcp/$endpoint || exit 1; done; touch $dir/open; sleep $longest"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
      [ ! -e "$dir/open" ] || break
      sleep 0.2
    done
    ;;
  effect) [ -e "$dir/open" ] && systemctl is-active --quiet "$unit" ;;
  revert)
    ! systemctl is-active --quiet "$unit" || systemctl stop "$unit"
    rm -rf "$dir"
    ;;
esac
