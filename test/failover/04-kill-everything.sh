#!/usr/bin/env bash
# Row 4: kill -9 every daemon at once, start them in random order. The cluster serves within 5 s of the last start.
. "$(dirname "$0")/lib.sh"
start_cluster 3
start_workload --timeout 5
sleep 3
for name in $peers master; do kill -KILL "${pid_of[$name]}"; done
for name in $peers master; do kill9 "$name" 2>/dev/null || true; done
sleep 1
for name in $(printf '%s\n' $peers master | shuf); do launch "$name"; done
began=$(now_ms)
dfs --timeout 20 status --wait available >/dev/null || complain 'Not available within 20 s'
took=$(($(now_ms) - began))
[[ $took -le 5000 ]] || complain "Served only after $took ms"
sleep 3
wait_whole
finish --note "served after $took ms"
