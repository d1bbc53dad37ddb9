# shellcheck shell=sh
# Takes one step of a teardown on a machine. hactl writes the functions of the components before this text.
step='@STEP@'
mark='@MARK@'
components='@COMPONENTS@'

# Stops units that are there, in this order, and for good.
stop() {
  for unit; do
    systemctl cat "$unit" >/dev/null 2>&1 || continue
    systemctl disable --quiet --now "$unit" || exit 1
  done
}

must_be_stopped() {
  for unit; do
    if systemctl --quiet is-active "$unit"; then
      echo "$unit is still active" >&2
      exit 1
    fi
  done
}

# Removes a directory; one whose file system is its own stays, without what was in it.
empty() {
  if [ -d "$1" ]; then find "$1/" -mindepth 1 -delete; fi
  mountpoint -q "$1" || rm -rf -- "$1"
}

# What every component does of the step: `stop` or `wipe`, and which part of it.
each() {
  for component in $components; do
    "${component}_$1" "$2"
  done
}

case $step in
  wipe)
    # Everything that hactl has put there, but for packages and programs. The configuration goes after the data, which it
    # tells the place of; the mark goes last, and only with all the rest.
    set -e
    each wipe data
    each wipe configuration
    rm -f /etc/systemd/system/hactl-firewall.service /etc/hactl/firewall.nft /etc/hactl/firewall.refused
    systemctl daemon-reload
    rm -f "$mark"
    rmdir /etc/hactl 2>/dev/null || true
    ;;
  *)
    # The mark stays as long as the data does; the digest would say that all is well.
    if [ "$step" = dcs ]; then
      rm -f /etc/hactl/digest
      stop hactl-firewall.service
    fi
    each stop "$step"
    ;;
esac
