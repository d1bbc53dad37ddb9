# shellcheck shell=sh
# Prints what Patroni's configuration points to: the addresses of hosts, whether the lease guard runs and the watchdog's
# device is there, and certificates with their keys in base64.
hosts='@HOSTS@'
guard='@GUARD@'
watchdog=@WATCHDOG@

for host in $hosts; do
  address=$(getent ahostsv4 "$host" | head -n 1 | cut -d ' ' -f 1)
  [ -z "$address" ] || echo "address $host $address"
done
! systemctl is-active --quiet "$guard" 2>/dev/null || echo 'guard '
[ ! -c "$watchdog" ] || echo 'watchdog '

coded() { base64 | tr -d '\n'; }

# The certificate and the key of a client, if there are any.
pair() {
  if [ -r "$2" ] && [ -r "$3" ]; then echo "$1 $(coded <"$2") $(coded <"$3")"; fi
}

pair etcd @ETCD@
pair ctl @CTL@
exit 0
