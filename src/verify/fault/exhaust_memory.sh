# shellcheck shell=sh
# One step of the fault that makes the kernel kill a backend for want of memory: `possible`, `inject`, `effect` or `revert`.
step='@STEP@'
data=@DATA@
user='@USER@'
# The unit that PostgreSQL runs in, and the one of the client.
server='@SERVER@'
unit='@UNIT@'
# How long the client may run, should the undo fail, in seconds.
longest=60
# What PostgreSQL may still use beyond its present memory, in MiB.
room=64
# The most that the backend may ask for where only the machine's own limit ends it, in MiB.
most=4096
dir=/run/$unit
settings=/run/systemd/system.control/$server.service.d

# cgroup v2: the unit of PostgreSQL gets a limit. Without it (a container on a host with cgroup v1), the container's own.
group=/sys/fs/cgroup$(systemctl show -p ControlGroup --value "$server")
outer=/sys/fs/cgroup/memory
limits_unit() { [ -w "$group/memory.max" ]; }
mib() { echo $(($1 / 1048576)); }
killed() {
  if limits_unit; then
    sed -n 's/^oom_kill //p' "$group/memory.events"
  else
    sed -n 's/^oom_kill //p' "$outer/memory.oom_control"
  fi
}
# The memory until the limit, in MiB.
left() {
  if limits_unit; then
    echo $(($(mib "$(cat "$group/memory.current")") + room))
  else
    mib "$(cat "$outer/memory.limit_in_bytes")"
  fi
}

case $step in
  possible)
    if ! limits_unit && ! { [ -r "$outer/memory.oom_control" ] && [ "$(left)" -le "$most" ]; }; then
      echo "the unit $server has no memory controller, and the machine no limit of at most $most MiB"
      exit 1
    fi
    ;;
  inject)
    read -r postmaster <"$data/postmaster.pid"
    mkdir -p "$dir"
    killed >"$dir/killed"
    asked=$(($(left) + 512))
    if limits_unit; then
      # Swap would let the backend continue, slowly.
      systemctl set-property --runtime "$server.service" "MemoryMax=$(left)M" MemorySwapMax=0
    fi
    systemd-run --quiet --collect --unit="$unit" --uid="$user" --property=RuntimeMaxSec="$longest" \
      psql @PORT@-d postgres -XAtq -c "DO 'DECLARE kept text[]; BEGIN FOR n IN 1..$asked LOOP kept := kept || repeat(''x'', 1048576); END LOOP; END'"
    echo "$postmaster"
    ;;
  effect)
    [ "$(killed)" -gt "$(cat "$dir/killed")" ] && [ "$(head -n 1 "$data/postmaster.pid")" = "${noted:-}" ]
    ;;
  revert)
    ! systemctl is-active --quiet "$unit" || systemctl stop "$unit"
    if [ -e "$settings/50-MemoryMax.conf" ] && [ -e "$dir" ]; then
      systemctl set-property --runtime "$server.service" MemoryMax=infinity MemorySwapMax=infinity
      rm -f "$settings/50-MemoryMax.conf" "$settings/50-MemorySwapMax.conf"
      systemctl daemon-reload
    fi
    rm -rf "$dir"
    ;;
esac
