# shellcheck shell=sh
# Patroni of a replica goes before that of the primary, so that no other one is promoted.
patroni_stop() {
  case $1 in
    replicas)
      stop hactl-lease-guard.service
      data=$(postgres_data)
      if [ -n "$data" ] && [ -e "$data/standby.signal" ]; then stop patroni.service; fi
      ;;
    primary) stop patroni.service ;;
    dcs) must_be_stopped patroni hactl-lease-guard ;;
  esac
}
