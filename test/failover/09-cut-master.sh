#!/usr/bin/env bash
# Row 9: cut the primary from the master only. Another serves within 2 s and the old one is fenced.
. "$(dirname "$0")/lib.sh"
use_namespaces
start_cluster 3
victim=$(primary_of failover/0)
start_workload --victim "$(id_of "$victim")"
sleep 3
cut_link "$victim" master
sleep 4
[[ $(primary_of failover/0) != "$victim" ]] || complain "$victim still serves after 4 s"
heal_all
sleep 2
wait_whole
finish --write-pause-max 2000 --read-pause-max 2000
