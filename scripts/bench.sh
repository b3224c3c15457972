#!/usr/bin/env bash
# The figures of the README, measured here: a master and two peers with their defaults and `dfs bench` on one machine,
# each row beside what the machine can do at most; then the memory and CPU that one large file takes, in and out, with
# two copies, with one, and with three on as many peers.
#   scripts/bench.sh [FOLDER]     FOLDER: where the data lies (/dev/shm; for a disk, a folder on it)
#   FILES=10000 LARGE=1G RUNS=3 SIZES=4K,64K IN_FLIGHT=1,16,64 CLIENTS=1,16,256: what `dfs bench` is asked for
# Shows socat, iperf3 and fio too, where they are installed.
set -euo pipefail
storage=$(realpath "${1:-/dev/shm}")
cd "$(dirname "$0")/.."

[ -x node_modules/.bin/tsc ] || npm ci --ignore-scripts --no-audit --no-fund >/dev/null
npm run --silent build

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
  if [ "$status" -ne 0 ]; then tail -n 5 "$scratch"/*.log >&2; fi
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

# Without a connection: these listeners take only one. Asks the kernel, for half a minute.
await_listener() { # PORT
  local socket
  socket=$(printf ' 0100007F:%04X 00000000:0000 0A ' "$1")
  for _ in $(seq 300); do
    if grep -q "$socket" /proc/net/tcp; then return; fi
    sleep 0.1
  done
  echo "Nobody listens on port $1" >&2
  return 1
}

start() { # NAME PROGRAM FLAG…
  local name=$1 program=$2
  shift 2
  "bin/$program" "$@" --data "$folder/$name" >"$scratch/$name.log" 2>&1 &
  pids[$name]=$!
}

anon_mb() { awk '/^RssAnon/ { printf "%d", $2 * 1024 / 1000000 }' "/proc/$1/status" 2>/dev/null || true; }
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

ticks_of_daemons() {
  local name sum=0
  for name in "${daemons[@]}"; do sum=$((sum + $(cpu_ticks "${pids[$name]}"))); done
  echo "$sum"
}

# Lines "NAME MEGABYTES" of everybody, ten times a second, for as long as the process runs.
sample() { # PID
  local name
  while kill -0 "$1" 2>/dev/null; do
    for name in "${daemons[@]}"; do echo "$name $(anon_mb "${pids[$name]}")"; done
    echo "dfs $(anon_mb "$1")"
    sleep 0.1
  done
}

# Runs COMMAND…; prints its seconds, the daemons' CPU seconds, and everybody's peak of RssAnon.
weigh() { # TITLE COMMAND…
  local title=$1 before began ended peaks
  shift
  before=$(ticks_of_daemons)
  began=$(date +%s%N)
  "$@" &
  pids[command]=$!
  sample "${pids[command]}" >"$scratch/samples" &
  pids[sampler]=$!
  wait "${pids[command]}"
  ended=$(date +%s%N)
  wait "${pids[sampler]}"
  unset 'pids[command]' 'pids[sampler]'
  peaks=$(awk '$2 > peak[$1] { peak[$1] = $2 }
    END { for (name in peak) printf " %s %d", name, peak[name] }' "$scratch/samples")
  awk -v title="$title" -v ms=$(((ended - began) / 1000000)) -v ticks=$(($(ticks_of_daemons) - before)) \
    -v hz="$(getconf CLK_TCK)" -v peaks="$peaks" 'BEGIN {
      printf "%s: %.2f s; CPU of the daemons %.2f s; peak RssAnon in MB:%s\n", title, ms / 1000, ticks / hz, peaks }'
}

# Large files come to lie in ever new memory, what they are compared with in the same again and again.
if [ "$(stat -f -c %T "$storage")" = tmpfs ]; then
  ballastBytes=$((largeBytes * 2 * (${RUNS:-3} + 2)))
  halfBytes=$(($(df --output=avail -B1 "$storage" | tail -n 1) / 2))
  ballastBytes=$((ballastBytes < halfBytes ? ballastBytes : halfBytes))
  scripts/ballast.sh "$folder" "$ballastBytes" >"$scratch/ballast" &
  pids[ballast]=$!
  until grep -qs ready "$scratch/ballast"; do
    kill -0 "${pids[ballast]}" || exit
    sleep 0.1
  done
fi

master="127.0.0.1:$(free_port)"
export DFS_MASTER=$master DFS_CACHE="$scratch/cache"
daemons=()
start_cluster() { # COPIES PEERS
  local peer
  start master dfs-master --listen "$master" --replicas "$1"
  daemons=(master)
  for peer in $(seq "$2"); do
    start "peer-$peer" dfs-peer --listen "127.0.0.1:$(free_port)" --master "$master"
    daemons+=("peer-$peer")
  done
  bin/dfs status --wait healthy --timeout 60 >/dev/null
}
# With all that they stored.
stop_cluster() {
  local name
  for name in "${daemons[@]}"; do kill "${pids[$name]}"; done
  for name in "${daemons[@]}"; do
    wait "${pids[$name]}" || true
    unset "pids[$name]"
    rm -rf "${folder:?}/$name"
  done
  rm -rf "$scratch/cache"
}
start_cluster 2 2

echo "Node $(node --version), $(nproc) cores, data in $storage ($(stat -f -c %T "$storage")), two copies, fsync on"
for name in "${daemons[@]}"; do echo "$name idle: $(anon_mb "${pids[$name]}") MB RssAnon"; done
bin/dfs bench --files "${FILES:-10000}" --large "$large" --runs "${RUNS:-3}" --sizes "${SIZES:-4K,64K}" \
  --in-flight "${IN_FLIGHT:-1,16,64}" --limits "$folder" 2>"$scratch/bench.log"

head -c "$largeBytes" /dev/urandom >"$folder/large.bin"
in_and_out() { # COPIES, in words
  weigh "send $large, $1" bin/dfs --quiet send "$folder/large.bin"
  weigh "receive $large, $1" bin/dfs --quiet receive large.bin -o "$folder/back.bin"
  cmp "$folder/large.bin" "$folder/back.bin"
  rm "$folder/back.bin"
}
in_and_out 'two copies'
bin/dfs bench --files "${FILES:-10000}" --large 0 --runs "${RUNS:-3}" --sizes 4K --in-flight 64 \
  --clients "${CLIENTS:-1,16,256}" 2>"$scratch/bench.log" | grep -E '^work|clients'
stop_cluster
start_cluster 1 1
in_and_out 'one copy, one peer'
stop_cluster
start_cluster 3 3
in_and_out 'three copies, three peers'

megabytes() { awk -v bytes="$largeBytes" -v ns="$1" 'BEGIN { printf "%.0f MB/s\n", bytes / ns * 1000 }'; }
if command -v socat >/dev/null; then
  port=$(free_port)
  socat -u "TCP-LISTEN:$port,bind=127.0.0.1" "OPEN:$folder/copy.bin,creat" &
  pids[socat]=$!
  await_listener "$port"
  began=$(date +%s%N)
  socat -u "FILE:$folder/large.bin" "TCP:127.0.0.1:$port"
  wait "${pids[socat]}"
  unset 'pids[socat]'
  echo "socat, one hop into a file: $(megabytes $(($(date +%s%N) - began)))"
  rm "$folder/copy.bin"
fi
if command -v iperf3 >/dev/null; then
  port=$(free_port)
  iperf3 -s -1 -B 127.0.0.1 -p "$port" >/dev/null &
  pids[iperf3]=$!
  await_listener "$port"
  iperf3 -c 127.0.0.1 -p "$port" -t 3 -f M |
    awk '/receiver/ { printf "iperf3, loopback: %.0f MB/s\n", $7 * 1048576 / 1000000 }'
  wait "${pids[iperf3]}" || true
  unset 'pids[iperf3]'
fi
if command -v fio >/dev/null; then
  fio --name=two --directory="$folder" --rw=write --bs=1M --size="$large" --numjobs=2 --end_fsync=1 \
    --group_reporting --output-format=terse --terse-version=3 |
    awk -F';' '{ printf "fio, two files, 1 MiB blocks, fsync at the end: %.0f MB/s together\n", $48 * 1024 / 1000000 }'
fi
