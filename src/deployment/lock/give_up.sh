# shellcheck shell=sh
# Removes the lock, if its holder is the line that this reads.
IFS= read -r mine
exec 9>/run/hactl/lock.guard
flock 9
if [ "$(sed -n 2p /run/hactl/lock)" = "$mine" ]; then rm -f /run/hactl/lock; fi
