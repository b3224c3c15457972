#!/usr/bin/env bash
# Row 2: kill -9 the backup of a hot slot. Writers wait at most 0.3 s, and no receipt counts one copy before the smaller
# set is committed (the checker compares receipts by slot epoch). All names are in slots whose primary lives: a worker
# that waits for a slot the killed peer led would be missing on the names that are measured (row 1 measures that wait).
. "$(dirname "$0")/lib.sh"
start_cluster 3
primary=$(primary_of failover/0)
victim=$(backup_of failover/0)
start_workload --victim "$(id_of "$primary")" --only-victim
sleep 3
kill9 "$victim"
sleep 4
start "$victim"
wait_whole
finish --write-pause-max 300 --read-pause-max 300
