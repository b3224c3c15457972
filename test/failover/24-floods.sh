#!/usr/bin/env bash
# Row 24: to each peer and the master 500 idle connections, connections that flood it with requests, and uploads of one
# byte a second that hold all the memory they can get. Pings are answered within 200 ms, nobody is taken for dead, and
# everybody else is served, large files too.
. "$(dirname "$0")/lib.sh"
ulimit -n 8192
start_cluster 3
make_large_file
last=$(dfs events --json | tail -n 1 | field .seq)
start_workload --rate 10
watch_pings 200
start_odd_clients idle 500 master $peers
start_odd_clients slow 20 $peers
start_odd_clients flood 2 master $peers
pass_large_files
stop_odd_clients
stop_pings
deaths=$(dfs events --after "$last" --json | grep -cE '"kind":"(peer-down|promoted)"' || true)
[[ $deaths -eq 0 ]] || complain "$deaths deaths and promotions"
judge_pings 200
wait_whole
finish --no-failures --note "$late % of pings over 200 ms; $(tail -qn 1 "$work"/odd-*.log | tr '\n' ';')"
