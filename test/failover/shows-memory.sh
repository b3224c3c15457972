#!/usr/bin/env bash
# While 1 GiB goes in and out, each daemon's peak RssAnon stays under 200 MB and the command line's under 150 MB, and
# 99 % of pings are answered within 50 ms.
. "$(dirname "$0")/lib.sh"
start_cluster 3
head -c "${DFS_TRANSFER_BYTES:-1073741824}" /dev/urandom >"$work/big"

# Samples "NAME KILOBYTES" of every process until it is ended; the command line is found by its process id file.
sample() {
  local name
  while :; do
    for name in master $peers; do
      awk -v name="$name" '/^RssAnon/ {print name, $2}' "/proc/${pid_of[$name]}/status"
    done
    if [[ -s $work/client.pid ]]; then
      awk '/^RssAnon/ {print "client", $2}' "/proc/$(cat "$work/client.pid")/status" 2>/dev/null || true
    fi
    sleep 0.1
  done
}
sample >"$work/samples" &
pid_of[sampler]=$!
node "$programs/ping-watch.js" --master "$DFS_MASTER" >"$work/pings" 2>&1 &
pid_of[watcher]=$!

transfer() {
  local status=0
  run_at client "$checkout/bin/dfs" --cache "$work/cache" "$@" >/dev/null 2>"$work/transfer.txt" &
  echo $! >"$work/client.pid"
  wait $! || status=$?
  : >"$work/client.pid"
  [[ $status -eq 0 ]] || complain "dfs $1 ended with $status: $(head -n 2 "$work/transfer.txt")"
}
for round in 1 2; do
  transfer send --as "big/$round" "$work/big"
  transfer receive --force "big/$round" -o "$work/back"
  cmp "$work/big" "$work/back" || complain 'The bytes differ'
done
end_with KILL sampler
end_with TERM watcher
peak() { awk -v name="$1" '$1 == name && $2 > peak {peak = $2} END {print int(peak / 1000)}' "$work/samples"; }
note=
for name in master $peers client; do
  limit=$([[ $name == client ]] && echo 150 || echo 200)
  [[ $(peak "$name") -lt $limit ]] || complain "$name took $(peak "$name") MB, over $limit MB"
  note+="$name $(peak "$name") MB, "
done
late=$(tail -n 1 "$work/pings")
awk -v late="$late" 'BEGIN {exit !(late != "" && late + 0 <= 1)}' || complain "$late % of pings took over 50 ms"
finish --note "peak RssAnon ${note}${late} % of pings over 50 ms"
