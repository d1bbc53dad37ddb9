# shellcheck shell=sh
# A configuration with which the repository cannot be read takes the place of none: archiving would fail from then on.
# The arguments are the file, the stanza, and "new" where the repository must not have that stanza yet.
said=$(timeout 90 pgbackrest --config="$1" --stanza="$2" --log-level-file=off --output=json info 2>&1) || {
  echo "$said" >&2
  exit 1
}
case $said in
  *'"code":99'*)
    echo "the repository cannot be read: $(echo "$said" | sed -n 's/.*"code":99,"message":"\([^"\\]*\).*/\1/p' | head -n 1)" >&2
    exit 1
    ;;
  *'missing stanza path'*) ;;
  *)
    [ "$3" != new ] || {
      echo "the repository has the stanza $2 already: set backup.stanza in the cluster file of the new cluster to another name" >&2
      exit 1
    }
    ;;
esac
