#!/usr/bin/env bash
# Row 14: eight writers on one name with readers, bodies of 4 MB. Readers see only whole bodies.
. "$(dirname "$0")/lib.sh"
start_cluster 3
start_workload --names 1 --sizes 4000000 --rate 10
sleep 12
stop_workload
start_workload --names 1 --sizes 5000000 --rate 10
sleep 8
wait_whole
finish
