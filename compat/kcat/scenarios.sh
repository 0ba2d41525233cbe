#!/usr/bin/env bash
# Runs the scenarios with kcat: scenarios.sh BOOTSTRAP [SCENARIO...]
#
# kcat has no administration: its topics are made by the broker on first use, with one partition, so scenarios that
# delete a topic or need many partitions are skipped.
set -uo pipefail

bootstrap=${1:?usage: scenarios.sh BOOTSTRAP [SCENARIO...]}
shift
wanted=" $* "
work=$(mktemp -d)
failed=0
trap 'end_members; rm -rf "$work"' EXIT

all="create-describe-delete-topic acks-0 acks-1 acks-all codec-none codec-gzip codec-snappy codec-lz4 codec-zstd headers
null-key-value record-1mb idempotent batches-1-to-10000 read-from-start read-from-end read-from-offset
read-from-timestamp long-poll-latency many-partitions delete-and-recreate reconnect group-read group-share group-leave
group-killed group-static group-commit-sync group-commit-async group-regex group-restart group-seek-time group-cooperative
group-848-read group-848-share group-848-leave group-848-killed group-848-static group-848-commit-sync
group-848-commit-async group-848-regex group-848-restart group-848-cooperative admin-groups admin-offsets
admin-delete-offsets admin-configs admin-partitions admin-delete-records"

# A step that takes longer has failed; nothing may hang.
step=15
members=

# shellcheck source=groups.sh
. "$(dirname "$0")/groups.sh"

produce() { # TOPIC [kcat options], records on stdin
  local topic=$1
  shift
  timeout "$step" kcat -P -b "$bootstrap" -t "$topic" -p 0 -X queue.buffering.max.ms=5 "$@" 2>>"$work/errors"
}

consume() { # TOPIC OFFSET COUNT [kcat options]
  local topic=$1 offset=$2 count=$3
  shift 3
  timeout "$step" kcat -C -b "$bootstrap" -t "$topic" -p 0 -o "$offset" -c "$count" -q -X fetch.wait.max.ms=500 "$@" 2>>"$work/errors"
}

end_offset() { # TOPIC
  timeout "$step" kcat -Q -b "$bootstrap" -t "$1:0:-1" 2>>"$work/errors" | sed -E 's/.* offset //; s/.*: //'
}

lines() { # COUNT PREFIX
  seq -f "$2-%.0f" 0 $(($1 - 1))
}

# Sets why and fails.
because() {
  why=$*
  return 1
}

same() { # FILE FILE
  cmp "$1" "$2" >"$work/cmp" 2>&1 || because "read back something else: $(head -c 200 "$work/cmp")"
}

# Writes stdin to the topic and reads all of it back.
round_trip() { # TOPIC [kcat options for producing]
  local topic=$1 count
  shift
  cat >"$work/sent"
  count=$(wc -l <"$work/sent")
  produce "$topic" "$@" <"$work/sent" || because "cannot produce" || return
  consume "$topic" beginning "$count" >"$work/got" || because "cannot read $count records" || return
  same "$work/sent" "$work/got" || return
  [ "$(end_offset "$topic")" = "$count" ] || because "end offset is $(end_offset "$topic") after $count records"
}

run_codec() { # TOPIC CODEC
  lines 200 "$(printf 'a text that compresses well %.0s' 1 2 3 4 5 6 7 8 9 10)" | round_trip "$1" -z "$2"
}

run_headers() {
  printf 'value\n' | produce "$1" -H trace=1 -H trace=2 -H empty= || because "cannot produce" || return
  consume "$1" beginning 1 -f '%h=%s\n' >"$work/got" || because "cannot read" || return
  [ "$(cat "$work/got")" = "trace=1,trace=2,empty==value" ] || because "read $(cat "$work/got")"
}

run_nulls() {
  printf ':null key\nkey:\nboth:set\n' | produce "$1" -K: -Z || because "cannot produce" || return
  consume "$1" beginning 3 -Z -f '%k|%K|%s|%S\n' >"$work/got" || because "cannot read" || return
  printf 'NULL|-1|null key|8\nkey|3|NULL|-1\nboth|4|set|3\n' >"$work/sent"
  same "$work/sent" "$work/got"
}

run_big() {
  head -c 742500 /dev/zero | base64 -w0 >"$work/big" # 990,000 letters
  produce "$1" "$work/big" </dev/null || because "cannot produce" || return
  consume "$1" beginning 1 -D '' >"$work/got" || because "cannot read" || return
  same "$work/big" "$work/got"
}

run_batches() {
  local first=0 count
  for count in 1 10 1000 10000; do
    lines "$count" "of-$count" >"$work/sent"
    produce "$1" <"$work/sent" || because "cannot produce $count" || return
    consume "$1" "$first" "$count" >"$work/got" || because "cannot read $count" || return
    same "$work/sent" "$work/got" || return
    first=$((first + count))
  done
}

run_from_end() {
  lines 5 before | produce "$1" || because "cannot produce" || return
  consume "$1" -2 2 >"$work/got" || because "cannot read" || return
  lines 5 before | tail -2 >"$work/sent"
  same "$work/sent" "$work/got" || return
  # At the end there is nothing to read, so this ends at once without a record.
  consume "$1" end 1 -e >"$work/got" || because "cannot stand at the end" || return
  [ ! -s "$work/got" ] || because "read $(head -c 100 "$work/got") at the end"
}

