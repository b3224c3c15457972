#!/usr/bin/env bash
# Five peers hold 10,000 files of 2 GB together, and clients ask for more than 200 operations a second all the time: a
# sixth peer joins, one is drained and removed, one is killed for good, the copies become three and two again. No
# request fails, nothing is lost, no more is moved than must be, and clients hardly feel it. Prints a table.
# FILES=1000 makes it a tenth of that.
. "$(dirname "$0")/lib.sh"
files=${FILES:-10000}
bytes=$((files * 200000))
quiet_s=${DFS_QUIET_SECONDS:-10}
step_seconds=${DFS_STEP_SECONDS:-$((60 + files / 15))}
replicas=2

# In memory when that leaves most of it free: all copies, those that wait out their quarantine, and as much again.
if [[ -d /dev/shm && $(awk '/MemAvailable/ {print $2}' /proc/meminfo) -gt $((bytes * 10 / 1000)) ]]; then
  in_memory=$(mktemp -d /dev/shm/dfs-row.XXXXXX)
  rmdir "$work"
  work=$in_memory
  "$checkout/scripts/ballast.sh" "$work" $((bytes * 4)) >"$work/ballast.out" &
  pid_of[ballast]=$!
  until grep -qs ready "$work/ballast.out"; do
    kill -0 "${pid_of[ballast]}" || exit
    sleep 0.1
  done
fi

start_cluster 5 --replaced-grace 1
# A surplus copy is kept for a day unless told otherwise.
stop master
flags_of[master]="${flags_of[master]} --quarantine 1"
start master
wait_healthy 30 || complain 'not healthy after the restart of the master'
kept() {
  run_at client node "$programs/kept-files.js" --master "$DFS_MASTER" --cache "$work/cache-kept" \
    --versions "$work/versions.json" --files "$files" --bytes "$bytes" "$@"
}
(kept)
start_workload --writers 8 --readers 4 --rate 22 --names 200 --sizes 4000 --seconds $((6 * step_seconds))
wait_settled

# On this machine, too, are all the daemons: what commands do must not be taken for what the cluster does.
dfs() { (run_at client nice -n 19 "$checkout/bin/dfs" --cache "$work/cache" "$@"); }
clock() { nice -n 19 node "$programs/clock.js"; }

# A long step has more events than the master keeps.
run_at client nice -n 19 "$checkout/bin/dfs" --cache "$work/cache-events" events --follow --json >"$work/events.jsonl" &
pid_of[events]=$!

last_event() { dfs events --json | tail -n 1 | field .seq; }

# copied_since SEQ: what the peers say that they copied, as {"copies":…,"bytes":…}.
copied_since() {
  node -e "
    let [copies, bytes] = [0, 0];
    for (const line of require('fs').readFileSync('$work/events.jsonl', 'utf8').trim().split('\n')) {
      const { seq, kind, slots, data } = JSON.parse(line);
      if (seq <= $1) continue;
      if (kind === 'copies-made') bytes += data.copiedBytes;
      if (kind === 'copy-added') copies += slots.length;
    }
    console.log(JSON.stringify({ copies, bytes }))"
}

# measured TITLE ASK DO: ASK says what would be moved, as JSON; DO does it and returns when nothing is left to move.
measured() {
  local title=$1 ask=$2 act=$3 quiet_from quiet_until from until since
  sleep "$quiet_s" # what the step before left over is removed meanwhile
  quiet_from=$(clock)
  sleep "$quiet_s"
  quiet_until=$(clock)
  since=$(last_event)
  $ask >"$work/told.json"
  from=$(clock)
  $act >"$work/acted.txt" 2>&1 || complain "$title: not done within $step_seconds s: $(head -n 2 "$work/acted.txt")"
  until=$(clock)
  sleep 1.5 # until the peers have told the master what they copied
  node -e "
    const { moves } = JSON.parse(require('fs').readFileSync('$work/told.json', 'utf8'));
    const moved = $(copied_since "$since");
    const [quietFromMs, quietUntilMs, fromMs, untilMs] = [$quiet_from, $quiet_until, $from, $until];
    console.log(JSON.stringify({ step: '$title', quietFromMs, quietUntilMs, fromMs, untilMs, told: moves, moved }));" \
    >>"$work/steps.jsonl"
  wait_whole
}

patiently() { dfs --deadline "$step_seconds" "$@" --wait; }
# Who is enabled already stays as it is: this asks what is left to move, or waits until nothing is.
ask_left() { dfs peer enable "$other" --dry-run --json; }
until_settled() { patiently peer enable "$other"; }

start_sixth() {
  dfs moves pause --quiet
  place peer6 7
  commands[peer6]=dfs-peer
  flags_of[peer6]="--master $DFS_MASTER --zone zone6 --replaced-grace 1"
  start peer6
  peers="$peers peer6"
  ask_left
}
join_sixth() { dfs moves resume --quiet && until_settled; }

ask_drain() { dfs peer drain "$leaver" --dry-run --json; }
drain() { patiently peer drain "$leaver" && until_settled; }
ask_remove() { dfs peer remove "$leaver" --dry-run --json; }
remove() { dfs peer remove "$leaver" --yes && until_settled; }

kill_one() {
  kill9 peer4
  for _ in $(seq 100); do
    [[ $(dfs peers --json | grep "\"id\":\"$killed\"" | field .state) == down ]] && break
    sleep 0.05
  done
  dfs peer remove "$killed" --dry-run --json
}
# Its copies are made anew after the grace, and what is made is not settled before.
until_repaired() {
  for _ in $(seq $((step_seconds * 2))); do
    [[ $(dfs peers --json | grep "\"id\":\"$killed\"" | field .isOut) == true ]] && break
    sleep 0.5
  done
  until_settled
}

ask_copies() { dfs set replicas "$copies" --dry-run --json; }
change_copies() { patiently set replicas "$copies" --yes; }

other=$(id_of peer1)
leaver=$(id_of peer2)
killed=$(id_of peer4)
measured 'join a sixth' start_sixth join_sixth
measured 'drain one' ask_drain drain
measured 'remove it' ask_remove remove
sleep "$quiet_s" # a short step is looked at for so long
stop peer2
measured 'kill one for good' kill_one until_repaired
copies=3 && measured 'three copies' ask_copies change_copies
copies=2 && measured 'two copies' ask_copies change_copies
sleep "$quiet_s" # what was left over is removed meanwhile
quiet_after=$(clock)
sleep "$quiet_s"
quiet_after+=,$(clock)
end_with TERM events
stop_workload

lost=$(kept --check 2>"$work/lost.txt") || lost="unknown: $(head -n 1 "$work/lost.txt")"
[[ $lost == 0 ]] || complain "$lost kept files are lost: $(head -n 3 "$work/lost.txt" | tr '\n' ' ')"
node "$programs/operations-table.js" --history "$work/workload1.jsonl" --steps "$work/steps.jsonl" \
  --quiet-after "$quiet_after" >"$work/table.md" 2>"$work/beyond.txt" || true
while read -r line; do complain "$line"; done <"$work/beyond.txt"
cat "$work/table.md"
finish --no-failures --note "$files kept files, $lost lost"
