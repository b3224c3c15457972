#!/usr/bin/env bash
# Row 15: delete files while their backup is down; it returns, then the primary dies. Nothing comes back.
. "$(dirname "$0")/lib.sh"
start_cluster 3
for index in $(seq 20); do dfs send --quiet --as "doomed/$index" "$0"; done
primary=$(primary_of doomed/1)
backup=$(backup_of doomed/1)
start_workload --victim "$(id_of "$primary")"
sleep 1
kill9 "$backup"
sleep 2
for index in $(seq 20); do dfs rm --quiet "doomed/$index" || complain "doomed/$index was not deleted"; done
start "$backup"
wait_whole
kill9 "$primary"
sleep 2
left=$(dfs ls doomed/ | wc -l)
[[ $left -eq 0 ]] || complain "$left deleted files are listed again"
status=0
dfs receive doomed/1 -o "$work/back" 2>/dev/null || status=$?
[[ $status -eq 3 ]] || complain "Receiving a deleted file ended with $status instead of 3"
start "$primary"
wait_whole
left=$(dfs ls doomed/ | wc -l)
[[ $left -eq 0 ]] || complain "$left deleted files are listed after the primary came back"
finish
