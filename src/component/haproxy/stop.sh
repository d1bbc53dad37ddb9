# shellcheck shell=sh
# Only the one of hactl's role: a machine without it may run another one.
haproxy_stop() {
  if [ "$1" = replicas ] && [ -d /etc/haproxy/hactl ]; then stop haproxy.service; fi
}
