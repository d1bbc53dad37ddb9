# shellcheck shell=sh
# PostgreSQL's data directory, its size and the free space beside it in KiB, and its number of tablespaces.
dir=$(sed -n 's/^  data_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml)
[ -n "$dir" ] || { echo '/etc/patroni/patroni.yml names no data directory' >&2; exit 1; }
echo "$dir"
du -sk "$dir" 2>/dev/null | cut -f 1 | grep . || echo 0
df -Pk "$(dirname "$dir")" | awk 'NR == 2 { print $4 }'
find "$dir/pg_tblspc" -mindepth 1 2>/dev/null | wc -l
