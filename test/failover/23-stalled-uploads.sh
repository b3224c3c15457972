#!/usr/bin/env bash
# Row 23: 200 uploads to each peer that begin and then stand still, each peer in 256 MiB of memory. They are held back,
# nobody runs out of memory, and everybody else is served, large files too.
. "$(dirname "$0")/lib.sh"
limit_mb=256
groups=/sys/fs/cgroup/memory
is_limited=
if mkdir "$groups/dfs$$" 2>/dev/null; then
  is_limited=1
  remove_groups() { rmdir "$groups/dfs$$"/peer* "$groups/dfs$$"; }
  after_cleanup+=(remove_groups)
  for name in peer1 peer2 peer3; do
    mkdir "$groups/dfs$$/$name"
    echo $((limit_mb << 20)) >"$groups/dfs$$/$name/memory.limit_in_bytes"
    printf '#!/bin/sh\necho $$ >%s/cgroup.procs\nexec "$@"\n' "$groups/dfs$$/$name" >"$work/limited-$name"
    chmod +x "$work/limited-$name"
    launcher_of[$name]=$work/limited-$name
  done
fi
start_cluster 3
make_large_file
start_workload
watch_pings 200
start_odd_clients stalled 200 $peers
pass_large_files
stop_odd_clients
stop_pings
note="RssAnon"
for name in $peers; do
  anonymous=$(awk '/^RssAnon/ {print int($2 / 1000)}' "/proc/${pid_of[$name]}/status")
  [[ $anonymous -lt $limit_mb ]] || complain "$name holds $anonymous MB"
  note+=" $name $anonymous MB,"
  [[ -z $is_limited ]] || ! grep -q 'oom_kill [1-9]' "$groups/dfs$$/$name/memory.oom_control" || complain "$name was killed"
done
[[ -n $is_limited ]] || note+=' no cgroup here: only measured,'
judge_pings 200
wait_whole
finish --no-failures --note "$note $late % of pings over 200 ms; $(tail -n 1 "$work/odd-stalled.log")"
