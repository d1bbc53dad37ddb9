# shellcheck shell=sh
# What the repository has: its backups, and then the files of its archive, if both come in time.
program=/usr/local/sbin/hactl-pgbackrest
stanza=$(sed -n 's/.* --stanza=\([^ ]*\) .*/\1/p' "$program")
timeout '@SECONDS@' "$program" --output=json info
status=$?
[ "$status" != 124 ] || echo 'it did not answer within @SECONDS@ s' >&2
[ "$status" = 0 ] || exit "$status"
echo
# Without them the gaps of the archive are not known.
timeout '@SECONDS@' "$program" --output=json --recurse repo-ls "archive/$stanza" || :
