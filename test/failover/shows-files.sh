#!/usr/bin/env bash
# Files of every awkward size and name come back bit for bit, and a small range of a big file moves few bytes.
. "$(dirname "$0")/lib.sh"
use_namespaces
start_cluster 3
same() { cmp "$1" "$2" >/dev/null || complain "$3 differs"; }

for size in 0 1 65536 65537 4194304 4194305; do
  head -c "$size" /dev/urandom >"$work/file"
  dfs send --quiet --as "size/$size" "$work/file" || complain "size $size was not stored"
  dfs receive --quiet --force "size/$size" -o "$work/back" || complain "size $size was not fetched"
  same "$work/file" "$work/back" "size $size"
done

mkdir -p "$work/odd" "$work/odd-back"
index=0
for name in 'two words' '100%' '%41' '#hash' "it's" '"quoted"' 'Käse' 'Grüße' '🎉 party' $'new\nline' \
  '.hidden' '-dash' 'a:b' '*'; do
  index=$((index + 1))
  head -c $((1000 + index)) /dev/urandom >"$work/odd/$name"
done
dfs send --quiet --recursive "$work/odd" || complain 'Odd names were not stored'
dfs receive --quiet --recursive --prefix odd/ -o "$work/odd-back" || complain 'Odd names were not fetched'
found=$(find "$work/odd-back" -type d -name odd | head -n 1)
diff -r "$work/odd" "${found:-$work/odd-back}" >/dev/null || complain 'Odd names came back otherwise'

mkdir -p "$work/many" "$work/many-back"
for index in $(seq 2000); do echo "$index $RANDOM $RANDOM" >"$work/many/$index.txt"; done
began=$(now_ms)
dfs send --quiet --recursive "$work/many" || complain '2,000 files were not stored'
sent=$(now_ms)
dfs receive --quiet --recursive --prefix many/ -o "$work/many-back" || complain '2,000 files were not fetched'
many="2,000 files out in $((sent - began)) ms, back in $(($(now_ms) - sent)) ms"
found=$(find "$work/many-back" -type d -name many | head -n 1)
diff -r "$work/many" "${found:-$work/many-back}" >/dev/null || complain '2,000 files came back otherwise'

head -c 1073741824 /dev/urandom >"$work/big"
began=$(now_ms)
dfs send --quiet --as big "$work/big" || complain '1 GiB was not stored'
sent=$(now_ms)
dfs receive --quiet big -o "$work/big-back" || complain '1 GiB was not fetched'
big="1 GiB out in $((sent - began)) ms, back in $(($(now_ms) - sent)) ms"
same "$work/big" "$work/big-back" '1 GiB'
rm "$work/big-back"

received() { ip netns exec "$netns-client" cat /sys/class/net/eth0/statistics/rx_bytes; }
before=$(received)
dfs receive --quiet big --range 500000000-500999999 -o "$work/range"
moved=$(($(received) - before))
cmp "$work/range" <(tail -c +500000001 "$work/big" | head -c 1000000) || complain 'The range differs'
[[ $moved -lt 2000000 ]] || complain "A range of 1 MB moved $moved bytes"
rm "$work/big"

size=$(head -c 3221225472 /dev/urandom | tee >(sha256sum >"$work/sum") | dfs send --json - --as stream | field .size) ||
  size=0
[[ $size -eq 3221225472 ]] || complain "3 GiB from stdin were stored as $size bytes"
[[ $(dfs receive --quiet stream -o - | sha256sum) == "$(cat "$work/sum")" ]] || complain '3 GiB from stdin differ'
finish --note "$many; $big; a range of 1 MB moved $moved bytes"
