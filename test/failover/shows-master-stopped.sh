#!/usr/bin/env bash
# The master is gone: a fresh dfs process sends and receives by the map it remembers, and nothing pauses over 0.2 s.
. "$(dirname "$0")/lib.sh"
start_cluster 3
dfs send --quiet --as before "$0"
start_workload
sleep 2
kill9 master
sleep 1
for index in 1 2 3; do
  dfs send --quiet --as "while/$index" "$0" || complain 'A file was not stored without the master'
  dfs receive --quiet "while/$index" -o - | cmp - "$0" || complain 'A file was not fetched without the master'
done
dfs receive --quiet before -o - | cmp - "$0" || complain 'An older file was not fetched without the master'
sleep 2
stop_workload
start master
wait_whole
finish --write-pause-max 200 --read-pause-max 200 --no-failures
