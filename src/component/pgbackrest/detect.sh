# shellcheck shell=sh
# Its configuration alone is not in the way of another cluster.
pgbackrest_detect() {
  :
}
