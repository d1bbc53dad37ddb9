# shellcheck shell=sh
# The argument is the program that calls pgBackRest. Prints "made" when there was no stanza yet.
ask() {
  runuser -u postgres -- psql -XAtqc "$1" postgres
}

[ "$(ask 'SELECT pg_is_in_recovery()')" = f ] || exit 0
# PostgreSQL archives already, and an archive-push that finds no stanza holds the lock for a moment: status 50.
tries=60
while :; do
  said=$("$1" --log-level-console=info stanza-create 2>&1)
  status=$?
  tries=$((tries - 1))
  if [ "$status" != 50 ] || [ "$tries" = 0 ]; then break; fi
  sleep 1
done
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
# A server that waits for the restart that sets archive_mode archives nothing yet.
[ "$(ask 'SHOW archive_mode')" != off ] || exit 0
# Its last line says why.
said=$("$1" check 2>&1) || {
  echo "$said" >&2
  exit 1
}