run_from_offset() {
  local offset
  lines 100 offset | produce "$1" || because "cannot produce" || return
  for offset in 0 1 57 99; do
    consume "$1" "$offset" $((100 - offset)) >"$work/got" || because "cannot read from $offset" || return
    lines 100 offset | tail -n +$((offset + 1)) >"$work/sent"
    same "$work/sent" "$work/got" || return
  done
}

run_from_timestamp() {
  local between
  lines 5 early | produce "$1" || because "cannot produce" || return
  # kcat gives records the time of day, so a moment between two calls separates them.
  sleep 0.01
  between=$(date +%s%3N)
  sleep 0.01
  lines 5 late | produce "$1" || because "cannot produce" || return
  consume "$1" "s@$between" 5 >"$work/got" || because "cannot read" || return
  lines 5 late >"$work/sent"
  same "$work/sent" "$work/got"
}

run_long_poll() {
  local round sent got took="" in_time=0 reader
  lines 1 warm | produce "$1" || because "cannot produce" || return
  mkfifo "$work/records"
  timeout "$step" kcat -C -b "$bootstrap" -t "$1" -p 0 -o end -c 3 -q -u -X fetch.wait.max.ms=5000 -X fetch.min.bytes=1 \
    >"$work/records" 2>>"$work/errors" &
  reader=$!
  exec 8<"$work/records"
  # Long enough for the reader to connect.
  sleep 1
  for round in 1 2 3; do
    # Long enough for the fetch to be waiting at the broker, which nothing outside can see.
    sleep 0.5
    echo "tick-$round" | produce "$1" || because "cannot produce" || return
    # From the producer's end, since starting one takes longer than the answer that is measured.
    sent=$(date +%s%3N)
    read -r -t "$step" got <&8 || because "the record did not arrive" || return
    [ "$got" = "tick-$round" ] || because "read $got" || return
    got=$(($(date +%s%3N) - sent))
    took="$took $got"
    [ "$got" -gt 250 ] || in_time=$((in_time + 1))
  done
  exec 8<&-
  wait "$reader"
  # One round may meet a busy machine; a fetch that is not woken misses all of them.
  [ "$in_time" -ge 2 ] || because "a parked fetch was answered after$took ms"
}

# The reader stays over the restart (-E: a lost connection does not end it); kcat cannot stay as a producer, since it reads its input in large pieces.
run_reconnect() {
  local line reader
  lines 10 reconnect | produce "$1" || because "cannot produce before" || return
  timeout 60 kcat -C -b "$bootstrap" -t "$1" -p 0 -o beginning -c 20 -q -u -E -X fetch.wait.max.ms=500 \
    -X reconnect.backoff.max.ms=500 >"$work/got" 2>>"$work/errors" &
  reader=$!
  for _ in $(seq 100); do
    [ "$(wc -l <"$work/got")" = 10 ] && break
    sleep 0.1
  done
  [ "$(wc -l <"$work/got")" = 10 ] || because "cannot read before" || return
  echo READY-FOR-RESTART
  if ! read -r line; then
    kill "$reader"
    skip="nobody is there to restart the broker"
    return 0
  fi
  lines 20 reconnect | tail -10 | produce "$1" || because "cannot produce after the restart" || return
  wait "$reader" || because "cannot read after the restart" || return
  lines 20 reconnect >"$work/sent"
  same "$work/sent" "$work/got"
}

scenario() { # NAME TOPIC
  case $1 in
    acks-0) lines 20 a0 | round_trip "$2" -X acks=0 ;;
    acks-1) lines 20 a1 | round_trip "$2" -X acks=1 ;;
    acks-all) lines 20 all | round_trip "$2" -X acks=all ;;
    codec-*) run_codec "$2" "${1#codec-}" ;;
    headers) run_headers "$2" ;;
    null-key-value) run_nulls "$2" ;;
    record-1mb) run_big "$2" ;;
    idempotent) lines 1000 once | round_trip "$2" -X enable.idempotence=true ;;
    batches-1-to-10000) run_batches "$2" ;;
    read-from-start) lines 50 start | round_trip "$2" ;;
    read-from-end) run_from_end "$2" ;;
    read-from-offset) run_from_offset "$2" ;;
    read-from-timestamp) run_from_timestamp "$2" ;;
    long-poll-latency) run_long_poll "$2" ;;
    reconnect) run_reconnect "$2" ;;
    group-848-*) skip="its librdkafka is older than the consumer protocol (KIP-848)" ;;
    group-seek-time) skip="kcat does not seek in a group" ;;
    group-leave) run_group_gone "$2" TERM ;;
    group-killed) run_group_gone "$2" KILL ;;
    group-commit-async) skip="kcat commits on its way out only" ;;
    group-*) "run_${1//-/_}" "$2" ;;
    *) skip="kcat has no administration" ;;
  esac
}

echo "CLIENT kcat $(kcat -V | sed -nE 's/^Version ([0-9.]+).*librdkafka ([0-9.]+).*/\1 (librdkafka \2)/p')"
for name in $all; do
  [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || continue
  why= skip=
  : >"$work/errors"
  if scenario "$name" "compat-kcat-$name-$$-$RANDOM"; then
    if [ -n "$skip" ]; then echo "SKIP $name: $skip"; else echo "PASS $name"; fi
  else
    failed=1
    echo "FAIL $name: $why $(tail -3 "$work/errors" | tr '\n' ' ' | head -c 300)"
  fi
  end_members
done
exit "$failed"
