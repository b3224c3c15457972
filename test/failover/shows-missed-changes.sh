#!/usr/bin/env bash
# A peer that missed 100 changes among 100,000 files is in sync within 2 s of its return, and what it exchanges with
# everybody meanwhile is under 1 % of the data. DFS_FILES: another number of files.
. "$(dirname "$0")/lib.sh"
use_namespaces
files=${DFS_FILES:-100000}
bytes=4096
start_cluster 3
# In a bucket of their own: the look at every copy at the end would take longer than everything before.
fill() {
  run_at client node "$programs/fill.js" --master "$DFS_MASTER" --cache "$work/cache-fill" --count "$files" \
    --bytes "$bytes" "$@"
}
began=$(now_ms)
(fill) || complain 'The files were not stored'
echo "     $files files stored in $(($(now_ms) - began)) ms" >&2
wait_whole

# On purpose, so that nobody begins to copy what it held before the repair's grace is over.
stop peer2
(fill --tag second --every $((files / 100))) || complain 'The changes were not made'
exchanged() {
  ip netns exec "$netns-peer2" cat /sys/class/net/eth0/statistics/{rx,tx}_bytes | awk '{sum += $1} END {print sum}'
}
before=$(exchanged)
start peer2
wait_whole
after=$(exchanged)
(fill --tag second --every $((files / 100)) --look) || complain 'What changed is not as it was written'

took=$(in_sync_ms peer2)
[[ -n $took && $took -le 2000 ]] || complain "In sync only after ${took:-?} ms"
share=$(awk -v moved=$((after - before)) -v data=$((files * bytes)) 'BEGIN {printf "%.2f", 100 * moved / data}')
awk -v share="$share" 'BEGIN {exit !(share < 1)}' || complain "$share % of the data were exchanged"
finish --note "in sync after ${took:-?} ms; $((after - before)) bytes exchanged, $share % of the data"
