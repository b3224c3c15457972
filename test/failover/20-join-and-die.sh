#!/usr/bin/env bash
# Row 20: a sixth peer joins under load; it is killed in mid-move, then the peer that gives most of what it takes. Every
# slot is moved or not, never half, and never has fewer good copies than before.
. "$(dirname "$0")/lib.sh"
start_cluster 5
for index in $(seq 40); do head -c 2000000 /dev/urandom | dfs send --quiet - --as "kept/$index"; done
dfs set repair-speed 20M --quiet
start_workload
place peer6 7
commands[peer6]=dfs-peer
flags_of[peer6]="--master $DFS_MASTER --zone zone6"
start peer6
peers="$peers peer6"
sleep 2
kill9 peer6
sleep 3
start peer6
sleep 2
donor=$(primary_of failover/0)
kill9 "$donor"
sleep 2
start "$donor"
dfs set repair-speed 0 --quiet
wait_whole
wait_settled
dfs verify --all >"$work/verify.txt" || complain "verify: $(tail -n 3 "$work/verify.txt")"
finish
