#!/usr/bin/env bash
# A lower limit for `hactl up` on prepared machines: a plain script starts the same etcd, Patroni and
# PostgreSQL on the same machines, without TLS, strong passwords or checks. It shows how much of
# hactl's time the software itself takes.
#
#   hactl provision NAME; tests/bench/floor.sh NAME [ROUNDS]; hactl down NAME
#
# NAME is a cluster of three machines on the local platform, provisioned but never configured. Prints one
# JSON object for each round: seconds until etcd has a quorum, and until one primary has two streaming replicas.
set -euo pipefail

name=${1:?usage: floor.sh NAME [ROUNDS]}
rounds=${2:-3}
nodes=(node1 node2 node3)
scratch=$(mktemp -d)

clean() {
  local node
  for node in "${nodes[@]}"; do
    on "$node" sh -c 'systemctl kill --signal=KILL floor-patroni floor-etcd; pkill -KILL -u postgres
      systemctl stop floor-patroni floor-etcd; systemctl reset-failed
      rm -rf /var/lib/floor-etcd /var/lib/postgresql/floor /var/log/etcd.log /var/log/patroni.log' >/dev/null 2>&1 || true
  done
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

healthy() {
  on node1 python3 -c "
import json, sys, urllib.request
members = json.load(urllib.request.urlopen('http://${addresses[0]}:8008/cluster', timeout=2))['members']
sys.exit(sorted(member['state'] for member in members) != ['running', 'streaming', 'streaming'])"
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
  local start=$EPOCHREALTIME node i etcd
  for i in "${!nodes[@]}"; do
    start_etcd "${nodes[i]}" "${addresses[i]}" "${cluster%,}" &
  done
  wait
  wait_for 60 "quorum of etcd" etcd_has_three
  etcd=$(since "$start")
  for node in "${nodes[@]}"; do start_patroni "$node" & done
  wait
  wait_for 120 "cluster of three" healthy
  printf '{"benchmark": "floor", "etcd": %s, "healthy": %s}\n' "$etcd" "$(since "$start")"
}

addresses=()
cluster=""
for node in "${nodes[@]}"; do
  addresses+=("$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$name-$node")")
  cluster+="$node=http://${addresses[-1]}:2380,"
done
patroni=$(on node1 sh -c 'ls /opt/patroni-*/bin/patroni' | tail -n 1)
bin_dir=$(on node1 sh -c 'ls -d /usr/lib/postgresql/*/bin' | tail -n 1)
for i in "${!nodes[@]}"; do
  patroni_yml "${nodes[i]}" "${addresses[i]}" >"$scratch/${nodes[i]}.yml"
  docker cp "$scratch/${nodes[i]}.yml" "$name-${nodes[i]}:/etc/floor.yml" >/dev/null
  on "${nodes[i]}" chown -R postgres: /var/lib/postgresql /etc/floor.yml
done
for _ in $(seq "$rounds"); do
  clean
  round
done
