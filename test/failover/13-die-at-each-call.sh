#!/usr/bin/env bash
# Row 13: the primary dies at each system call of one put and one delete that changes a file or sends something, from
# the arrival of the request to its acknowledgement. The name is whole old or whole new all the time, and the client's
# retry by the same request id makes one version. Every third point; all of them with DFS_FULL=1.
. "$(dirname "$0")/lib.sh"
command -v strace >/dev/null || skip 'there is no strace (Debian package strace)'
# One thread for all files: strace counts the calls of each thread by itself.
launcher_of[peer1]='env UV_THREADPOOL_SIZE=1 node --single-threaded-gc'
launcher_of[peer2]=${launcher_of[peer1]}
master_flags='--slots 16'
start_cluster 2
calls=openat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,fallocate,fsync,fdatasync,sync_file_range,rename,renameat2,unlink,unlinkat,mkdir,close
histories+=("$work/changes.jsonl")
coproc changer { node "$programs/one-change.js" --master "$DFS_MASTER" --out "$work/changes.jsonl" 2>"$work/changer.log"; }
pid_of[changer]=$changer_PID
ask() {
  local reply
  echo "$1" >&"${changer[1]}"
  read -r -t 60 reply <&"${changer[0]}" || reply='no answer'
  echo "$reply"
}

# trace PID FLAGS…: strace on the process, from when it has attached.
trace() {
  local pid=$1
  shift
  strace -f -p "$pid" -o "$work/strace.txt" "$@" 2>"$work/tracer.log" &
  pid_of[tracer]=$!
  for _ in $(seq 500); do
    grep -q attached "$work/tracer.log" && return
    sleep 0.01
  done
  complain "strace did not attach: $(head -n 1 "$work/tracer.log")"
}

# count_calls KIND: what one change takes, as lines "CALL COUNT", the most that one thread makes.
count_calls() {
  local victim
  victim=$(peer_at "$(ask primary)")
  trace "${pid_of[$victim]}" -e "trace=$calls"
  [[ $(ask "$1") == done ]] || complain "The $1 under strace failed"
  end_with INT tracer
  awk '$2 ~ /^[a-z0-9_]+\(/ {split($2, parts, "("); count[$1 " " parts[1]]++}
    END {for (key in count) {split(key, parts, " "); if (count[key] > most[parts[2]]) most[parts[2]] = count[key]}
         for (call in most) print call, most[call]}' "$work/strace.txt" | sort
}

# die_at KIND CALL NUMBER: one change, in which the primary is killed at that call.
die_at() {
  local victim pid told
  victim=$(peer_at "$(ask primary)")
  pid=${pid_of[$victim]}
  trace "$pid" -e "trace=$2" -e "inject=$2:signal=KILL:when=$3"
  told=$(ask "$1")
  [[ $told == done ]] || complain "$1, killed at $2 $3: $told"
  points=$((points + 1))
  {
    for _ in $(seq 10); do
      is_alive "$pid" || break
      sleep 0.02
    done
  } 2>/dev/null # without the shell's own notice
  if is_alive "$pid"; then
    unreached=$((unreached + 1))
    end_with INT tracer
    return
  fi
  unset "pid_of[$victim]"
  { wait "$pid" "${pid_of[tracer]}" || true; } 2>/dev/null
  unset 'pid_of[tracer]'
  start "$victim"
  told=$(ask whole)
  [[ $told == done ]] || complain "$1, killed at $2 $3: $told"
}

points=0 unreached=0 all=0
step=$([[ -n ${DFS_FULL:-} ]] && echo 1 || echo 3)
[[ $(ask put) == done ]] || complain 'The first put failed'
for kind in put delete; do
  [[ $kind == put ]] || [[ $(ask put) == done ]] || complain 'The put before the deletes failed'
  count_calls "$kind" >"$work/calls-$kind"
  while read -r call count; do
    for number in $(seq "$count"); do
      all=$((all + 1))
      [[ $((all % step)) -eq 0 ]] || continue
      # What is deleted must be there.
      [[ $kind == put || $(ask put) == done ]] || complain 'The put before a delete failed'
      die_at "$kind" "$call" "$number"
    done
  done <"$work/calls-$kind"
done
exec {changer[1]}>&-
{ wait "${pid_of[changer]}" || complain "The client failed: $(tail -n 3 "$work/changer.log")"; } 2>/dev/null
unset 'pid_of[changer]'
wait_whole
finish --note "$((points - unreached)) of $all calls died at, $unreached more not reached"
