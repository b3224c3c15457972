#!/usr/bin/env bash
# One peer's disk reads slowly: now and then, then always. Late reads are asked of the other copy too (at most 5 % more
# requests); a disk that is always slow is shown, and read last. Prints median and 99th percentile of 200 receives each.
. "$(dirname "$0")/lib.sh"
command -v strace >/dev/null || skip 'there is no strace (Debian package strace)'
start_cluster 3
slow=peer2
slow_id=$(id_of $slow)
delay_ms=250
head -c 5000000 /dev/urandom >"$work/body"

# Files of five segments; those whose record is with another peer can be read around the slow one from the first.
mine=() others=() note=
for index in $(seq 40); do
  [[ ${#mine[@]} -lt 3 || ${#others[@]} -lt 6 ]] || break
  name=slow/$index
  if [[ $(primary_of "$name") == "$slow" ]]; then mine+=("$name"); else others+=("$name"); fi
  dfs send --quiet --segment-size 1048576 --as "$name" "$work/body"
done

# slow_down [WHEN]: reads of the slow peer's files are late, or those that strace's `when` says.
slow_down() {
  strace -f --seccomp-bpf -qq -p "${pid_of[$slow]}" -e trace=pread64 \
    -e "inject=pread64:delay_enter=$((delay_ms * 1000))${1:+:when=$1}" -o /dev/null 2>"$work/strace.txt" &
  pid_of[tracer]=$!
  sleep 1
}

# receives TITLE NAME…: 200 of them; leaves $work/TITLE.json.
receives() {
  local title=$1
  shift
  (run_at client node "$programs/timed-receives.js" --master "$DFS_MASTER" --count 200 "$@") >"$work/$title.json" ||
    complain "$title: a receive failed"
}
of() { field ".$2" <"$work/$1.json"; }
is_slow() { [[ $(dfs peers --json | grep -F "\"id\":\"$slow_id\"" | field .isSlow) == true ]]; }

receives usual "${mine[@]}" "${others[@]}"

slow_down 20+20
receives sometimes "${others[@]}"
end_with INT tracer
[[ $(of sometimes hedges) -gt 0 ]] || complain 'No late read was asked of the other copy'

slow_down
for _ in $(seq 10); do
  is_slow && break
  receives unknown "${mine[@]}" "${others[@]}"
  sleep 1
done
is_slow || complain "$slow_id is not shown as slow: $(dfs peers --json | tr '\n' ' ' | cut -c1-900)"
dfs status | grep -q "$slow_id is slower than the others" || complain 'The status does not tell of the slow peer'
receives known "${mine[@]}" "${others[@]}"
end_with INT tracer

for title in usual sometimes unknown known; do
  [[ -s $work/$title.json ]] || continue
  [[ $(($(of $title hedges) * 20)) -le $(of $title requests) ]] ||
    complain "$title: $(of $title hedges) hedges in $(of $title requests) requests, over 5 %"
  note+="$title: median $(of $title medianMs) ms, p99 $(of $title p99Ms) ms, $(of $title hedges) of $(of $title requests) requests hedged; "
done
[[ $(of known p99Ms) -lt $((delay_ms)) ]] || complain "A receive past the slow disk takes $(of known p99Ms) ms"
finish --note "reads late by $delay_ms ms: ${note%; }"
