#!/usr/bin/env bash
# Bits are flipped in 20 places: in inline bytes, in records, in segments 0 and 7, on the primary and on the backup. All
# peers are killed for it and the page cache is dropped, so that nobody remembers the good bytes. No file is served
# wrong, reads and one scrub repair all of them, and the log of events names each.
. "$(dirname "$0")/lib.sh"
start_cluster 3
segment=1048576
places=() # NAME ROLE KIND

# Which copies are flipped: of five files of each kind three on the primary, two on the backup.
for kind in inline record segment0 segment7; do
  for index in 1 2 3 4 5; do
    places+=("rot/$kind-$index $([[ $index -le 3 ]] && echo primary || echo backup) $kind")
  done
done

body() { echo "$work/body-${1#rot/}"; }
for place in "${places[@]}"; do
  read -r name _ kind <<<"$place"
  case $kind in
    inline) head -c 30000 /dev/urandom >"$(body "$name")" ;;
    record | segment0) head -c 300000 /dev/urandom >"$(body "$name")" ;;
    segment7) head -c $((8 * segment)) /dev/urandom >"$(body "$name")" ;;
  esac
  dfs send --quiet --segment-size "$segment" --as "$name" "$(body "$name")"
  # The only words in a record that stand nowhere else.
  [[ $kind != record ]] || dfs set-metadata "$name" "mark=mark of $name, of no other" >/dev/null
done
wait_whole

# holder_of NAME SEGMENT ROLE: the daemon that has that copy.
holder_of() {
  peer_at "$(dfs locate "$1" --json | field ".segments[$2].copies.find(({ role }) => role === '$3').address")"
}
declare -A holders=()
for place in "${places[@]}"; do
  read -r name role kind <<<"$place"
  holders[$name]=$(holder_of "$name" "$([[ $kind == segment7 ]] && echo 7 || echo 0)" "$role")
done

for name in $peers; do kill9 "$name"; done
flipped=0
for place in "${places[@]}"; do
  read -r name _ kind <<<"$place"
  case $kind in
    inline) what=(--body "$(body "$name")" --at 5000) ;;
    record) what=(--text "mark of $name, of no other") ;;
    segment0) what=(--body "$(body "$name")" --at 200000) ;;
    segment7) what=(--body "$(body "$name")" --at $((7 * segment + 500000))) ;;
  esac
  hits=$(node "$programs/flip-bit.js" --folder "$work/${holders[$name]}" "${what[@]}")
  [[ $hits -gt 0 ]] || complain "Nothing was flipped of $name on ${holders[$name]}"
  flipped=$((flipped + 1))
done
sync
cache='page cache dropped'
{ echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null || cache='page cache could not be dropped here'
for name in $peers; do start "$name"; done
wait_healthy 30 || complain 'Not healthy after the restart'

for place in "${places[@]}"; do
  read -r name role kind <<<"$place"
  dfs receive --quiet "$name" -o - | cmp -s - "$(body "$name")" || complain "$name was served wrong ($kind, $role)"
done
dfs scrub --wait >/dev/null || complain 'The scrub did not come to its end'

states() { dfs locate "$1" --json | field '.segments.flatMap(({ copies }) => copies.map(({ state }) => state)).join()'; }
repaired_after=$(now_ms)
for place in "${places[@]}"; do
  read -r name role kind <<<"$place"
  for _ in $(seq 40); do
    [[ $(states "$name") =~ ^ok(,ok)*$ ]] && continue 2
    sleep 0.25
  done
  complain "$name is not repaired ($kind, $role): $(states "$name")"
done
repaired_after=$(($(now_ms) - repaired_after))

# told KIND NAME: whether an event of that kind names it.
told() { [[ $(grep -F "\"kind\":\"$1\"" "$work/events") == *"\\\"$2\\\""* ]]; }
for _ in $(seq 40); do
  dfs events --json >"$work/events"
  untold=
  for place in "${places[@]}"; do
    read -r name role kind <<<"$place"
    for event in copy-damaged copy-repaired; do told "$event" "$name" || untold+="$event of $name ($kind, $role); "; done
  done
  [[ -n $untold ]] || break
  sleep 0.25
done
[[ -z $untold ]] || complain "Not in the log of events: $untold"
wait_whole
finish --note "$flipped places, $cache, peers killed meanwhile; all repaired within $repaired_after ms after one scrub"
