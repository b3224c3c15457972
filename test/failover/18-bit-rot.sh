#!/usr/bin/env bash
# Row 18: on the primary a stored file loses a bit, is cut short, is removed, or two are swapped. Readers get the right
# bytes from another copy, and the bad copy is repaired.
. "$(dirname "$0")/lib.sh"
start_cluster 3
for index in 1 2 3 4 5; do head -c 300000 /dev/urandom >"$work/body$index"; done
for index in 1 2 3 4 5; do dfs send --quiet --as "rot/$index" "$work/body$index"; done
start_workload --names 20 --rate 20

# The file on the primary's disk that holds body INDEX: the one with its first bytes behind the header.
stored_file() {
  local index=$1 primary candidate
  primary=$(primary_of "rot/$index")
  while read -r candidate; do
    cmp -s <(tail -c +4097 "$candidate" | head -c 4096) <(head -c 4096 "$work/body$index") || continue
    echo "$candidate"
    return
  done < <(find "$work/$primary" -type f -size +250k -size -400k)
  true
}

declare -A files=()
for index in 1 2 3 4 5; do
  files[$index]=$(stored_file "$index")
  [[ -n ${files[$index]} ]] || complain "No stored file holds rot/$index"
done

if [[ ${#complaints[@]} -eq 0 ]]; then
  printf '\x5a\xa5' | dd of="${files[1]}" bs=1 seek=200000 conv=notrunc status=none
  truncate -s 100000 "${files[2]}"
  rm "${files[3]}"
  mv "${files[4]}" "$work/swap"
  mv "${files[5]}" "${files[4]}"
  mv "$work/swap" "${files[5]}"
fi

copies_of() { dfs locate "rot/$1" --json | field '.segments[0].copies.map((copy) => copy.state).join()'; }
copies_are_ok() { [[ $(copies_of "$1") == ok,ok ]]; }
for index in 1 2 3 4 5; do
  ! copies_are_ok "$index" || complain "locate does not notice the damage of rot/$index"
  dfs receive --quiet "rot/$index" -o - | cmp - "$work/body$index" || complain "rot/$index came back wrong"
done
for index in 1 2 3 4 5; do
  for _ in $(seq 40); do
    copies_are_ok "$index" && continue 2
    sleep 0.25
  done
  complain "rot/$index is not repaired: $(copies_of "$index")"
done
for index in 1 2 3 4 5; do
  dfs receive --quiet "rot/$index" -o - | cmp - "$work/body$index" || complain "rot/$index is wrong after its repair"
done
wait_whole
finish --no-failures
