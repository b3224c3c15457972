#!/usr/bin/env bash
# Row 8: kill -9 the master and start it again. No pause, no lower epoch, no needless failover.
. "$(dirname "$0")/lib.sh"
start_cluster 3
before=$(epoch)
primaries() { dfs peers --json | node -p "require('fs').readFileSync(0, 'utf8').trim().split('\n')
  .map((line) => JSON.parse(line)).map(({ id, primarySlots }) => id + ':' + primarySlots).sort().join(' ')"; }
shares=$(primaries)
start_workload
sleep 2
kill9 master
sleep 3
start master
sleep 4
wait_whole
[[ $(epoch) -ge $before ]] || complain "The epoch fell from $before to $(epoch)"
[[ $(primaries) == "$shares" ]] || complain "Primaries moved from $shares to $(primaries)"
finish --write-pause-max 200 --read-pause-max 200 --no-failures
