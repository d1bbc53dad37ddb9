# shellcheck shell=sh
pgbouncer_detect() {
  [ -z "$(processes pgbouncer)" ] || found pgbouncer process "a PgBouncer that runs"
}
