# shellcheck shell=sh
# Prints the machine's IPv4 addresses, and of each process of Patroni and etcd what it is; of Patroni's also its
# configuration. The files are read as the process sees them. Values that may hold anything are in base64.
coded() { base64 | tr -d '\n'; }
echo "addresses $(ip -o -4 addr show 2>/dev/null | sed -n 's/.* inet \([0-9.]*\).*/\1/p' | tr '\n' ' ')$(hostname -I 2>/dev/null)"
# The paths have no spaces.
# shellcheck disable=SC2013
for file in $(grep -lsaE 'patroni|etcd' /proc/[0-9]*/cmdline); do
  dir=${file%/cmdline}
  pid=${dir#/proc/}
  exe=$(readlink "$dir/exe") || continue
  exe=${exe%" (deleted)"}
  case "${exe##*/}" in
    python*|patroni) what=patroni; tr '\0' '\n' <"$dir/cmdline" | grep -qE '(^|/)patroni$' || continue ;;
    etcd) what=etcd ;;
    *) continue ;;
  esac
  parent=$(sed -n 's/^PPid:[[:space:]]*//p' "$dir/status") || continue
  unit=$(sed -n 's#^.*/\([^/]*\)\.service\(/.*\)\{0,1\}$#\1#p' "$dir/cgroup" | head -n 1)
  echo "$what $pid $parent $(stat -c %U "$dir") ${unit:--}"
  [ "$what" = patroni ] || continue
  echo "environment $pid $(tr '\0' '\n' <"$dir/environ" | grep '^PATRONI_' | coded)"
  file=$(tr '\0' '\n' <"$dir/cmdline" | sed -n '/^\(.*\/\)\{0,1\}patroni$/,$p' | sed 1d | grep -v '^-' | head -n 1)
  case "$file" in
    '') continue ;;
    /*) file=$dir/root$file ;;
    *) file=$dir/cwd/$file ;;
  esac
  if [ -d "$file" ]; then
    for part in "$file"/*.yml "$file"/*.yaml; do
      [ ! -f "$part" ] || echo "file $pid $(coded <"$part")"
    done
  else
    echo "file $pid $(coded <"$file")"
  fi
done
exit 0
