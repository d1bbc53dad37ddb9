# shellcheck shell=sh
patroni_detect() {
  [ -z "$(processes patroni)" ] || found patroni process "a Patroni that runs"
  for file in /etc/patroni/*.yml /etc/patroni.yml; do
    scope=$(sed -n 's/^scope: *//p' "$file" 2>/dev/null | head -n 1)
    [ -z "$scope" ] || found patroni configuration "Patroni's configuration $file, of the cluster $scope"
  done
}
