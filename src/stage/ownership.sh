# shellcheck shell=sh
# Prints a line for each thing that is found on a machine: a word, and what it is. The functions of the components, which
# hactl writes before this text, print what they find by `found`.
others='@OTHERS@'
mark='@MARK@'
components='@COMPONENTS@'
ports='@PORTS@'

# Something that may be in the way: whose it is, what it is, and the words for it.
found() {
  echo "found $1 $2 $3"
}

# The directories below /proc of the processes with one of these names.
processes() {
  for process in /proc/[0-9]*; do
    { read -r comm <"$process/comm"; } 2>/dev/null || continue
    for name; do
      [ "$comm" != "$name" ] || echo "$process"
    done
  done
}

if [ -e /etc/os-release ]; then
  # shellcheck source=/dev/null
  . /etc/os-release
fi
echo "release ${ID:-unknown}:${VERSION_ID:-}"
echo "arch $(uname -m)"
echo "memory $(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)"
echo "addresses $(ip -4 -o address 2>/dev/null | sed -n 's/.* inet \([0-9.]*\).*/\1/p' | tr '\n' ' ')"
for other in $others; do
  source=$(ip -4 route get "$other" 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p') && [ -n "$source" ] && echo "from $source to $other"
done
net=$(readlink /proc/self/ns/net) && echo "ports-of $(cat /proc/sys/kernel/random/boot_id) $net"
[ ! -e "$mark" ] || echo "mark $(tr -d '\n' <"$mark")"
for component in $components; do
  "${component}_detect"
done
filter=
for port in $ports; do
  filter="${filter:+$filter or }sport = :$port"
done
if command -v ss >/dev/null; then
  ss -Hltnp "( $filter )" |
    sed -n 's/^[^ ]* *[0-9]* *[0-9]* *\([^ ]*\) .*users:(("\([^"]*\)".*/listens \1 \2/p' | sort -u
fi
true
