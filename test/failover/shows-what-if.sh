#!/usr/bin/env bash
# Three random sets of peers: what-if tells which files could not be read or written without them, and how many; then
# they are killed, and every file is tried. DFS_SEED=N picks the same sets again.
. "$(dirname "$0")/lib.sh"
seed=${DFS_SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$seed
start_cluster 5
small=$(seq -f 'small/%g' 300)
large=$(seq -f 'large/%g' 8)
mkdir "$work/small" "$work/large"
for name in $small; do echo "$name" >"$work/$name"; done
for name in $large; do head -c 9000000 /dev/urandom >"$work/$name"; done
dfs send --quiet --recursive "$work/small" "$work/large"
wait_whole
note="seed $seed: "

# disagreements TOLD FOUND: what was foretold of the names against what they were found to be, in sentences.
disagreements() {
  node -e "
    const { readFileSync } = require('fs');
    const [told, found] = process.argv.slice(1).map((path) => JSON.parse(readFileSync(path, 'utf8')));
    const isSmall = (name) => name.startsWith('small/');
    const differ = (what, a, b) => {
      const [x, y] = [a.filter((n) => !b.includes(n)), b.filter((n) => !a.includes(n))];
      if (x.length + y.length > 0) console.log(what + ': foretold only ' + x.slice(0, 5) + '; found only ' + y.slice(0, 5));
    };
    differ('unreadable', told.names.unreadable, found.unreadable);
    differ('unwritable', told.names.unwritable.filter(isSmall), found.unwritable);
    differ('lost, with everybody else running', told.names.lost, told.names.unreadable);
    for (const kind of ['unreadable', 'unwritable']) {
      // A large file counts where its name is, though its pieces are elsewhere, too.
      const least = told.names[kind].filter(isSmall).length;
      const most = told.names[kind].length;
      const { files } = told[kind];
      if (files < least || files > most) console.log(kind + ': ' + files + ' files, but ' + least + ' to ' + most + ' names');
    }" "$1" "$2"
}

for round in 1 2 3; do
  least=$((round == 2 ? 2 : 1)) # copies that a write needs
  dfs set min-in-sync "$least" --quiet
  size=$((2 + RANDOM % 2))
  victims=$(printf '%s\n' $peers | while read -r name; do echo "$RANDOM $name"; done | sort -n | head -n "$size" |
    cut -d ' ' -f 2)
  ids=
  # Under maintenance, so that nothing is copied anew while it is looked at.
  for name in $victims; do
    ids="$ids $(id_of "$name")"
    dfs peer maintenance "$(id_of "$name")" --quiet
  done
  # shellcheck disable=SC2086
  dfs what-if --stop $ids --names --json >"$work/told.json" || true
  for name in $victims; do kill9 "$name"; done
  for _ in $(seq 200); do
    [[ $(dfs peers --json | grep -c '"state":"down"') -eq $size ]] && break
    sleep 0.05
  done
  (run_at client node "$programs/reachable.js" --master "$DFS_MASTER" --cache "$work/cache-reachable" \
    --names "$small"$'\n'"$large") >"$work/found.json" 2>"$work/found.txt" || complain "$(head -n 3 "$work/found.txt")"
  while read -r line; do complain "Without $(echo $victims): $line"; done < <(disagreements "$work/told.json" "$work/found.json")
  note+="$(echo $victims) with $least needed: $(node -p "
    const { unreadable, unwritable } = JSON.parse(require('fs').readFileSync('$work/found.json', 'utf8'));
    unreadable.length + ' unreadable, ' + unwritable.length + ' unwritable'"); "
  for name in $victims; do start "$name"; done
  for id in $ids; do dfs peer enable "$id" --quiet; done
  wait_whole
done
dfs set min-in-sync 1 --quiet
finish --note "$note"
