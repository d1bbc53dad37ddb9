#!/bin/sh
# Loads the kernel settings of a file, which each boot loads, too:
#   kernel.sh FILE MEMINFO
# Reserved huge pages are of no use to anything but PostgreSQL. A machine whose memory grows at its next restart may not have
# what they would take yet, and the kernel would reserve all that is there: they wait for that restart.
set -eu
file=$1
field() {
  sed -n "s/^$1: *\([0-9]*\) kB\$/\1/p" "$2"
}
pages=$(sed -n 's/^vm\.nr_hugepages = //p' "$file")
memory=$(field MemTotal "$2")
size=$(field Hugepagesize "$2")
if [ $((${pages:-0} * ${size:-0})) -gt $((memory / 2)) ]; then
  grep -v '^vm\.nr_hugepages = ' "$file" | sysctl --load=-
else
  sysctl --load="$file"
fi
