#!/usr/bin/env bash
# R = 2: after any one peer dies every acknowledged file is readable and new ones are stored as "1 of 2"; the peer comes
# back, moves bytes in proportion to what it missed, and the cluster is healthy. R = 3: the same for any two.
. "$(dirname "$0")/lib.sh"
use_namespaces
replicas=${DFS_REPLICAS:-2}
count=$((replicas == 2 ? 3 : 4))
start_cluster "$count"
head -c 300000 /dev/urandom >"$work/body"
head -c 9000000 /dev/urandom >"$work/large"
for index in $(seq 100); do dfs send --quiet --as "kept/$index" "$work/body"; done
dfs send --quiet --as large "$work/large"
wait_whole
receipts_note=

read_all() {
  local index
  for index in $(seq 100); do
    dfs receive --quiet "kept/$index" -o - | cmp -s - "$work/body" || complain "kept/$index is not readable without $1"
  done
  dfs receive --quiet large -o - | cmp -s - "$work/large" || complain "The large file is not readable without $1"
}

# The receipts of new files must own up: some of them with fewer copies, and marked as degraded.
write_some() {
  local index
  for index in $(seq 20); do dfs send --json --as "new/$1/$index" "$work/body"; done >"$work/receipts" ||
    complain "A file was not stored without $1"
  dfs send --json --as "new/$1/large" "$work/large" >>"$work/receipts" ||
    complain "A large file was not stored without $1"
  node -e "
    const lines = require('fs').readFileSync(process.argv[1], 'utf8').trim().split('\n');
    const receipts = lines.map((line) => JSON.parse(line));
    const lone = receipts.filter(({ copies }) => copies.durable < copies.wanted);
    const lies = receipts.filter(({ copies, degraded }) => degraded !== copies.durable < copies.wanted);
    const tooFew = receipts.filter(({ copies }) => copies.durable < 1 || copies.wanted !== $replicas);
    console.log(lone.length);
    process.exit(lies.length + tooFew.length === 0 && lone.length > 0 ? 0 : 1)" "$work/receipts" >"$work/lone" ||
    complain "Receipts without $1: $(head -n 1 "$work/receipts")"
}

received() { ip netns exec "$netns-$1" cat /sys/class/net/eth0/statistics/rx_bytes; }

stopped_sets() {
  local one other
  for one in $peers; do
    if [[ $replicas -eq 2 ]]; then echo "$one"; continue; fi
    for other in $peers; do [[ $one < $other ]] && echo "$one $other"; done
  done
  true
}

while read -r -a victims <&3; do
  for name in "${victims[@]}"; do kill9 "$name"; done
  sleep 1.5
  read_all "${victims[*]}"
  write_some "${victims[*]// /+}"
  before=$(received "${victims[0]}")
  for name in "${victims[@]}"; do start "$name"; done
  wait_whole
  moved=$(($(received "${victims[0]}") - before))
  # It missed at most all of the 20 small files and the large one.
  [[ $moved -lt 25000000 ]] || complain "${victims[0]} was sent $moved bytes for at most 15,000,000 missed"
  receipts_note+="${victims[*]}: $(cat "$work/lone") lone receipts, $((moved / 1000)) kB to level; "
done 3< <(stopped_sets)
finish --note "R = $replicas; $receipts_note"
