#!/usr/bin/env bash
# Row 3: kill -9 primary and backup of a slot, start only the former backup. It serves; the other one returns by resync.
. "$(dirname "$0")/lib.sh"
start_cluster 3
dfs send --quiet --as kept/file "$0"
primary=$(primary_of kept/file)
backup=$(backup_of kept/file)
start_workload --victim "$(id_of "$primary")" --timeout 5
sleep 2
kill9 "$primary"
kill9 "$backup"
sleep 2
start "$backup"
dfs --timeout 10 receive kept/file -o - | cmp - "$0" ||
  complain 'The former backup does not serve what was acknowledged'
dfs --timeout 10 send --quiet --as kept/more "$0" || complain 'The former backup takes no new file'
sleep 2
start "$primary"
wait_whole
finish
