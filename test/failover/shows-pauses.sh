#!/usr/bin/env bash
# Twenty times each: the primary killed, the backup killed, the primary frozen, the primary cut off. Prints the longest
# pause between answers at each, in the victim's slots at 8 × 50 writes and 4 × 50 reads a second.
. "$(dirname "$0")/lib.sh"
use_namespaces
start_cluster 3
rounds=${DFS_ROUNDS:-20}
kinds=${DFS_KINDS:-kill backup freeze cut}
first=$(primary_of failover/0)
start_workload --victim "$(id_of "$first")" --only-victim --sizes 1000 --seconds 3600
hot=$(node -p "JSON.parse(require('fs').readFileSync('$work/workload1.names', 'utf8'))[0]")

cut_off() {
  local other
  for other in master client $peers; do [[ $other == "$1" ]] || cut_link "$1" "$other"; done
}

for kind in $kinds; do
  for _ in $(seq "$rounds"); do
    if [[ $kind == backup ]]; then victim=$(backup_of "$hot"); else victim=$(primary_of "$hot"); fi
    echo "$kind $(node "$programs/clock.js")" >>"$work/moments"
    case $kind in
      kill | backup) kill9 "$victim" ;;
      freeze) freeze "$victim" ;;
      cut) cut_off "$victim" ;;
    esac
    sleep 3
    case $kind in
      kill | backup) start "$victim" ;;
      freeze) thaw "$victim" ;;
      cut) heal_all ;;
    esac
    wait_whole
    sleep 1
  done
done
stop_workload
note=$(node "$programs/pause-report.js" --history "$work/workload1.jsonl" --moments "$work/moments" \
  --limits kill=300/500,backup=200/200,freeze=1500/1500,cut=1500/1500 2>"$work/pauses.txt") ||
  complain "$(cat "$work/pauses.txt")"
finish --note "$note"
