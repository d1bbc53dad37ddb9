# shellcheck shell=sh
etcd_stop() {
  case $1 in
    replicas) stop hactl-etcd-leader-away.timer ;;
    dcs)
      stop etcd.service
      must_be_stopped etcd
      ;;
  esac
}
