#!/usr/bin/env bash
# Row 17: one fsync fails on the primary. It does not acknowledge that write, ends with code 70, and returns by resync.
. "$(dirname "$0")/lib.sh"
command -v strace >/dev/null || skip 'there is no strace (Debian package strace)'
start_cluster 3
victim=$(primary_of failover/0)
start_workload --victim "$(id_of "$victim")"
sleep 2
pid=${pid_of[$victim]}
unset "pid_of[$victim]"
strace -f -qq -p "$pid" -e trace=fdatasync,fsync -e inject=fdatasync,fsync:error=EIO:when=3 -o "$work/strace.txt" &
pid_of[tracer]=$!
status=0
for _ in $(seq 500); do
  is_alive "$pid" || break
  sleep 0.02
done
if is_alive "$pid"; then
  complain "$victim lives on after a failed fsync"
  kill -KILL "$pid"
fi
wait "$pid" || status=$?
[[ $status -eq 70 ]] || complain "$victim ended with $status instead of 70"
grep -q EIO "$work/strace.txt" || complain 'No fsync failed'
wait "${pid_of[tracer]}" 2>/dev/null || true
unset 'pid_of[tracer]'
sleep 2
start "$victim"
wait_whole
finish
