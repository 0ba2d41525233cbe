# The scenarios of groups with kcat: read by scenarios.sh, whose functions it uses.
#
# A topic of kcat has one partition, so members share four topics. A member is a kcat of its own, and what it holds is
# read from what it says about each rebalance.

session=3000

# Starts a member in the background; its records go to $work/NAME.out, its words to $work/NAME.err, its pid to member_NAME.
member() { # NAME GROUP [kcat options and topics]
  local name=$1 group=$2
  shift 2
  : >"$work/$name.out"
  : >"$work/$name.err"
  kcat -G "$group" -b "$bootstrap" -X auto.offset.reset=earliest -X session.timeout.ms=$session -X heartbeat.interval.ms=300 \
    -X fetch.wait.max.ms=200 -X topic.metadata.refresh.interval.ms=500 -X reconnect.backoff.max.ms=500 \
    -u -E -f '%t %o %s\n' "$@" >"$work/$name.out" 2>"$work/$name.err" &
  printf -v "member_$name" %s $!
  members="$members $!"
}

# Ends a member and waits until it has gone.
end() { # NAME SIGNAL
  local pid=member_$1
  kill "-$2" "${!pid}" 2>/dev/null
  wait "${!pid}" 2>/dev/null
}

# The topics that a member holds, one a line.
held() { # NAME
  awk '/^% Group .* rebalanced/ {
    gives = /: assigned|incremental assignment/
    if (/: assigned: |: revoked: /) { sub(/.*: (assigned|revoked): /, "") } else { sub(/.*protocol\): /, "") }
    count = split($0, places, ", ")
    for (i = 1; i <= count; i++) if (places[i] != "") { if (gives) holds[places[i]] = 1; else delete holds[places[i]] }
  }
  END { for (place in holds) { sub(/ \[.*/, "", place); print place } }' "$work/$1.err" | sort
}

count_held() { # NAME
  held "$1" | wc -l
}

received() { # NAME
  wc -l <"$work/$1.out"
}

# Waits until a command prints what is wanted.
await() { # WHAT WANTED COMMAND...
  local what=$1 wanted=$2 got=""
  shift 2
  for _ in $(seq 150); do
    got=$("$@")
    [ "$got" = "$wanted" ] && return
    sleep 0.1
  done
  because "$what: $got instead of $wanted"
}

shared() { # NAME NAME
  await "topics of member $1" 2 count_held "$1" && await "topics of member $2" 2 count_held "$2" || return
  [ -z "$(comm -12 <(held "$1") <(held "$2"))" ] || because "two members hold the same topic"
}

fill() { # PREFIX TOPIC...
  local prefix=$1 topic
  shift
  for topic; do
    lines 10 "$prefix" | produce "$topic" || because "cannot produce" || return
  done
}

# A member receives the ten records of each topic it holds, once, and nothing else.
receives() { # NAME PREFIX
  local topic
  await "records of member $1" $((10 * $(count_held "$1"))) received "$1" || return
  for topic in $(held "$1"); do
    lines 10 "$2" >"$work/sent"
    sed -n "s/^$topic [0-9]* //p" "$work/$1.out" >"$work/got"
    same "$work/sent" "$work/got" || return
  done
}

# Names the topics of a scenario, and makes them.
four() { # TOPIC
  topics="$1-a $1-b $1-c $1-d"
  local topic
  for topic in $topics; do
    timeout "$step" kcat -L -b "$bootstrap" -t "$topic" >>"$work/errors" 2>&1
  done
  roundrobin="-X partition.assignment.strategy=roundrobin"
}

run_group_read() {
  four "$1"
  fill read $topics || return
  member one "$1" $topics
  await "topics held" 4 count_held one && receives one read
}

run_group_share() {
  four "$1"
  member one "$1" $roundrobin $topics
  member other "$1" $roundrobin $topics
  shared one other && fill shared $topics && receives one shared && receives other shared
}

# One member goes by this signal, and the other takes over.
run_group_gone() { # TOPIC SIGNAL
  four "$1"
  member stays "$1" $roundrobin $topics
  member goes "$1" $roundrobin $topics
  shared stays goes || return
  end goes "$2"
  await "topics taken over" 4 count_held stays && fill over $topics && receives stays over
}

run_group_static() {
  four "$1"
  member stays "$1" $roundrobin -X group.instance.id=one $topics
  member goes "$1" $roundrobin -X group.instance.id=two $topics
  shared stays goes || return
  local had rebalances
  had=$(held goes)
  rebalances=$(grep -c rebalanced "$work/stays.err")
  end goes TERM
  member back "$1" $roundrobin -X group.instance.id=two $topics
  await "topics after coming back" "$had" held back || return
  fill back $topics && receives stays back && receives back back || return
  [ "$(grep -c rebalanced "$work/stays.err")" = "$rebalances" ] || because "the other member was rebalanced"
}

# kcat commits on its way out.
run_group_commit_sync() {
  lines 10 first | produce "$1" || because "cannot produce" || return
  member one "$1" "$1"
  await "records" 10 received one || return
  end one TERM
  lines 10 second | produce "$1" || because "cannot produce" || return
  member resumes "$1" "$1"
  await "records after resuming" 10 received resumes || return
  lines 10 second >"$work/sent"
  cut -d' ' -f3 "$work/resumes.out" >"$work/got"
  same "$work/sent" "$work/got"
}

run_group_regex() {
  fill early "$1-early" && fill other "other-$1" || return
  member one "$1" "^$1-.*"
  await "records" 10 received one || return
  fill late "$1-late" || return
  await "records with the late topic" 20 received one || return
  ! grep -q "^other" "$work/one.out" || because "read a topic that does not match"
}

run_group_restart() {
  local line
  lines 10 before | produce "$1" || because "cannot produce" || return
  member one "$1" "$1"
  await "records" 10 received one || return
  echo READY-FOR-RESTART
  if ! read -r line; then
    skip="nobody is there to restart the broker"
    return 0
  fi
  lines 10 after | produce "$1" || because "cannot produce after the restart" || return
  await "records after the restart" 20 received one || return
  end one TERM
  lines 1 resumed | produce "$1" || because "cannot produce" || return
  member resumes "$1" "$1"
  await "records after resuming" 1 received resumes
}

run_group_cooperative() {
  four "$1"
  local cooperative="-X partition.assignment.strategy=cooperative-sticky"
  member first "$1" $cooperative $topics
  await "topics at first" 4 count_held first || return
  member second "$1" $cooperative $topics
  shared first second || return
  [ "$(grep -c 'incremental revoke of [1-9]' "$work/first.err")" = 1 ] || because "more was taken than was given" || return
  fill shared $topics && receives first shared && receives second shared || return
  end second TERM
  await "topics taken over" 4 count_held first
}

# Ends what a scenario started, however it ended.
end_members() {
  local pid
  for pid in $members; do
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  members=
}
