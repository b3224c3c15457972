#!/usr/bin/env bash
# Row 22: two copies, then three, then two again, under load. No request fails, and receipts tell the truth throughout.
. "$(dirname "$0")/lib.sh"
start_cluster 4
for index in $(seq 20); do head -c 1000000 /dev/urandom | dfs send --quiet - --as "kept/$index"; done
start_workload
for copies in 3 2; do
  sleep 2
  dfs --deadline 120 set replicas "$copies" --yes --wait --quiet || complain "$copies copies were not reached"
  told=$(dfs send "$0" --as "told/$copies" --json | field '.copies' | tr -d ' \n')
  [[ $told == *"durable:$copies,wanted:$copies"* ]] || complain "a receipt says $told with $copies copies"
done
wait_whole
finish --no-failures
