# shellcheck shell=sh
# One step of the fault that loads rows in bulk: `possible`, `inject` or `effect`.
step='@STEP@'
data=@DATA@
user='@USER@'
unit='@UNIT@'
# How long the load may run, should nothing else end it, in seconds.
longest=60

case $step in
  possible)
    [ "$(df --output=avail -B1M "$data" | tail -n 1)" -ge 512 ] ||
      { echo "$data has less than 512 MiB of free space"; exit 1; }
    ;;
  inject)
    # 160 MB of rows in about ten seconds, then an open COPY. Its transaction never commits, so it leaves no table.
    systemd-run --quiet --collect --unit="$unit" --uid="$user" --property=RuntimeMaxSec="$longest" /bin/sh -c \
      "{ for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do head -c 8000000 /dev/zero | tr '\\0' x | fold -w 999; echo; sleep 0.4; done; sleep $longest; } |
       psql @CONNECT@ -XAtq -v ON_ERROR_STOP=1 -d @DATABASE@ -c BEGIN -c 'CREATE TABLE public.bulk_load (row text)' -c 'COPY public.bulk_load FROM STDIN' -c ROLLBACK"
    ;;
  effect) systemctl is-active --quiet "$unit" ;;
esac
