# shellcheck shell=sh
# Ends a restore test that an interrupted command left here, and removes its copy of the data. Then the size of PostgreSQL's data with
# its tablespaces, and the free space on its disk, in KiB.
systemctl stop hactl-restore-test.service 2>/dev/null || :
rm -rf /var/lib/postgresql/hactl-restore-test
dir=$(sed -n 's/^  data_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml)
[ -n "$dir" ] || { echo '/etc/patroni/patroni.yml names no data directory' >&2; exit 1; }
du -skL "$dir" 2>/dev/null | cut -f 1
df -Pk /var/lib/postgresql | awk 'NR == 2 { print $4 }'
