# shellcheck shell=sh
# The data directory, as Patroni's configuration names it; empty without one.
postgres_data() {
  sed -n 's/^ *data_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml 2>/dev/null || true
}

# Patroni has stopped it, unless Patroni was gone before.
postgres_stop() {
  [ "$1" = primary ] || return 0
  data=$(postgres_data)
  if [ -n "$data" ] && [ -e "$data/postmaster.pid" ]; then
    bin=$(sed -n 's/^ *bin_dir: "\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /etc/patroni/patroni.yml)
    if runuser -u postgres -- "$bin/pg_ctl" -D "$data" status >/dev/null; then
      runuser -u postgres -- "$bin/pg_ctl" -D "$data" -m fast -w -t 120 stop >/dev/null || exit 1
    fi
  fi
}
