#!/usr/bin/env bash
# Row 16: the backup's disk is full, then the primary's. Puts are refused with `no-space`, reads and deletes work, and
# all is as before once there is room again.
. "$(dirname "$0")/lib.sh"
reserve=$((24 << 20))
for index in 1 2 3; do small_disk "peer$index" 160m; done
start_cluster 3 --reserve $reserve --replaced-grace 1
head -c 100000 /dev/urandom >"$work/body"
name=full/0
dfs send --quiet --as "$name" "$work/body"

# put NAME: the outcome of one put, "stored" or the code it is refused with; fails unless the exit code fits.
put() {
  local status=0 code
  dfs --json send --as "$1" "$work/body" >"$work/put.json" 2>/dev/null || status=$?
  code=$(head -n 1 "$work/put.json" | field '.error?.code ?? "stored"')
  case $code:$status in stored:0 | no-space:1) echo "$code" ;; *) echo "$code with exit code $status" ;; esac
}

# until_put NAME OUTCOME: puts until that is the outcome, at most 5 s.
until_put() {
  local outcome=
  for _ in $(seq 25); do
    outcome=$(put "$1")
    [[ $outcome != "$2" ]] || return 0
    sleep 0.2
  done
  complain "$3: a put ends with $outcome instead of $2"
}

# round ROLE: the disk of the name's primary or backup is full for a while.
round() {
  local role=$1 victim doomed
  victim=$("${role}_of" "$name")
  # Another name that the victim has in the same role.
  doomed=$(for index in $(seq 60); do
    [[ $("${role}_of" "full/$role/$index") != "$victim" ]] || { echo "full/$role/$index" && break; }
  done)
  dfs send --quiet --as "$doomed" "$work/body"
  fill_disk "$victim" $((reserve / 2))
  until_put "$name" no-space "$role full"
  for _ in 1 2 3; do [[ $(put "$name") == no-space ]] || complain "$role full: a put was not refused"; done
  dfs receive --quiet "$name" -o - | cmp - "$work/body" || complain "$role full: the file is not read"
  dfs rm --quiet "$doomed" || complain "$role full: a file is not deleted"
  dfs stat "$doomed" >/dev/null 2>&1 && complain "$role full: a deleted file is there"
  sleep 2
  free_disk "$victim"
  until_put "$name" stored "$role freed"
  wait_whole
}

start_workload --sizes 70000 --rate 5
for role in backup primary; do round $role; done
sleep 1
wait_whole
finish --note "no-space while the disk of the backup, then of the primary was full"
