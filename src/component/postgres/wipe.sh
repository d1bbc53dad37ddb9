# shellcheck shell=sh
postgres_wipe() {
  [ "$1" = data ] || return 0
  data=$(postgres_data)
  case $data in
    /?*/?*)
      empty "$data"
      rm -rf -- "$data".unfinished-*
      ;;
  esac
}
