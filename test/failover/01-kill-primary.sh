#!/usr/bin/env bash
# Row 1: kill -9 the primary of a hot slot. Nobody waits over half a second.
. "$(dirname "$0")/lib.sh"
use_namespaces
start_cluster 3
victim=$(primary_of failover/0)
start_workload --victim "$(id_of "$victim")"
sleep 3
kill9 "$victim"
sleep 4
start "$victim"
wait_whole
finish --write-pause-max 500 --read-pause-max 500
