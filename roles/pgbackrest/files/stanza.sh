# shellcheck shell=sh
# The argument is the program that calls pgBackRest. Prints "made" when there was no stanza yet.
[ "$(runuser -u postgres -- psql -XAtqc 'SELECT pg_is_in_recovery()' postgres)" = f ] || exit 0
said=$("$1" --log-level-console=info stanza-create 2>&1)
status=$?
if [ "$status" = 28 ]; then
  echo "$said" >&2
  echo 'The repository has backups of another cluster under this stanza. Set backup.stanza in the cluster file to another name.' >&2
  exit 1
elif [ "$status" != 0 ]; then
  echo "$said" >&2
  exit 1
fi
case $said in
  *'already exists'*) ;;
  *) echo made ;;
esac
# Its last line says why.
said=$("$1" check 2>&1) || {
  echo "$said" >&2
  exit 1
}
