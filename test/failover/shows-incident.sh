#!/usr/bin/env bash
# What `dfs incident last` tells of a peer killed for good is the truth within 100 ms: noticed, promoted, repaired, bytes
# copied. Then again with the master killed in the midst: the tale is unbroken.
. "$(dirname "$0")/lib.sh"
start_cluster 4
stop master
flags_of[master]="${flags_of[master]} --repair-grace 2"
start master
wait_healthy 30 || complain 'not healthy after the restart of the master'
for index in $(seq 30); do head -c 1000000 /dev/urandom | dfs send --quiet - --as "kept/$index"; done
note=

# tell ROUND SINCE: judges the last incident by what this script saw; SINCE is when the victim was killed.
tell() {
  local watched=$work/watched.$1
  dfs incident last --json >"$work/incident.$1"
  dfs events --json >"$work/events.$1"
  node "$programs/judge-incident.js" --incident "$work/incident.$1" --events "$work/events.$1" \
    --watched "$watched" --killed-at "$2" --victim "$3" >"$work/told.$1" ||
    complain "$(head -n 5 "$work/told.$1" | tr '\n' ';')"
  note+="$1: $(tail -n 1 "$work/told.$1"); "
}

# Watches the cluster as a stranger would, by its status, until it is ended.
watch_cluster() {
  node "$programs/status-watch.js" --master "$DFS_MASTER" >"$work/watched.$1" &
  pid_of[watcher]=$!
  sleep 1
}

# Another one each time: what was copied for the first is kept by the others for a while.
for round in plain master-killed; do
  victim=$([[ $round == plain ]] && echo peer2 || echo peer3)
  id=$(id_of "$victim")
  watch_cluster "$round"
  killed_at=$(now_ms)
  kill9 "$victim"
  if [[ $round == master-killed ]]; then
    sleep 1
    kill9 master
    sleep 1
    start master
  fi
  sleep 3
  wait_whole
  for _ in $(seq 60); do
    [[ $(dfs status --json | field .moves.slotsLeft) != 0 ]] || break
    sleep 0.5
  done
  sleep 1
  end_with TERM watcher
  tell "$round" "$killed_at" "$id"
  start "$victim"
  wait_whole
  wait_settled
done
finish --note "$note"
