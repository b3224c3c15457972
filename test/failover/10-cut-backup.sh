#!/usr/bin/env bash
# Row 10: cut the primary from its backup only: both ways, then one way, then the other. The primary stays each time,
# and the backup joins again after healing.
. "$(dirname "$0")/lib.sh"
use_namespaces
start_cluster 3
primary=$(primary_of failover/0)
backup=$(backup_of failover/0)
start_workload --victim "$(id_of "$primary")"
sleep 2
heal_and_look() {
  sleep 3
  [[ $(primary_of failover/0) == "$primary" ]] || complain "The primary changed at a cut $1"
  heal_all
  wait_whole
  sleep 1
}
cut_link "$primary" "$backup"
heal_and_look 'both ways'
cut_one_way "$primary" "$backup"
heal_and_look 'on the way there'
cut_one_way "$backup" "$primary"
heal_and_look 'on the way back'
finish --write-pause-max 1500 --read-pause-max 1500
