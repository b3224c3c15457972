#!/usr/bin/env bash
# Installs what is missing, builds, and runs every check and test; the last line says "N passed, N failed".
#   scripts/test.sh [--full]     --full: every failover row, not only the short choice
# Skipped tests are counted; with CI=true a skip is a failure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

full=
for argument in "$@"; do
  case $argument in
    --full) full=1 ;;
    *) sed -n '2,4s/^# \{0,1\}//p' "$0" && exit 2 ;;
  esac
done

passed=0 failed=0 skipped=0

# step TITLE COMMAND…: one check, which passes or fails as a whole.
step() {
  local title=$1
  shift
  echo "== $title"
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "!! failed: $title"
    false
  fi
}

finish() {
  if [[ ${CI:-} == true && $skipped -gt 0 ]]; then
    echo "$skipped skipped, which CI does not allow"
    failed=$((failed + skipped))
  elif [[ $skipped -gt 0 ]]; then
    echo "$skipped skipped"
  fi
  echo "$passed passed, $failed failed"
  [[ $failed -eq 0 ]]
  exit
}

has_node() {
  node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' 2>/dev/null ||
    { echo 'Node 20.19 or newer is needed' && false; }
}

# Commands that tests call, each with the Debian package that brings it.
install_system_packages() {
  local missing=() pair
  for pair in strace:strace ip:iproute2 mkfs.ext4:e2fsprogs cmp:diffutils git:git; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    apt-get install -qq -y "${missing[@]}" >/dev/null 2>&1 ||
      { apt-get update -qq && apt-get install -qq -y "${missing[@]}" >/dev/null; }
  else
    echo "Not installed: ${missing[*]} (tests that need them are skipped)"
  fi
}

install_node_packages() {
  [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci --ignore-scripts --no-audit --no-fund
}

unit_and_process_tests() {
  local report=dist-test/vitest.json
  mkdir -p dist-test
  rm -f "$report"
  local status=0
  npx --no-install vitest run --reporter=default --reporter=json --outputFile.json="$report" || status=$?
  [[ -f $report ]] || { echo 'vitest wrote no report' && failed=$((failed + 1)) && return; }
  local counts
  read -r -a counts < <(node -p "const report = JSON.parse(require('fs').readFileSync('$report', 'utf8'));
    const hasNoFailedTest = (suite) => suite.assertionResults.every((test) => test.status !== 'failed');
    const broken = report.testResults.filter((suite) => suite.status === 'failed' && hasNoFailedTest(suite));
    const skipped = report.numPendingTests + report.numTodoTests;
    [report.numPassedTests, report.numFailedTests + broken.length, skipped].join(' ')")
  passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
  # An error outside any test, such as a worker that died.
  [[ $status -eq 0 || ${counts[1]} -gt 0 ]] || failed=$((failed + 1))
}

# Always the same seeds, so that what fails here fails everywhere; npm run simulate draws others.
a_minute_of_seeds() {
  npm run --silent simulate -- --from 1 --seeds 900 --minutes 1
}

# In memory, where there is: a disk's syncs would hide what the programs do.
nothing_is_twice_as_slow() {
  local folder=${TMPDIR:-/tmp}
  if [[ $(df --output=avail -BM /dev/shm 2>/dev/null | tail -n 1 | tr -dc 0-9) -gt 4000 ]]; then folder=/dev/shm; fi
  DFS_GUARD=1 TMPDIR=$folder npx --no-install vitest run
}

failover_rows() {
  local counts
  test/failover/run.sh "$1" | tee dist-test/failover.txt
  counts=$(tail -n 1 dist-test/failover.txt)
  if [[ $counts =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped ]]; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
  else
    failed=$((failed + 1))
  fi
}

step 'Node is new enough' has_node || finish
step 'Debian packages' install_system_packages
step 'Node packages' install_node_packages || finish
step 'Format and lint (biome)' npx --no-install biome check .
step 'Types (tsc)' npx --no-install tsc -p tsconfig.json
rm -rf dist dist-test
step 'Build' npm run --silent build || finish
echo '== Unit, contract and process tests (vitest)'
unit_and_process_tests
step 'A minute of simulated clusters' a_minute_of_seeds
step 'Nothing takes twice as long as it did' nothing_is_twice_as_slow
echo '== Failover with real daemons'
# The short choice runs on machines that do other work too: it shows that nothing is lost and that everything comes
# back; how long the pauses are is for --full, on a quiet machine.
if [[ -n $full ]]; then failover_rows --full; else DFS_PAUSE_SLACK=${DFS_PAUSE_SLACK:-5} failover_rows --short; fi
finish
