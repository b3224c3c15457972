#!/usr/bin/env bash
# The figures of the README, measured here: a master and two peers with their defaults and `dfs bench` on one machine,
# each row beside what the machine can do at most; then the memory and CPU that one large file takes, in and out.
#   scripts/bench.sh [FOLDER]     FOLDER: where the data lies (/dev/shm; for a disk, a folder on it)
#   FILES=10000 LARGE=1G RUNS=3 SIZES=4K,64K IN_FLIGHT=1,16,64: what `dfs bench` is asked for
# Shows socat, iperf3 and fio too, where they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -x node_modules/.bin/tsc ] || npm ci --ignore-scripts --no-audit --no-fund >/dev/null
npm run --silent build

storage=${1:-/dev/shm}
large=${LARGE:-1G}
largeBytes=$(numfmt --from=iec "$large")
folder=$(mktemp -d "$storage/dfs-bench-XXXXXX")
scratch=$(mktemp -d)
declare -A pids=()

stop_all() {
  local status=$? name
  trap - EXIT INT TERM
  for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null || true; done
  for name in "${!pids[@]}"; do wait "${pids[$name]}" 2>/dev/null || true; done
  rm -rf "$folder" "$scratch"
  exit "$status"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() {
  node -e 'const server = require("node:net").createServer().listen(0, "127.0.0.1", () => {
    console.log(server.address().port); server.close(); });'
}

start() { # NAME PROGRAM FLAG…
  local name=$1 program=$2
  shift 2
  "bin/$program" "$@" --data "$folder/$name" >"$scratch/$name.log" 2>&1 &
  pids[$name]=$!
}

anon_kb() { awk '/^RssAnon/ { print $2 }' "/proc/$1/status" 2>/dev/null || echo 0; }
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# Runs COMMAND…; prints its seconds, the daemons' CPU seconds, and everybody's peak of RssAnon in MB.
weigh() { # TITLE COMMAND…
  local title=$1 name before=0 after=0 began ended own peaks
  local -A peak=()
  shift
  for name in master peer-1 peer-2; do before=$((before + $(cpu_ticks "${pids[$name]}"))); done
  began=$(date +%s%N)
  "$@" &
  own=$!
  while kill -0 "$own" 2>/dev/null; do
    for name in master peer-1 peer-2 dfs; do
      local now
      now=$(anon_kb "${pids[$name]:-$own}")
      [ "${now:-0}" -gt "${peak[$name]:-0}" ] && peak[$name]=$now
    done
    sleep 0.05
  done
  wait "$own"
  ended=$(date +%s%N)
  for name in master peer-1 peer-2; do after=$((after + $(cpu_ticks "${pids[$name]}"))); done
  peaks=$(for name in master peer-1 peer-2 dfs; do printf ' %s %d' "$name" $((${peak[$name]:-0} / 1000)); done)
  awk -v title="$title" -v ms=$(((ended - began) / 1000000)) -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" \
    -v peaks="$peaks" 'BEGIN { printf "%s: %.2f s; CPU of the daemons %.2f s; peak RssAnon in MB:%s\n",
      title, ms / 1000, ticks / hz, peaks }'
}

master="127.0.0.1:$(free_port)"
export DFS_MASTER=$master DFS_CACHE="$scratch/cache"
start master dfs-master --listen "$master"
for peer in 1 2; do start "peer-$peer" dfs-peer --listen "127.0.0.1:$(free_port)" --master "$master"; done
bin/dfs status --wait healthy --timeout 60 >/dev/null

echo "Node $(node --version), $(nproc) cores, data in $storage ($(stat -f -c %T "$storage")), two copies, fsync on"
for name in master peer-1 peer-2; do echo "$name idle: $(($(anon_kb "${pids[$name]}") / 1000)) MB RssAnon"; done
bin/dfs bench --files "${FILES:-10000}" --large "$large" --runs "${RUNS:-3}" --sizes "${SIZES:-4K,64K}" \
  --in-flight "${IN_FLIGHT:-1,16,64}" --limits "$storage" 2>/dev/null

head -c "$largeBytes" /dev/urandom >"$folder/large.bin"
weigh "send $large" bin/dfs --quiet send "$folder/large.bin"
weigh "receive $large" bin/dfs --quiet receive large.bin -o "$folder/back.bin"
cmp "$folder/large.bin" "$folder/back.bin"
rm "$folder/back.bin"

megabytes() { awk -v bytes="$largeBytes" -v ns="$1" 'BEGIN { printf "%.0f MB/s\n", bytes / ns * 1000 }'; }
if command -v socat >/dev/null; then
  port=$(free_port)
  socat -u "TCP-LISTEN:$port,bind=127.0.0.1" "OPEN:$folder/copy.bin,creat" &
  own=$!
  sleep 0.3
  began=$(date +%s%N)
  socat -u "FILE:$folder/large.bin" "TCP:127.0.0.1:$port" && wait "$own"
  echo "socat, one hop into a file: $(megabytes $(($(date +%s%N) - began)))"
  rm "$folder/copy.bin"
fi
if command -v iperf3 >/dev/null; then
  port=$(free_port)
  iperf3 -s -1 -B 127.0.0.1 -p "$port" >/dev/null &
  sleep 0.3
  rate=$(iperf3 -c 127.0.0.1 -p "$port" -t 3 -f M | awk '/receiver/ { print $7 }')
  echo "iperf3, loopback: $rate MiB/s"
  wait "$!" || true
fi
if command -v fio >/dev/null; then
  rate=$(fio --name=two --directory="$folder" --rw=write --bs=1M --size="$large" --numjobs=2 --end_fsync=1 \
    --group_reporting --output-format=terse --terse-version=3 | awk -F';' '{ print $48 }')
  echo "fio, two files, 1 MiB blocks, fsync at the end: $((rate / 1024)) MiB/s together"
fi
