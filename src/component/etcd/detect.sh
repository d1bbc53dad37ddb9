# shellcheck shell=sh
etcd_detect() {
  [ -z "$(processes etcd)" ] || found etcd process "an etcd that runs"
  for data in /var/lib/etcd /var/lib/etcd/default; do
    [ ! -d "$data/member" ] || found etcd data "data of etcd in $data"
  done
}
