#!/usr/bin/env bash
# Row 12: kill a client after 1, 50 and 99 % of a 100 MB upload. The name keeps what it held, and the space comes back.
. "$(dirname "$0")/lib.sh"
start_cluster 3 --sweep-after 5 --replaced-grace 5
head -c 1000000 /dev/urandom >"$work/old"
dfs send --quiet --as big/file "$work/old"
used() { du -sm "$work"/peer* | awk '{sum += $1} END {print sum}'; }
first=$(used)
start_workload --names 10 --rate 5 --sizes 1000
for megabytes in 1 50 99; do
  # The rest never comes, so the upload stands still where it is when the client dies.
  before=$(used)
  mkfifo "$work/pipe"
  (head -c "${megabytes}000000" /dev/zero; exec sleep 60) >"$work/pipe" &
  pid_of[feeder]=$!
  run_at client "$checkout/bin/dfs" --cache "$work/cache" send - --as big/file <"$work/pipe" >/dev/null 2>&1 &
  pid_of[sender]=$!
  sleep 2
  for _ in $(seq 40); do
    [[ $megabytes -eq 1 || $(used) -ge $((before + megabytes)) ]] && break
    sleep 0.5
  done
  [[ $megabytes -eq 1 || $(used) -ge $((before + megabytes)) ]] ||
    complain "Only $(used) MB are used after $megabytes MB"
  kill9 sender
  kill9 feeder
  rm "$work/pipe"
  dfs receive big/file -o - | cmp - "$work/old" || complain "The name changed at $megabytes MB"
done
stop_workload
for _ in $(seq 60); do
  [[ $(used) -gt $((first + 40)) ]] || break
  sleep 1
done
[[ $(used) -le $((first + 40)) ]] || complain "$(used) MB are still used, $first MB before"
wait_whole
finish --no-failures
