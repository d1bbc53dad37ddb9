# shellcheck shell=sh
# One step of the fault that fills the file system of PGDATA: `possible`, `inject` or `effect`.
step='@STEP@'
data=@DATA@
user='@USER@'
# A unit holds the space in a file that has no name, so it is free again when the unit ends.
unit='@UNIT@'
# The longest time that the space is held, should the undo fail, in seconds.
longest=600
# More segments than are ever there in advance, 3 GB.
segments=200

free() { df --output=avail -B1 "$data" | tail -n 1; }
sql() { runuser -u "$user" -- psql @CONNECT@ -XAtq -c "$1"; }
its() { findmnt --noheadings --output "$1" --target "$data"; }
no() {
  echo "PGDATA has no file system of its own: $1"
  exit 1
}

case $step in
  possible)
    [ "$(its TARGET)" != / ] || no 'it is on the root file system'
    [ "$(its FSTYPE)" != overlay ] || no 'it is on an overlay'
    [ "$(its FSROOT)" = / ] || no "it is a directory of a larger one, $(its SOURCE)"
    [ "$(findmnt --noheadings --output TARGET --source "$(its SOURCE)" | wc -l)" = 1 ] ||
      no "$(its SOURCE) is also mounted elsewhere"
    sql 'SELECT 1' >/dev/null
    ;;
  inject)
    file="$data/.hactl-fill"
    # What is freed meanwhile is taken as well.
    systemd-run --quiet --collect --unit="$unit" --property=RuntimeMaxSec="$longest" /bin/sh -c \
      "exec 9>'$file' 2>/dev/null; rm '$file'; fallocate -l $(free) /proc/self/fd/9; while :; do dd if=/dev/zero bs=64k oflag=append conv=notrunc >&9; sleep 0.2; done"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      [ "$(free)" -ge 65536 ] || break
      sleep 0.5
    done
    if sql "DO 'BEGIN FOR n IN 1..$segments LOOP PERFORM pg_logical_emit_message(false, '''', ''''), pg_switch_wal(); END LOOP; END'" 2>/dev/null; then
      echo 0
    else
      echo 1
    fi
    ;;
  effect) [ "${noted:-}" = 1 ] && [ "$(free)" -lt 65536 ] ;;
esac
