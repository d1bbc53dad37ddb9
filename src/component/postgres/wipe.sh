# shellcheck shell=sh
postgres_wipe() {
  [ "$1" = data ] || return 0
  data=$(postgres_data)
  case $data in
    /?*/?*)
      empty "$data"
      # The second is what Patroni sets aside of a restore that failed.
      rm -rf -- "$data".unfinished-* "$data".failed
      ;;
  esac
}
