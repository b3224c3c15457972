#!/usr/bin/env bash
# Row 21: a peer is drained and removed under load. No request fails, and nothing is left on it.
. "$(dirname "$0")/lib.sh"
start_cluster 4 --replaced-grace 1
# A surplus copy is kept for a day unless told otherwise, and its bytes for ten minutes more.
stop master
flags_of[master]="${flags_of[master]} --quarantine 1"
start master
wait_healthy 30 || complain 'not healthy after the restart of the master'
for index in $(seq 20); do head -c 2000000 /dev/urandom | dfs send --quiet - --as "kept/$index"; done
start_workload
sleep 2
leaver=$(primary_of failover/0)
id=$(id_of "$leaver")
dfs peer remove "$id" --yes 2>"$work/early.txt" && complain 'a peer that holds copies was removed'
grep -q 'dfs peer drain' "$work/early.txt" || complain "no advice what to do first: $(cat "$work/early.txt")"
dfs peer drain "$id" --dry-run --json >"$work/dry.json"
dfs --deadline 120 peer drain "$id" --wait --json >"$work/drain.json" || complain 'draining did not end'
dfs peer remove "$id" --yes --quiet || complain 'a drained peer was not removed'
sleep 5
left=$(find "$work/$leaver/bytes" -type f 2>/dev/null | wc -l)
[[ $left -eq 0 ]] || complain "$left files are left on the removed peer"
stop "$leaver"
peers=$(for name in $peers; do [[ $name == "$leaver" ]] || echo "$name"; done)
wait_whole
for index in $(seq 20); do dfs receive --quiet "kept/$index" -o - >/dev/null || complain "kept/$index is gone"; done
finish --no-failures
