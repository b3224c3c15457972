# Sourced by every row: starts and stops daemons of the built checkout, hurts them, and judges what clients saw.
#
# Everything lives in one temporary folder and, when a row asks for it, in network namespaces of its own. Processes are
# ended by their id, and only those started here. DFS_KEEP=1 keeps the folder; DFS_RESULTS names the file of results.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
row=$(basename "$0" .sh)
work=$(mktemp -d "${TMPDIR:-/tmp}/dfs-row.XXXXXX")
programs=$checkout/dist-test/failover
replicas=2
declare -A pid_of=() address_of=() flags_of=() commands=()
declare -A launcher_of=() # by what a daemon's program is run, if not by itself
master_flags= # more of them, for start_cluster
declare -a complaints=() histories=() cuts=() mounts=() odd_clients=() after_cleanup=()
netns= # prefix of this row's network namespaces, empty when it runs on loopback
workload_count=0
whole_after_ms=0
is_done=

now_ms() { date +%s%3N; }

skip() {
  echo "SKIP $row: $1"
  is_done=1
  exit 77
}

complain() {
  echo "     $1" >&2
  complaints+=("$1")
}

cleanup() {
  local status=$? name
  trap - EXIT INT TERM
  {
    for name in "${!pid_of[@]}"; do
      kill -CONT "${pid_of[$name]}" || true
      kill -KILL "${pid_of[$name]}" || true
      wait "${pid_of[$name]}" || true
    done
  } 2>/dev/null
  for name in "${after_cleanup[@]}"; do "$name" || true; done
  if [[ $status -ne 0 && $status -ne 77 ]]; then
    [[ -n $is_done ]] || echo "FAIL $row: the script ended early with $status"
    for name in "$work"/*.log; do
      [[ -f $name ]] && { echo "--- $(basename "$name")" && tail -n "${DFS_LOG_LINES:-6}" "$name" | cut -c1-400; } >&2
    done
  fi
  if [[ -n $netns ]]; then
    for name in $(ip netns list | awk '{print $1}' | grep "^$netns-"); do ip netns del "$name"; done
  fi
  for name in "${mounts[@]}"; do umount "$name" || umount --lazy "$name"; done
  if [[ -n ${DFS_KEEP:-} ]]; then echo "kept $work" >&2; else rm -rf "$work"; fi
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- Where things run ------------------------------------------------------------------------------------------------

# Gives every daemon and client a network namespace and an address; a hub routes between them, so that the hub can lose
# packets silently, one way or both.
use_namespaces() {
  [[ $(id -u) -eq 0 ]] || skip 'network namespaces need root'
  command -v ip >/dev/null || skip 'there is no ip command (Debian package iproute2)'
  netns=dfs$$
  ip netns add "$netns-hub" 2>/dev/null || skip 'network namespaces do not work here'
  ip netns exec "$netns-hub" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
}

# host NAME NUMBER: a namespace with address 10.77.0.NUMBER.
host() {
  local name=$1 number=$2
  ip netns add "$netns-$name"
  ip link add "v$number" netns "$netns-hub" type veth peer name eth0 netns "$netns-$name"
  ip -n "$netns-hub" addr add 169.254.0.1/32 dev "v$number"
  ip -n "$netns-hub" link set "v$number" up
  ip -n "$netns-$name" link set lo up
  ip -n "$netns-$name" addr add "10.77.0.$number/32" dev eth0
  ip -n "$netns-$name" link set eth0 up
  ip -n "$netns-$name" route add 169.254.0.1 dev eth0
  ip -n "$netns-$name" route add default via 169.254.0.1 dev eth0
  ip -n "$netns-hub" route add "10.77.0.$number" dev "v$number"
}

# Replaces this (sub)shell by the command, run where NAME lives.
run_at() {
  local name=$1
  shift
  if [[ -n $netns ]]; then exec ip netns exec "$netns-$name" "$@"; fi
  exec "$@"
}

host_of() { echo "${address_of[$1]%:*}"; }

# cut_one_way FROM TO: packets from FROM to TO vanish.
cut_one_way() {
  local rule="from $(host_of "$1") to $(host_of "$2") blackhole"
  # shellcheck disable=SC2086
  ip -n "$netns-hub" rule add $rule
  cuts+=("$rule")
}

cut_link() {
  cut_one_way "$1" "$2"
  cut_one_way "$2" "$1"
}

heal_all() {
  local rule
  # shellcheck disable=SC2086
  for rule in "${cuts[@]}"; do ip -n "$netns-hub" rule del $rule; done
  cuts=()
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
  done
}

# place NAME NUMBER: decides the address of a daemon or client.
place() {
  if [[ -n $netns ]]; then
    host "$1" "$2"
    address_of[$1]=10.77.0.$2:7421
  else
    address_of[$1]=127.0.0.1:$(free_port)
  fi
}

# small_disk NAME SIZE: the daemon's data folder is a disk of its own, in memory. Before it is started.
small_disk() {
  [[ $(id -u) -eq 0 ]] || skip 'mounting a disk needs root'
  mkdir "$work/$1"
  mount -t tmpfs -o "size=$2" "dfs-$1" "$work/$1" 2>/dev/null || skip 'a tmpfs cannot be mounted here'
  mounts+=("$work/$1")
}

free_bytes() { df --output=avail -B1 "$work/$1" | tail -n 1; }

# fill_disk NAME BYTES: something else takes all of the daemon's disk but so many bytes.
fill_disk() { head -c $(($(free_bytes "$1") - $2)) /dev/zero >"$work/$1/filler"; }

free_disk() { rm "$work/$1/filler"; }

# --- Daemons ---------------------------------------------------------------------------------------------------------

is_alive() { [[ -r /proc/$1/stat && $(sed 's/.*) //' "/proc/$1/stat" | cut -c1) != Z ]]; }

# launch NAME: starts the process; does not wait until it listens.
launch() {
  local name=$1
  # shellcheck disable=SC2086
  run_at "$name" ${launcher_of[$name]:-} "$checkout/bin/${commands[$name]}" --listen "${address_of[$name]}" --data "$work/$name" \
    ${flags_of[$name]} >>"$work/$name.out" 2>>"$work/$name.log" </dev/null &
  pid_of[$name]=$!
}

listening_count() { cat "$work/$1.log" 2>/dev/null | grep -c '"msg":"listening"' || true; }

start() {
  local name=$1 before
  before=$(listening_count "$name")
  launch "$name"
  for _ in $(seq 1000); do
    [[ $(listening_count "$name") != "$before" ]] && return
    is_alive "${pid_of[$name]}" || break
    sleep 0.02
  done
  echo "$name did not come to listen" >&2
  return 1
}

# start_cluster PEERS [PEER FLAGS…]: a master, peers named peer1, peer2, … and a place for clients, all healthy.
start_cluster() {
  local count=$1 index
  shift
  [[ -x $checkout/bin/dfs-peer && -d $checkout/dist ]] || { echo 'Build first: npm run build' >&2 && exit 1; }
  [[ -d $programs ]] || "$checkout/node_modules/.bin/tsc" -p "$checkout/test/failover/tsconfig.json"
  place master 1
  commands[master]=dfs-master
  flags_of[master]="--replicas $replicas $master_flags"
  place client 100
  export DFS_MASTER=${address_of[master]}
  start master
  for index in $(seq "$count"); do
    place "peer$index" $((index + 1))
    commands[peer$index]=dfs-peer
    flags_of[peer$index]="--master $DFS_MASTER --zone zone$index $*"
    start "peer$index"
  done
  peers=$(seq -f 'peer%g' "$count")
  wait_healthy 30 || { echo 'The new cluster is not healthy' >&2 && exit 1; }
  wait_settled
}

# Until every peer serves its share and nothing has moved for a second: from then on who serves what stays as it is.
wait_settled() {
  local last='' now
  for _ in $(seq 60); do
    # The epoch, or nothing while a peer has less than half its share.
    now=$(dfs status --json | node -p "
      const { epoch, slots, peers } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
      peers.every(({ primarySlots }) => primarySlots * peers.length * 2 >= slots.total) ? epoch : ''")
    [[ -z $now || $now != "$last" ]] || return 0
    last=$now
    sleep 1
  done
  echo 'The new cluster does not settle' >&2
  return 1
}

# Ends a process by its name and takes it off the list of those that must live.
end_with() {
  local signal=$1 name=$2 pid=${pid_of[$2]} status=0
  unset "pid_of[$name]"
  kill "-$signal" "$pid"
  { wait "$pid" || status=$?; } 2>/dev/null # without the shell's own notice
  last_status=$status
}

kill9() { end_with KILL "$1"; }

# stop NAME: SIGTERM; complains unless it exits 0 within 10 s.
stop() {
  local began
  began=$(now_ms)
  end_with TERM "$1"
  [[ $last_status -eq 0 ]] || complain "$1 ended with $last_status after SIGTERM"
  [[ $(($(now_ms) - began)) -lt 10000 ]] || complain "$1 took $(($(now_ms) - began)) ms to stop"
}

freeze() { kill -STOP "${pid_of[$1]}"; }
thaw() { kill -CONT "${pid_of[$1]}"; }

# --- Clients ---------------------------------------------------------------------------------------------------------

dfs() { (run_at client "$checkout/bin/dfs" --cache "$work/cache" "$@"); }

# field EXPRESSION: prints part of the JSON on stdin, such as ".primary.id".
field() { node -p "(JSON.parse(require('fs').readFileSync(0, 'utf8')))$1"; }

wait_healthy() { dfs --timeout "$1" status --wait healthy >"$work/status.txt" 2>&1; }

epoch() { dfs status --json | field .epoch; }

peer_at() {
  local name
  for name in $peers; do
    if [[ ${address_of[$name]} == "$1" ]]; then echo "$name"; fi
  done
}

id_of() { dfs peers --json | node -e "
  const lines = require('fs').readFileSync(0, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  console.log(lines.find((peer) => peer.address === '${address_of[$1]}').id)"; }

# The daemon that serves NAME as primary, and the one that backs it up.
primary_of() { peer_at "$(dfs locate "$1" --json | field .primary.address)"; }
backup_of() { peer_at "$(dfs locate "$1" --json | field '.backups[0].address')"; }

# start_workload [FLAGS…]: writers and readers in the background; returns when each has had an answer.
start_workload() {
  workload_count=$((workload_count + 1))
  local name=workload$workload_count at=client
  [[ ${1:-} != --at ]] || { at=$2 && shift 2; }
  histories+=("$work/$name.jsonl")
  run_at "$at" node "$programs/workload.js" --master "$DFS_MASTER" --tag "$workload_count" \
    --out "$work/$name.jsonl" --cache "$work/cache-$name" "$@" >"$work/$name.log" 2>&1 &
  pid_of[$name]=$!
  for _ in $(seq 1500); do
    grep -q running "$work/$name.log" && return
    is_alive "${pid_of[$name]}" || break
    sleep 0.02
  done
  echo 'The workload did not start' >&2
  return 1
}

stop_workload() {
  local name=workload${1:-$workload_count}
  end_with TERM "$name"
  [[ $last_status -eq 0 ]] || complain "The workload ended with $last_status: $(tail -n 3 "$work/$name.log")"
}

# start_odd_clients KIND COUNT NAME…: so many connections to each of these daemons; returns when all stand.
start_odd_clients() {
  local kind=$1 count=$2 name
  local -a to=()
  shift 2
  for name in "$@"; do to+=(--to "${address_of[$name]}"); done
  # Gently: they stand for other machines, which would not take this one's time.
  run_at client nice -n 10 node "$programs/odd-clients.js" --kind "$kind" --count "$count" "${to[@]}" >"$work/odd-$kind.log" 2>&1 &
  pid_of[odd-$kind]=$!
  odd_clients+=("odd-$kind")
  for _ in $(seq 1500); do
    grep -q running "$work/odd-$kind.log" && return
    is_alive "${pid_of[odd-$kind]}" || break
    sleep 0.02
  done
  echo "The $kind clients did not start" >&2
  return 1
}

# A file of several segments, stored as "large".
make_large_file() {
  head -c 20000000 /dev/urandom >"$work/large"
  dfs send --quiet --as large "$work/large"
}

# For a quarter of a minute large files go in and out.
pass_large_files() {
  local round
  for round in $(seq 5); do
    sleep 3
    dfs send --quiet --as "large/$round" "$work/large" || complain "a large file was not stored in round $round"
    dfs receive --quiet large -o - | cmp - "$work/large" || complain "a large file was not read in round $round"
  done
}

stop_odd_clients() {
  local name
  for name in "${odd_clients[@]}"; do
    end_with TERM "$name"
    [[ $last_status -eq 0 ]] || complain "$name ended with $last_status: $(tail -n 3 "$work/$name.log")"
  done
  odd_clients=()
}

# watch_pings MS: from now on; stop_pings sets $late to the percentage of looks at which one was not answered in time.
watch_pings() {
  run_at client node "$programs/ping-watch.js" --master "$DFS_MASTER" --within "$1" >"$work/pings" 2>&1 &
  pid_of[pings]=$!
}

stop_pings() {
  end_with TERM pings
  late=$(tail -n 1 "$work/pings")
}

# judge_pings MS: 99 % were answered in time; scripts/test.sh grants more where other work shares the machine.
judge_pings() {
  awk -v late="$late" -v slack="${DFS_PAUSE_SLACK:-1}" 'BEGIN {exit !(late != "" && late + 0 <= slack)}' ||
    complain "$late % of pings took over $1 ms"
}

# --- The end of a row ------------------------------------------------------------------------------------------------

# wait_whole: all slots must be whole within 20 s from now.
wait_whole() {
  local began took
  began=$(now_ms)
  wait_healthy 20 || complain "Not whole within 20 s: $(head -c 300 "$work/status.txt" | tr '\n' ' ')"
  took=$(($(now_ms) - began))
  [[ $took -le $whole_after_ms ]] || whole_after_ms=$took
}

# in_sync_ms PEER: by the master's log, from the moment it heard of the peer's new process until the cluster was healthy
# again; nothing when it is not yet.
in_sync_ms() {
  dfs events --json | node -e "
    const lines = require('fs').readFileSync(0, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
    const returned = lines.findLast(({ kind, peer }) => kind === 'peer-started' && peer === '$(id_of "$1")');
    const later = lines.filter(({ seq, kind }) => seq > returned?.seq && kind === 'health');
    const healthy = later.find(({ data }) => data.health === 'healthy');
    if (healthy !== undefined) console.log(new Date(healthy.at) - new Date(returned.at));"
}

# finish [FLAGS of judge-row…]: stops the workload, looks at every copy, judges, prints the row's line.
finish() {
  local name status=0
  local -a flags=()
  for name in "${!pid_of[@]}"; do
    is_alive "${pid_of[$name]}" || complain "$name ended, which nobody asked for"
  done
  [[ ${#histories[@]} -eq 0 || -z ${pid_of[workload$workload_count]:-} ]] || stop_workload
  (run_at client node "$programs/deep-check.js" --master "$DFS_MASTER" --cache "$work/cache-check") \
    >"$work/deep-check.txt" 2>&1 || complain "Deep check: $(head -n 3 "$work/deep-check.txt" | tr '\n' ';')"
  for name in "${histories[@]}"; do flags+=(--history "$name"); done
  for name in "${complaints[@]}"; do flags+=(--complaint "$name"); done
  is_done=1
  node "$programs/judge-row.js" --row "$row" --whole-after "$whole_after_ms" \
    --commit "$(git -C "$checkout" rev-parse --short HEAD 2>/dev/null || echo unknown)" \
    --results "${DFS_RESULTS:-}" "${flags[@]}" "$@" || status=$?
  exit "$status"
}
