#!/usr/bin/env bash
# Row 19: a data folder is wiped under a running id. It counts as a new store: nothing empty is ever promoted, and it is
# filled again, also when its partner dies right afterwards.
. "$(dirname "$0")/lib.sh"
start_cluster 3
for index in $(seq 10); do dfs send --quiet --as "kept/$index" "$0"; done
victim=$(primary_of failover/0)
backup=$(backup_of failover/0)
start_workload --victim "$(id_of "$victim")"
sleep 2
id=$(id_of "$victim")
kill9 "$victim"
rm -rf "${work:?}/$victim"
start "$victim"
# Its partner freezes while the new store is still being filled: what is empty must not be promoted.
freeze "$backup"
sleep 2
thaw "$backup"
sleep 1
wait_whole
[[ $(id_of "$victim") == "$id" ]] || complain "$victim came back as $(id_of "$victim") instead of $id"
for index in $(seq 10); do
  dfs receive --quiet "kept/$index" -o - | cmp - "$0" || complain "kept/$index is gone"
done
# Now it must really hold everything: it serves alone.
kill9 "$backup"
sleep 2
for index in $(seq 10); do
  dfs receive --quiet "kept/$index" -o - | cmp - "$0" || complain "kept/$index is gone with the partner"
done
start "$backup"
wait_whole
finish
