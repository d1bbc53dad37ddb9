# shellcheck shell=sh
# One step of the packet filter on a machine: `ask`, `peers`, `admit`, `load`, `check`, `keep` or `remove`.
step='@STEP@'
# The declared ports, separated by spaces.
ports='@PORTS@'
# The addresses of all members, separated by commas.
members='@MEMBERS@'
# The other members' ports that must be reachable, as address/port.
endpoints='@ENDPOINTS@'
# After so many seconds a table that no run has confirmed is removed.
patience='@PATIENCE@'
file=/etc/hactl/firewall.nft
reason=/etc/hactl/firewall.refused
unit=hactl-firewall.service
# In /run: a reboot removes the table, and these files with it.
loading=/run/hactl-firewall.nft
undo=/run/hactl-firewall-undo
timer=hactl-firewall-undo

# Fails with the first line of a text as the reason why this machine has no firewall.
refuse() {
  set +e
  line=$(printf '%s\n' "$1" | sed '/^ *$/d' | head -n 1)
  remove
  mkdir -p "${reason%/*}"
  printf '%s\n' "$line" >"$reason"
  printf '%s\n' "$line"
  exit 3
}

remove() {
  systemctl stop "$timer.timer" 2>/dev/null
  systemctl disable --quiet "$unit" 2>/dev/null
  systemctl stop "$unit" 2>/dev/null
  if command -v nft >/dev/null && nft list table inet hactl >/dev/null 2>&1; then
    nft delete table inet hactl || return 1
  fi
  if [ -e "/etc/systemd/system/$unit" ]; then
    rm -f "/etc/systemd/system/$unit"
    systemctl daemon-reload
  fi
  rm -f "$file" "$file.new" "$reason" "$loading" "$undo"
}

case $step in
  ask | peers)
    [ ! -e "$file" ] || echo "digest $(sha256sum "$file" | cut -d ' ' -f 1)"
    if nft list table inet hactl >/dev/null 2>&1; then echo loaded; fi
    if systemctl is-enabled --quiet "$unit" 2>/dev/null; then echo enabled; fi
    [ ! -e "$undo" ] || echo armed
    [ ! -s "$reason" ] || echo "refused $(head -n 1 "$reason")"
    [ "$step" = peers ] || exit 0
    # With all states but that of listening sockets: a health check is connected for a moment only.
    filter=
    for port in $ports; do filter="$filter${filter:+ or }sport = :$port"; done
    # shellcheck disable=SC2086
    ss -Htn state connected "( $filter )" 2>/dev/null | sort -u | sed 's/^/peer /'
    ;;
  admit)
    # A loaded table may be older than a member that is about to join.
    if nft list table inet hactl >/dev/null 2>&1; then
      nft insert rule inet hactl input ip saddr "{ $members }" accept
    fi
    ;;
  load)
    set -e
    command -v nft >/dev/null || refuse 'nft is not installed'
    cat >"$loading" <<'RULES'
@RULES@
RULES
    said=$(nft --check -f "$loading" 2>&1) || refuse "$said"
    # A run that was killed may have left a timer.
    systemctl stop "$timer.timer" 2>/dev/null || :
    systemctl reset-failed "$timer.service" 2>/dev/null || :
    # The machine does not load at boot what no run has confirmed.
    rm -f "$file"
    cat >"$undo" <<END
set -e
nft add table inet hactl '; delete table inet hactl'
rm -f $loading $undo
END
    systemd-run --quiet --collect --unit="$timer" --service-type=oneshot --on-active="${patience}s" \
      --timer-property=AccuracySec=1s /bin/sh "$undo"
    said=$(nft -f "$loading" 2>&1) || refuse "$said"
    ;;
  check)
    for endpoint in $endpoints; do
      timeout 3 bash -c "exec 3<>/dev/tcp/$endpoint" 2>/dev/null || echo "$endpoint" &
    done
    wait
    ;;
  keep)
    set -e
    systemctl stop "$timer.timer" 2>/dev/null || :
    if [ ! -e "$undo" ] || systemctl --quiet is-active "$timer.service"; then
      echo 'the timer on the machine has removed it' >&2
      exit 1
    fi
    mkdir -p "${file%/*}"
    cp "$loading" "$file.new"
    chmod 0644 "$file.new"
    mv "$file.new" "$file"
    cat >"/etc/systemd/system/$unit" <<END
[Unit]
Description=hactl's firewall for the ports of the cluster
DefaultDependencies=no
Wants=network-pre.target
# The distribution's unit removes every table when it starts, reloads and stops.
After=local-fs.target nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
ConditionPathExists=$file

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f $file
ExecReload=/usr/sbin/nft -f $file
ExecStop=/usr/sbin/nft add table inet hactl '; delete table inet hactl'

[Install]
WantedBy=sysinit.target
END
    systemctl daemon-reload
    systemctl enable --quiet "$unit"
    # Loads the same rules again, in one transaction.
    systemctl reload-or-restart "$unit"
    rm -f "$reason" "$loading" "$undo"
    ;;
  remove) remove ;;
esac
