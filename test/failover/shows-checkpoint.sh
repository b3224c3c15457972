#!/usr/bin/env bash
# A checkpoint made under load, with deletes and overwrites after it, restored into a fresh cluster with another number
# of peers: every byte is compared. Then one file, a prefix, peers killed while checkpoints are made and removed, and
# the space of removed ones is back.
. "$(dirname "$0")/lib.sh"
start_cluster 3 --replaced-grace 1 --sweep-after 2

# Files that nobody touches before the checkpoint, of every kind, in two buckets.
mkdir -p "$work/then"
for index in $(seq 400); do head -c $((RANDOM * 3)) /dev/urandom >"$work/then/small-$index"; done
for index in $(seq 12); do head -c $((1000000 + RANDOM * 400)) /dev/urandom >"$work/then/large-$index"; done
dfs send --quiet --recursive "$work/then" || complain 'the files were not stored'
dfs send --quiet --bucket other --as alone --type text/odd "$work/then/large-1" || complain 'the other bucket'
dfs set-metadata --quiet then/large-1 colour=blue || complain 'metadata'
kept_bytes() { dfs status --json >"$work/kept.json" && field .checkpoints.keptBytes <"$work/kept.json"; }
files_now() { find "$work"/peer*/bytes -type f | wc -l; }

start_workload
sleep 2
from=$(node "$programs/clock.js")
dfs checkpoint create --json >"$work/created.json" || complain "not complete: $(cat "$work/created.json")"
to=$(node "$programs/clock.js")
id=$(field .id <"$work/created.json")
# Whatever was there is replaced or deleted now, while the workload does the same.
for index in $(seq 6); do echo new | dfs send --quiet --as "then/large-$index" -; done
dfs rm --quiet --yes --prefix then/large-1
dfs rm --quiet --yes --prefix then/small-
dfs rm --quiet --bucket other alone
sleep 3
stop_workload
unset 'pid_of[workload1]'
sleep 12 # by now everything would be swept that no checkpoint needs
kept=$(kept_bytes) || complain "no status: $(cat "$work/kept.json")"
[[ $kept -gt 10000000 ]] || complain "only $kept bytes are kept for the checkpoint"

# A fresh cluster of five peers.
place other-master 50
commands[other-master]=dfs-master
flags_of[other-master]="--replicas 2 --slots 256"
start other-master
other=${address_of[other-master]}
for index in 1 2 3 4 5; do
  place "other$index" $((50 + index))
  commands[other$index]=dfs-peer
  flags_of[other$index]="--master $other --zone zone$index"
  start "other$index"
done
dfs --master "$other" --timeout 30 status --wait healthy >"$work/other.txt" || complain 'the other cluster is not healthy'
began=$(now_ms)
dfs checkpoint restore "$id" --all --to-master "$other" --json >"$work/restored.jsonl" ||
  complain "restoring ended with $?: $(grep -m 2 error "$work/restored.jsonl")"
took=$(($(now_ms) - began))
restored=$(wc -l <"$work/restored.jsonl")
dfs --master "$other" receive --quiet --recursive --prefix then/ -o "$work/back" || complain 'not all came back'
diff -r "$work/then" "$work/back/then" >/dev/null || complain 'what came back differs'
dfs --master "$other" receive --quiet --bucket other alone -o - | cmp - "$work/then/large-1" ||
  complain 'the file of the other bucket differs'
[[ $(dfs --master "$other" stat --bucket other alone --json | field .contentType) == text/odd ]] || complain 'no type'
[[ $(dfs --master "$other" stat then/large-1 --json | field .metadata.colour) == blue ]] || complain 'no metadata'
# What the workload had written by then must be what a reader would have seen at some moment meanwhile.
node "$programs/checkpoint-reads.js" --master "$other" --cache "$work/cache-other" --names "$work/workload1.names" \
  --from "$from" --to "$to" --out "$work/checkpoint.jsonl" >"$work/reads.txt" || complain 'the names were not read'
