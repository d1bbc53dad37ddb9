# shellcheck shell=sh
# Only the one of hactl's role: a machine without it may run another one.
pgbouncer_stop() {
  if [ "$1" = replicas ] && [ -d /etc/pgbouncer/hactl ]; then stop pgbouncer.service; fi
}
