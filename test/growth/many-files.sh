#!/usr/bin/env bash
# How a cluster of two peers does with ever more files in each of them: puts, gets and a listing by `dfs bench` beside
# them, how long a peer takes to start, and until one that missed 100 changes is in sync. Prints one line for each number.
#   DFS_FILES='10000 100000 1000000' test/growth/many-files.sh     TMPDIR=/dev/shm: in memory
. "$(dirname "$0")/../failover/lib.sh"
"$checkout/node_modules/.bin/tsc" -p "$checkout/test/failover/tsconfig.json"
start_cluster 2
fill() {
  node "$programs/fill.js" --master "$DFS_MASTER" --cache "$work/cache-fill" --bytes 100 "$@"
}

# The median of a row of `dfs bench`, per second; a listing is of its own 2000 names.
rate() { # WORK
  node -p "Math.round(require('fs').readFileSync('$work/bench', 'utf8').trim().split('\n').map(JSON.parse)
    .find(({ work }) => work === '$1').perSecond.median)"
}

stored=0
for files in ${DFS_FILES:-10000 100000 1000000}; do
  began=$(now_ms)
  fill --from "$stored" --count "$files"
  filled=$(((files - stored) * 1000 / ($(now_ms) - began)))
  stored=$files
  dfs bench --sizes 4K --in-flight 64 --files 2000 --large 0 --runs 3 --json >"$work/bench"
  line="$files files: stored at $filled/s; beside them put $(rate put)/s, get $(rate get)/s of 4 KiB, list $(rate list)/s"
  stop peer2
  fill --tag second --count "$files" --every $((files / 100))
  began=$(now_ms)
  start peer2
  line+="; start $(($(now_ms) - began)) ms"
  wait_whole
  wait_settled
  # Where the look at every copy at the end would take longest, in a bucket of its own: here, at those that changed.
  fill --tag second --count "$files" --every $((files / 100)) --look || complain 'What changed is not as it was written'
  took=$(in_sync_ms peer2)
  [[ -n $took ]] || complain 'The cluster was not healthy again'
  memory=$(awk '/^RssAnon/ {printf "%.0f", $2 * 1024 / 1e6}' "/proc/${pid_of[peer1]}/status")
  echo "$line, in sync after $took ms; a peer takes $memory MB, its folder $(du -s -BMB "$work/peer1" | cut -f 1)"
done
finish --note "up to $stored files"