histories+=("$work/checkpoint.jsonl")
# Repeating it finds everything there already; a file with other content is kept unless that is meant.
dfs checkpoint restore "$id" --all --to-master "$other" --quiet || complain 'a repeated restore failed'
status=0
echo other | dfs --master "$other" send --quiet --as then/small-1 -
dfs checkpoint restore "$id" then/small-1 --to-master "$other" --quiet 2>"$work/conflict.txt" || status=$?
[[ $status -eq 5 ]] || complain "a file with other content was met with $status"
dfs checkpoint restore "$id" then/small-1 --to-master "$other" --force --quiet || complain 'not forced'
dfs --master "$other" receive --quiet then/small-1 -o - | cmp - "$work/then/small-1" || complain 'forced, yet different'

# One file under another name, and a prefix, into the cluster itself.
dfs checkpoint restore "$id" then/large-2 --as then-2 --quiet || complain 'one file was not restored'
dfs receive --quiet then-2 -o - | cmp - "$work/then/large-2" || complain 'one file differs'
dfs checkpoint restore "$id" --prefix then/small-3 --quiet || complain 'a prefix was not restored'
for index in 3 30 399; do
  dfs receive --quiet "then/small-$index" -o - | cmp - "$work/then/small-$index" || complain "small-$index differs"
done
status=0
dfs checkpoint restore "$id" absent --quiet 2>/dev/null || status=$?
[[ $status -eq 3 ]] || complain "a file that was not there: $status"

# Peers are killed while checkpoints are made and removed: the first one stays whole, nothing stays behind for ever.
states=
for try in 1 2 3 4; do
  victim=peer$((try % 3 + 1))
  run_at client "$checkout/bin/dfs" --cache "$work/cache" checkpoint create --json >"$work/try.json" 2>"$work/try.txt" &
  making=$!
  for _ in $(seq 2000); do
    [[ -z $(find "$work/$victim/checkpoints" -name '*.new') ]] || break
    is_alive "$making" || break
  done
  kill9 "$victim"
  status=0
  wait "$making" || status=$?
  states+="$(field .state <"$work/try.json") "
  [[ $status -eq 0 || $status -eq 8 ]] || complain "create ended with $status: $(head -c 300 "$work/try.json")"
  start "$victim"
  wait_whole
  extra=$(field .id <"$work/try.json")
  dfs checkpoint rm "$extra" --quiet || complain "$extra was not removed"
  kill9 "$victim"
  start "$victim"
  wait_whole
done
gone() { [[ $(dfs checkpoint ls --json | wc -l) -eq $1 && $(find "$work"/peer*/checkpoints -name '*.mdb' | wc -l) -eq $2 ]]; }
await_gone() {
  for _ in $(seq 60); do gone "$@" && return; sleep 0.5; done
  complain "checkpoints are left: $(dfs checkpoint ls --json | head -c 500) $(ls "$work"/peer*/checkpoints | tr '\n' ' ')"
}
await_gone 1 3
dfs checkpoint restore "$id" then/large-7 --as then-7 --quiet || complain 'after the kills nothing was restored'
dfs receive --quiet then-7 -o - | cmp - "$work/then/large-7" || complain 'after the kills one file differs'

# The space of the first one comes back: files that no entry names are gone, and only those.
before=$(files_now)
dfs checkpoint rm "$id" --quiet || complain 'the checkpoint was not removed'
await_gone 0 0
for _ in $(seq 60); do
  [[ $(kept_bytes) -ne 0 ]] || break
  sleep 0.5
done
sleep 3
[[ $(kept_bytes) -eq 0 ]] || complain 'bytes are kept for no checkpoint'
# Of what is there every file of more than 64 KiB, and every segment, has a stored file on two peers.
wanted=$(dfs ls --json | node -e "
  const rows = require('fs').readFileSync(0, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  console.log(rows.reduce((sum, { size, segments }) => sum + 2 * (size > 65536 ? segments : 0), 0));")
after=$(files_now)
[[ $after -eq $wanted ]] || complain "$after stored files, where $wanted are named"
finish --note "$restored files restored into five peers in $took ms, $(cat "$work/reads.txt") of the workload's; \
$((kept >> 20)) MiB kept; $before stored files, $after once it was removed; creates with a peer killed: $states"
