#!/usr/bin/env bash
# Shows dfs at work on this machine: installs and builds it, starts a master and three peers, stores files, kills the
# peer that serves one of them, and fetches them all the same. Ends with nothing left behind. Needs Node 20.19 or newer.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*"; }
fail() { say "FAILED: $*" >&2; exit 1; }

node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
  process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' 2>/dev/null ||
  fail "dfs needs Node 20.19 or newer; this is $(node --version 2>/dev/null || echo 'no Node at all')"

folder=$(mktemp -d "${TMPDIR:-/tmp}/dfs-quickstart-XXXXXX")
declare -A pids=()

stop_all() {
  local status=$? name
  trap - EXIT INT TERM
  # Peers first, so that each can hand over to another; then the master.
  for name in "${!pids[@]}"; do [ "$name" = master ] || kill "${pids[$name]}" 2>/dev/null || true; done
  for name in "${!pids[@]}"; do [ "$name" = master ] || wait "${pids[$name]}" 2>/dev/null || true; done
  if [ -n "${pids[master]:-}" ]; then
    kill "${pids[master]}" 2>/dev/null || true
    wait "${pids[master]}" 2>/dev/null || true
  fi
  if [ "$status" -ne 0 ]; then
    for log in "$folder"/*.log; do [ -f "$log" ] && { say "--- $(basename "$log")"; tail -n 5 "$log"; } >&2; done
  fi
  rm -rf "$folder"
  exit "$status"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() { # NAME PROGRAM FLAG…
  local name=$1 program=$2
  shift 2
  "bin/$program" "$@" --data "$folder/$name" >"$folder/$name.log" 2>&1 &
  pids[$name]=$!
}

start_peer() { start "peer-$1" dfs-peer --listen "127.0.0.1:${ports[$1]}" --master "$DFS_MASTER"; }

quietly() { # STEP COMMAND… — its output is shown only when it fails
  local step=$1
  shift
  "$@" >"$folder/step.txt" 2>&1 || { cat "$folder/step.txt" >&2; fail "$step"; }
}

if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say "Installing what package-lock.json names …"
  quietly "npm ci" npm ci --ignore-scripts --no-audit --no-fund
  touch node_modules/.package-lock.json
fi
say "Building …"
quietly "npm run build" npm run build

mapfile -t ports < <(node -e '
  const net = require("node:net");
  const servers = Array.from({ length: 4 }, () => net.createServer().listen(0, "127.0.0.1"));
  let left = servers.length;
  for (const server of servers) server.once("listening", () => {
    if (--left > 0) return;
    for (const one of servers) { console.log(one.address().port); one.close(); }
  });')
export DFS_MASTER="127.0.0.1:${ports[0]}" DFS_CACHE="$folder/cache"

say "Starting a master and three peers on loopback …"
start master dfs-master --listen "$DFS_MASTER"
for peer in 1 2 3; do start_peer "$peer"; done
quietly "the cluster did not become healthy" bin/dfs status --wait healthy --timeout 60

say "Storing a 20 MB file and the sources of dfs …"
head -c 20000000 /dev/urandom >"$folder/random.bin"
bin/dfs send "$folder/random.bin" || fail "dfs send"
quietly "dfs send --recursive" bin/dfs send --recursive src

say "Fetching them again and comparing …"
quietly "dfs receive" bin/dfs receive random.bin -o "$folder/back.bin"
quietly "dfs receive --recursive" bin/dfs receive --recursive --prefix src/ -o "$folder/back"
cmp "$folder/random.bin" "$folder/back.bin" || fail "the file came back different"
diff -r src "$folder/back/src" || fail "the folder came back different"

primary=$(bin/dfs locate random.bin --json |
  node -e 'let text = ""; process.stdin.on("data", (chunk) => (text += chunk));
    process.stdin.on("end", () => console.log(JSON.parse(text).primary.address))')
victim=""
for peer in 1 2 3; do [ "127.0.0.1:${ports[$peer]}" = "$primary" ] && victim=$peer; done
[ -n "$victim" ] || fail "dfs locate names $primary, which is none of the three peers"

quietly "the cluster did not stay healthy" bin/dfs status --wait healthy --timeout 60
say "Killing the primary of random.bin (kill -9 ${pids[peer-$victim]}, $primary) …"
kill -9 "${pids[peer-$victim]}"
wait "${pids[peer-$victim]}" 2>/dev/null || true
quietly "dfs receive after the kill" bin/dfs receive random.bin -o "$folder/after-kill.bin"
cmp "$folder/random.bin" "$folder/after-kill.bin" || fail "the file came back different after the kill"
say "The file is still there, bit for bit, and new ones can be stored:"
echo "written while a peer was down" | bin/dfs send - --as note.txt || fail "dfs send after the kill"

say "Starting the peer again …"
start_peer "$victim"
quietly "the cluster did not become healthy again" bin/dfs status --wait healthy --timeout 60
[ "$(bin/dfs receive note.txt -o -)" = "written while a peer was down" ] || fail "note.txt came back different"
say "Healthy again: every file has both its copies. For a cluster to play with: bin/dfs dev"
