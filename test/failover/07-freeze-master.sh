#!/usr/bin/env bash
# Row 7: SIGSTOP the master for 10 s. Nobody waits over 0.2 s, then or when it goes on.
. "$(dirname "$0")/lib.sh"
start_cluster 3
start_workload
sleep 2
freeze master
sleep 10
thaw master
sleep 3
wait_whole
finish --write-pause-max 200 --read-pause-max 200 --no-failures
