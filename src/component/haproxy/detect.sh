# shellcheck shell=sh
haproxy_detect() {
  [ -z "$(processes haproxy)" ] || found haproxy process "an HAProxy that runs"
}
