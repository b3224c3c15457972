#!/usr/bin/env bash
# kill -9 at 10, 50 and 90 % of a send and a receive of 1 GiB, of the record's primary and of a segment's primary: the
# same command finishes with the right bytes and exit code 0.
. "$(dirname "$0")/lib.sh"
start_cluster 3
size=${DFS_TRANSFER_BYTES:-1073741824}
head -c "$size" /dev/urandom >"$work/big"
dfs send --quiet --as kept "$work/big"

# wait_bytes FOLDER… BYTES: until so much stands in the folders.
wait_bytes() {
  local wanted=${*: -1}
  for _ in $(seq 6000); do
    [[ $(du -scb "${@:1:$#-1}" | tail -n 1 | awk '{print $1}') -lt $wanted ]] || return 0
    is_alive "${pid_of[transfer]}" || return 0
    sleep 0.02
  done
}

# transfer COMMAND…: a dfs command in the background.
transfer() {
  run_at client "$checkout/bin/dfs" --cache "$work/cache" --quiet "$@" >"$work/transfer.txt" 2>&1 &
  pid_of[transfer]=$!
}

# attack TITLE VICTIM: kills the victim, waits for the transfer's end, and brings the victim back.
attack() {
  local title=$1 victim=$2 status=0 pid=${pid_of[transfer]}
  is_alive "$pid" || complain "$title: the transfer was over before the kill"
  kill9 "$victim"
  unset 'pid_of[transfer]'
  wait "$pid" || status=$?
  [[ $status -eq 0 ]] ||
    complain "$title: the command ended with $status: $(tail -n 2 "$work/transfer.txt" | cut -c1-300)"
  start "$victim"
  wait_whole
}

# The daemon that serves the file's name, or the one of another serving segment 1.
victim_for() {
  local role=$1 name=$2 primary
  primary=$(primary_of "$name")
  if [[ $role == record ]]; then echo "$primary" && return; fi
  printf '%s\n' $peers | grep -vx "$primary" | head -n 1
}

for percent in 10 50 90; do
  for role in record segment; do
    name=sent/$percent/$role
    before=$(du -scb "$work"/peer* | tail -n 1 | awk '{print $1}')
    victim=$(victim_for "$role" "$name")
    transfer send --as "$name" "$work/big"
    wait_bytes "$work"/peer* $((before + size / 100 * 2 * percent))
    attack "send $percent % $role" "$victim"
    dfs receive --quiet "$name" -o - | cmp - "$work/big" || complain "send $percent % $role: the bytes differ"
    dfs rm --quiet "$name"

    rm -rf "$work/target" && mkdir "$work/target"
    victim=$(victim_for "$role" kept)
    transfer receive kept -o "$work/target/back"
    wait_bytes "$work/target" $((size / 100 * percent))
    attack "receive $percent % $role" "$victim"
    cmp "$work/target/back" "$work/big" || complain "receive $percent % $role: the bytes differ"
  done
done
finish --note "twelve transfers of $((size >> 20)) MiB, each finished by itself"
