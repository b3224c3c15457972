#!/usr/bin/env bash
# Row 6: SIGSTOP the primary for 5 s, then SIGCONT. Clients that stay connected to it read nothing stale.
. "$(dirname "$0")/lib.sh"
use_namespaces
start_cluster 3
victim=$(primary_of failover/0)
start_workload --victim "$(id_of "$victim")"
sleep 3
freeze "$victim"
sleep 5
thaw "$victim"
sleep 3
wait_whole
finish --write-pause-max 1500 --read-pause-max 1500
