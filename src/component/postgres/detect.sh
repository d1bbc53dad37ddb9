# shellcheck shell=sh
postgres_detect() {
  for file in /var/lib/postgresql/*/*/PG_VERSION /var/lib/pgsql/*/data/PG_VERSION /var/lib/pgsql/data/PG_VERSION; do
    [ ! -e "$file" ] || found postgres data "data of PostgreSQL $(cat "$file") in ${file%/PG_VERSION}"
  done
  # Every process of a server works in its data directory.
  for process in $(processes postgres postmaster); do
    data=$(readlink "$process/cwd")
    if [ -e "$data/PG_VERSION" ] && [ -e "$data/postmaster.pid" ]; then
      found postgres process "a PostgreSQL that runs in $data"
    fi
  done | sort -u
}
