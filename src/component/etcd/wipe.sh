# shellcheck shell=sh
etcd_wipe() {
  case $1 in
    data)
      data=$(sed -n 's/^data-dir: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /etc/etcd/etcd.conf.yml 2>/dev/null || true)
      case $data in /?*/?*) rm -rf -- "$data/member" && rm -f -- "$data"/before-*.db ;; esac
      ;;
    configuration)
      rm -rf /etc/etcd
      rm -f /etc/systemd/system/etcd.service /etc/systemd/system/hactl-etcd-leader-away.service \
        /etc/systemd/system/hactl-etcd-leader-away.timer
      ;;
  esac
}
