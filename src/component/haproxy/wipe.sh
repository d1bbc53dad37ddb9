# shellcheck shell=sh
haproxy_wipe() {
  [ "$1" = configuration ] && [ -d /etc/haproxy/hactl ] || return 0
  rm -rf /etc/haproxy/hactl
  rm -f /etc/systemd/system/haproxy.service
}
