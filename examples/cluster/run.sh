#!/usr/bin/env bash
# Three brokers on this machine: they find each other and form a cluster, one is killed under a writer,
# nothing that was acknowledged is lost, the broker comes back. Everything is stopped and removed at
# the end.
#
#   examples/cluster/run.sh            uses `jocko` from the search path, or builds it
#   JOCKO=path/to/jocko examples/cluster/run.sh
#   examples/cluster/run.sh --stay     leaves the cluster running until you press Ctrl-C
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
jocko=${JOCKO:-$(command -v jocko || true)}
if [ -z "$jocko" ]; then
  cargo build --release --quiet --manifest-path "$here/../../Cargo.toml" -p jocko
  jocko=$here/../../target/release/jocko
fi

folder=$(mktemp -d)
declare -A pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT

base=${PORTS_FROM:-19000}
port() { echo $((base + $1 * 10 + $2)); } # broker, purpose: 2 Kafka, 3 cluster, 4 gossip, 5 HTTP
export JOCKO_CLUSTER_SECRET=an-example-is-no-secret
export JOCKO_CLUSTER_EXPECT=3
export JOCKO_CLUSTER_JOIN=127.0.0.1:$(port 1 4),127.0.0.1:$(port 2 4),127.0.0.1:$(port 3 4)
brokers=127.0.0.1:$(port 1 2),127.0.0.1:$(port 2 2),127.0.0.1:$(port 3 2)

start() {
  "$jocko" start --node-id "$1" --data-dir "$folder/$1" \
    --listen-kafka "127.0.0.1:$(port "$1" 2)" --listen-cluster "127.0.0.1:$(port "$1" 3)" \
    --listen-gossip "127.0.0.1:$(port "$1" 4)" --listen-http "127.0.0.1:$(port "$1" 5)" \
    2>>"$folder/$1.log" &
  pids[$1]=$!
}
say() { printf '\n== %s\n' "$*"; }
run() {
  printf "$ jocko %s\n" "$*" >&2
  "$jocko" "$@" -b "$brokers"
}
fail() {
  say "$1; what the brokers said:"
  tail -n 20 "$folder"/*.log
  exit 1
}

say "three brokers start, in any order"
for id in 1 2 3; do start "$id"; done
run cluster health --wait --expect 3 --timeout 60s || fail "the cluster did not form"
run cluster status

say "a topic with three copies, and records in it"
run topic create orders -p 3 -r 3
seq 1 1000 | run produce orders >/dev/null
run partition list orders

leader=$("$jocko" partition list orders -o json -b "$brokers" | grep -m1 '"leader"' | tr -dc 0-9)
say "broker $leader, who leads, is killed; writing goes on"
kill -9 "${pids[$leader]}"
wait "${pids[$leader]}" 2>/dev/null || true
unset "pids[$leader]"
seq 1001 2000 | run produce orders --timeout 30s >/dev/null || fail "nobody took over"
run partition list orders

say "all 2000 records are there, each once"
run consume orders -o start -e | sort -n >"$folder/read"
if ! diff -q <(seq 1 2000) "$folder/read" >/dev/null; then
  fail "$(wc -l <"$folder/read") lines were read, $(sort -u "$folder/read" | wc -l) of them different"
fi
echo "2000 read, 2000 different"

say "broker $leader comes back and catches up"
start "$leader"
run cluster health --wait --expect 3 --timeout 60s || fail "the cluster did not become healthy again"
run partition elect
run cluster status

if [ "${1:-}" = --stay ]; then
  say "the cluster stays at $brokers until you press Ctrl-C"
  wait
fi
