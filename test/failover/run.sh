#!/usr/bin/env bash
# Runs failover rows one after another against the built checkout and says how many passed.
#   test/failover/run.sh [--short | --full] [--table] [ROW…]
# --short   a choice that takes three minutes     --full   every row and every "shows" script, nothing left out
# --table   write docs/failover-results.md from the results
# ROW       the beginning of a script's name: 01, shows-memory, …
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../.." && pwd)
short=(01 02 04 08 15 19)
chosen=()
table=
for argument in "$@"; do
  case $argument in
    --short) chosen+=("${short[@]}") ;;
    --full) chosen+=(0 1 2 shows) && export DFS_FULL=1 ;;
    --table) table=1 ;;
    -*) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 2 ;;
    *) chosen+=("$argument") ;;
  esac
done
[[ ${#chosen[@]} -gt 0 ]] || chosen=("${short[@]}")

export DFS_RESULTS=${DFS_RESULTS:-$checkout/dist-test/failover-results.jsonl}
"$checkout/node_modules/.bin/tsc" -p "$here/tsconfig.json"

passed=0 failed=0 skipped=0
for choice in "${chosen[@]}"; do
  for script in "$here/$choice"*.sh; do
    [[ -f $script ]] || { echo "No row begins with $choice" && exit 2; }
    status=0
    timeout --kill-after=20 "${DFS_ROW_SECONDS:-1200}" "$script" || status=$?
    case $status in
      0) passed=$((passed + 1)) ;;
      77) skipped=$((skipped + 1)) ;;
      *) failed=$((failed + 1)) ;;
    esac
  done
done

if [[ -n $table ]]; then
  machine="$(nproc) cores, $(awk '/MemTotal/ {printf "%.0f GB", $2 / 1048576}' /proc/meminfo), Node $(node --version)"
  machine+=", load average $(cut -d ' ' -f 3 /proc/loadavg) over the last quarter of an hour"
  node "$checkout/dist-test/failover/results-table.js" --results "$DFS_RESULTS" \
    --out "$checkout/docs/failover-results.md" --machine "$machine"
fi
echo "failover rows: $passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
