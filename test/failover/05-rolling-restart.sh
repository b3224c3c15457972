#!/usr/bin/env bash
# Row 5: stop each peer with SIGTERM and start it again. No request fails, and nobody waits over 0.3 s.
. "$(dirname "$0")/lib.sh"
start_cluster 3
start_workload
sleep 2
for name in $peers; do
  stop "$name"
  sleep 1
  start "$name"
  wait_whole
  sleep 1
done
finish --write-pause-max 300 --read-pause-max 300 --no-failures
