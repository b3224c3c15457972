#!/usr/bin/env bash
# Row 11: split five peers 2 | 3 with clients on both sides and the master on either side. For each slot at most one
# side acknowledges, and slots that lie wholly on one side go on there.
. "$(dirname "$0")/lib.sh"
use_namespaces
start_cluster 5
place client2 101

# Names whose copies lie among the given peers only.
names_wholly_on() {
  local index name
  for index in $(seq 0 49); do
    name=failover/$index
    [[ " $* " == *" $(primary_of "$name") "* && " $* " == *" $(backup_of "$name") "* ]] && echo "$name"
  done
  true
}

# The chain of backups decides which slots lie wholly on a side: two neighbours in it make the small side.
first=$(primary_of failover/0)
second=$(backup_of failover/0)
small="$first $second"
large=$(printf '%s\n' $peers | grep -vwE "$first|$second" | tr '\n' ' ')

split() { # SIDE OTHER-SIDE: every pair across is cut
  local one other
  for one in $1; do for other in $2; do cut_link "$one" "$other"; done; done
}

wholly=$(names_wholly_on $small)
[[ -n $wholly ]] || complain "No name lies wholly on $small"
spans=()
start_workload --timeout 2
start_workload --at client2 --timeout 2
sleep 2
# The master with the three: the two go on for the slots they hold alone, by their own map.
split "$small client2" "$large master client"
spans+=("--goes-on=$work/workload2.jsonl,$(node "$programs/clock.js"),5000,$(echo $wholly | tr ' ' ':')")
sleep 6
heal_all
wait_whole
sleep 2
# The master with the two.
split "$small master client" "$large client2"
spans+=("--goes-on=$work/workload1.jsonl,$(node "$programs/clock.js"),5000,$(echo $wholly | tr ' ' ':')")
sleep 6
heal_all
wait_whole
sleep 1
stop_workload 1
finish "${spans[@]}"
