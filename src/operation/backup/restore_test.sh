# shellcheck shell=sh
# Runs as a unit, as the user postgres: restores the cluster from its repository into a directory of its own, starts a server
# there that no network reaches, and reads what is in it. Lines that begin with "result" are for hactl.
set -eu
dir=/var/lib/postgresql/hactl-restore-test
bin=$(sed -n 's/^  bin_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml)
program=/usr/local/sbin/hactl-pgbackrest
export PGHOST="$dir/socket" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
server=

end() {
  status=$?
  if [ -n "$server" ]; then
    kill -QUIT "$server" 2>/dev/null || :
    wait "$server" 2>/dev/null || :
  fi
  # Why the server did not do what it should.
  if [ "$status" != 0 ] && [ -s "$dir/log" ]; then tail -n 8 "$dir/log"; fi
  rm -rf "$dir"
}
trap end EXIT
# Also where the unit is stopped or out of memory: the copy would stay on the disk of the replica.
trap 'exit 143' HUP INT TERM
rm -rf "$dir"
mkdir -m 700 "$dir" "$dir/data" "$dir/socket" "$dir/tablespaces"

began=$(date +%s)
echo 'restoring from the repository'
# The data directory is empty, so that every byte comes from the repository.
"$program" --pg1-path="$dir/data" --no-delta --archive-mode=off --tablespace-map-all="$dir/tablespaces" \
  --type=lsn --target='@TARGET@' --target-action=promote \
  --recovery-option=restore_command="$program --pg1-path=$dir/data --no-archive-async archive-get %f \"%p\"" restore
restored=$(date +%s)
echo "result bytes $(du -sb "$dir/data" | cut -f 1)"

echo 'recovering'
echo 'local all postgres peer' >"$dir/hba"
# A copy must not act: it listens on its own socket, archives nothing, and starts no worker. With hot_standby=off its
# limits need not be those of the primary.
"$bin/postgres" -D "$dir/data" -c listen_addresses= -c unix_socket_directories="$dir/socket" -c port=5432 \
  -c hba_file="$dir/hba" -c ssl=off -c hot_standby=off -c archive_mode=off -c archive_cleanup_command= -c primary_conninfo= \
  -c synchronous_standby_names= -c max_logical_replication_workers=0 -c shared_preload_libraries= \
  -c session_preload_libraries= -c local_preload_libraries= -c autovacuum=off -c shared_buffers=16MB -c huge_pages=off \
  -c jit=off -c fsync=off -c logging_collector=off -c log_destination=stderr -c external_pid_file= \
  >"$dir/log" 2>&1 &
server=$!
until psql -XAtqc 'SELECT 1' >/dev/null 2>&1; do
  if ! kill -0 "$server" 2>/dev/null; then
    server=
    echo 'the restored server has ended'
    exit 1
  fi
  sleep 1
done
recovered=$(date +%s)
echo "result seconds $((restored - began)) $((recovered - restored))"
echo "result rows $(psql -XAtqF ' ' -c "SELECT count(*), coalesce(md5(string_agg(id || ':' || token, ',' ORDER BY id)), '-') FROM hactl_backup.heartbeat")"

echo 'checking tables and indexes'
if said=$("$bin/pg_amcheck" --all --install-missing 2>&1); then
  echo 'result amcheck ok'
else
  echo "$said" | tail -n 8
  exit 1
fi
checksums=$(psql -XAtqc 'SHOW data_checksums')
kill -INT "$server"
wait "$server" || :
server=
if [ "$checksums" = on ]; then
  echo 'checking checksums'
  said=$("$bin/pg_checksums" --check --pgdata="$dir/data" 2>&1) || {
    echo "$said" | tail -n 8
    exit 1
  }
  echo 'result checksums ok'
else
  echo 'result checksums none'
fi
echo "result checked $(($(date +%s) - recovered))"
