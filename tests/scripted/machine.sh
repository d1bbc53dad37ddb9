#!/bin/sh
# Runs one SSH command on the machine $1, in the namespaces of its process (machines.rs). Then it reports to the test which
# of the files below the command has created or removed.
set -u
here=$(dirname "$0")
root=$here/machines/$1
export MACHINE="$1"

files() {
  for file in run/hactl/lock etc/hactl/cluster.json etc/patroni var/lib/postgresql/15/pg var/lib/etcd/member; do
    [ ! -e "$root/$file" ] || echo "/$file"
  done
}

become=
[ "$(id -u)" = 0 ] || become="sudo -n"
before=$(files)
$become nsenter --target "$(cat "$root/pid")" --mount --net --pid \
  /usr/bin/env MACHINE="$1" PATH="$here/machine:$PATH" /bin/sh -c "${SSH_ORIGINAL_COMMAND:-true}"
status=$?
after=$(files)
[ "$before" = "$after" ] || "$here/machine/fake/files" "$before" "$after" </dev/null
exit "$status"
