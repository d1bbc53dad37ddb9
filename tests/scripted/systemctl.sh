#!/bin/sh
# `systemctl` of a machine: a unit is a file with the word `active` or `inactive`. The test is asked before a unit stops.
quiet=
command=
unit=
for word; do
  case $word in
    --quiet) quiet=1 ;;
    -*) ;;
    *) if [ -z "$command" ]; then command=$word; else unit=${word%.service}; fi ;;
  esac
done
file=/etc/systemd/system/$unit.service
state=$(cat "$file" 2>/dev/null)
say() { [ -n "$quiet" ] || echo "$1"; }
case $command in
  cat) [ -n "$state" ] ;;
  disable)
    "${0%/*}/fake/systemctl" "$@"
    echo inactive >"$file" ;;
  is-active)
    say "${state:-inactive}"
    [ "$state" = active ] || exit 3 ;;
  is-enabled)
    if [ "$state" = active ]; then say enabled; else say disabled && exit 1; fi ;;
  show) echo "ActiveState=${state:-inactive}" ;;
esac
