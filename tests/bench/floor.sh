#!/usr/bin/env bash
# The floor under `hactl up` on prepared nodes: the same etcd, Patroni and PostgreSQL started by a
# bare script, without TLS, passwords worth the name, checks or a second thought. It shows how much
# of hactl's time is the software's own.
#
#   tests/bench/floor.sh IMAGE [ROUNDS]
#
# IMAGE is a node image of hactl (`hactl image list`). Prints one JSON object for each round: seconds
# from the first `docker run` until three etcd members and three streaming PostgreSQL are there.
# What it makes is called hactl-bench-floor-* and removed at the end.
set -euo pipefail

image=${1:?usage: floor.sh IMAGE [ROUNDS]}
rounds=${2:-3}
name=hactl-bench-floor
nodes=(node1 node2 node3)
scratch=$(mktemp -d)

clean() {
  docker rm --force --volumes "${nodes[@]/#/$name-}" >/dev/null 2>&1 || true
  docker network rm "$name" >/dev/null 2>&1 || true
}
trap 'clean; rm -rf "$scratch"' EXIT

on() { docker exec "$name-$1" "${@:2}"; }

# Seconds since $1, a value of $EPOCHREALTIME.
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  until "${@:3}" >/dev/null 2>&1; do
    if ((SECONDS > deadline)); then
      echo "floor: no $what within $1 s" >&2
      for node in "${nodes[@]}"; do on "$node" tail -n 5 /var/log/etcd.log /var/log/patroni.log >&2 || true; done
      exit 1
    fi
    sleep 0.2
  done
}

etcd_has_three() {
  local address
  for address in "${addresses[@]}"; do
    on node1 etcdctl --endpoints="http://$address:2379" endpoint health || return 1
  done
}

three_run() {
  on node1 curl -fs --max-time 2 "http://${addresses[0]}:8008/cluster" 2>/dev/null ||
    on node1 python3 -c "import urllib.request as u; print(u.urlopen('http://${addresses[0]}:8008/cluster', timeout=2).read().decode())"
}

healthy() {
  three_run | python3 -c 'import json, sys
members = json.load(sys.stdin)["members"]
states = sorted(member["state"] for member in members)
sys.exit(states != ["running", "streaming", "streaming"])'
}

patroni_yml() {
  # $1 node, $2 address
  cat <<YAML
scope: floor
name: $1
restapi: {listen: "$2:8008", connect_address: "$2:8008"}
etcd3: {hosts: [$(printf '"%s:2379",' "${addresses[@]}" | sed 's/,$//')]}
bootstrap:
  dcs: {ttl: 20, loop_wait: 3, retry_timeout: 7, postgresql: {use_pg_rewind: true, use_slots: true}}
  initdb: [{encoding: UTF8}, {locale: C.UTF-8}, data-checksums]
postgresql:
  listen: "$2:5432"
  connect_address: "$2:5432"
  data_dir: /var/lib/postgresql/floor
  bin_dir: $bin_dir
  pgpass: /tmp/pgpass
  authentication:
    superuser: {username: postgres, password: floor}
    replication: {username: replicator, password: floor}
  basebackup: {checkpoint: fast}
  pg_hba: ["local all all trust", "host all all all scram-sha-256", "host replication replicator all scram-sha-256"]
YAML
}

start_etcd() {
  # $1 node, $2 address, $3 initial cluster
  on "$1" systemd-run --quiet --unit floor-etcd --property StandardError=append:/var/log/etcd.log \
    etcd --name "$1" --data-dir /var/lib/floor-etcd --initial-cluster "$3" --initial-cluster-state new \
    --listen-peer-urls "http://$2:2380" --initial-advertise-peer-urls "http://$2:2380" \
    --listen-client-urls "http://$2:2379" --advertise-client-urls "http://$2:2379"
}

start_patroni() {
  # $1 node
  on "$1" systemd-run --quiet --unit floor-patroni --uid postgres --property StandardError=append:/var/log/patroni.log \
    "$patroni" /etc/floor.yml
}

round() {
  local start=$EPOCHREALTIME node i cluster="" booted etcd
  docker network create "$name" >/dev/null
  for node in "${nodes[@]}"; do
    # With more rights than hactl's own nodes have: this is about time.
    docker run --detach --privileged --network "$name" --name "$name-$node" --hostname "$node" \
      --volume /sys/fs/cgroup:/sys/fs/cgroup:rw --tmpfs /run --tmpfs /run/lock --volume /var/lib/postgresql \
      "$image" /lib/systemd/systemd >/dev/null &
  done
  wait
  addresses=()
  for node in "${nodes[@]}"; do
    addresses+=("$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$name-$node")")
    cluster+="$node=http://${addresses[-1]}:2380,"
  done
  patroni=$(on node1 sh -c 'ls /opt/patroni-*/bin/patroni' | tail -n 1)
  bin_dir=$(on node1 sh -c 'ls -d /usr/lib/postgresql/*/bin' | tail -n 1)
  for i in "${!nodes[@]}"; do
    node=${nodes[i]}
    patroni_yml "$node" "${addresses[i]}" >"$scratch/$node.yml"
    (
      wait_for 60 "system manager on $node" on "$node" systemctl show-environment
      docker cp --quiet "$scratch/$node.yml" "$name-$node:/etc/floor.yml" 2>/dev/null ||
        docker cp "$scratch/$node.yml" "$name-$node:/etc/floor.yml" >/dev/null
      on "$node" chown -R postgres: /var/lib/postgresql /etc/floor.yml
      start_etcd "$node" "${addresses[i]}" "${cluster%,}"
    ) &
  done
  wait
  booted=$(since "$start")
  wait_for 60 "quorum of etcd" etcd_has_three
  etcd=$(since "$start")
  for node in "${nodes[@]}"; do start_patroni "$node" & done
  wait
  wait_for 120 "cluster of three" healthy
  printf '{"benchmark": "floor", "nodes_up": %s, "etcd": %s, "healthy": %s}\n' "$booted" "$etcd" "$(since "$start")"
}

for _ in $(seq "$rounds"); do
  clean
  round
done
