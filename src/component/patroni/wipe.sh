# shellcheck shell=sh
patroni_wipe() {
  [ "$1" = configuration ] || return 0
  rm -rf /etc/patroni
  rm -f /etc/systemd/system/patroni.service /etc/systemd/system/hactl-lease-guard.service
}
