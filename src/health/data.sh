# shellcheck shell=sh
# What is only on the disk: the data directories that were kept aside with their sizes in KiB, and the last checkpoint of the
# data directory, which is known also where PostgreSQL does not start.
du -sk /var/lib/postgresql/*/*.diverged-* 2>/dev/null
config=/etc/patroni/patroni.yml
dir=$(sed -n 's/^  data_dir: "\(.*\)"$/\1/p' "$config" 2>/dev/null)
bin=$(sed -n 's/^  bin_dir: "\(.*\)"$/\1/p' "$config" 2>/dev/null)
[ -z "$dir" ] || LC_ALL=C "$bin/pg_controldata" "$dir" 2>/dev/null | sed -n "s/^Latest checkpoint location: */checkpoint /p; \
  s/^Latest checkpoint's TimeLineID: */timeline /p"
