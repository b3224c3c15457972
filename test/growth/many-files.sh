#!/usr/bin/env bash
# How a cluster of two peers does with ever more files in each of them: puts, gets and a listing by `dfs bench`, how long
# a peer takes to start, and until one that missed 100 changes is in sync. One line a number of files.
#   DFS_FILES='10000 100000 1000000' test/growth/many-files.sh     TMPDIR=/dev/shm: in memory
. "$(dirname "$0")/../failover/lib.sh"
"$checkout/node_modules/.bin/tsc" -p "$checkout/test/failover/tsconfig.json"
start_cluster 2
fill() {
  node "$programs/fill.js" --master "$DFS_MASTER" --cache "$work/cache-fill" --bytes 100 "$@"
}

# The median of a row of `dfs bench`, a second.
rate() { # WORK
  node -p "Math.round(require('fs').readFileSync('$work/bench', 'utf8').trim().split('\n').map(JSON.parse)
    .find(({ work }) => work === '$1').perSecond.median)"
}

# By the master's log: from the moment it heard of the new process until the cluster was healthy again.
in_sync_ms() {
  dfs events --json | node -e "
    const lines = require('fs').readFileSync(0, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
    const returned = lines.findLast(({ kind, peer }) => kind === 'peer-started' && peer === '$(id_of peer2)');
    const later = lines.filter(({ seq, kind }) => seq > returned.seq && kind === 'health');
    console.log(new Date(later.find(({ data }) => data.health === 'healthy').at) - new Date(returned.at));"
}

stored=0
for files in ${DFS_FILES:-10000 100000 1000000}; do
  began=$(now_ms)
  fill --from "$stored" --count "$files"
  filled=$(((files - stored) * 1000 / ($(now_ms) - began)))
  stored=$files
  dfs bench --sizes 4K --in-flight 64 --files 2000 --large 0 --runs 3 --json >"$work/bench"
  stop peer2
  fill --tag second --count "$files" --every $((files / 100))
  began=$(now_ms)
  start peer2
  started=$(($(now_ms) - began))
  wait_whole
  memory=$(awk '/^RssAnon/ {printf "%.0f", $2 / 1000}' "/proc/${pid_of[peer1]}/status")
  size=$(du -m "$work/peer1" | tail -n 1 | cut -f 1)
  echo "$files files: stored at $filled/s; beside them put $(rate put)/s, get $(rate get)/s of 4 KiB, list $(rate list)/s;" \
    "start $started ms, in sync after $(in_sync_ms) ms; a peer takes $memory MB, its folder $size MB"
done
finish --note "up to $stored files"
