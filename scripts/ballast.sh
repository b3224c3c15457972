#!/usr/bin/env bash
# Holds touched memory in a file below FOLDER, a tmpfs, and gives it up as other files there grow; says "ready" once all
# of it is touched, and runs until it is ended.
#   scripts/ballast.sh FOLDER BYTES
# The first touch of memory that a virtual machine's host has yet to give, or has taken back, costs several times what
# the next one does, and now and then stops a process for a second. What is measured would be that.
set -euo pipefail
folder=$1 left=$2
ballast=$(mktemp "$folder/ballast-XXXXXX")
trap 'rm -f "$ballast"; exit 0' TERM INT
trap 'rm -f "$ballast"' EXIT
in_use() { df --output=used -B1 "$folder" | tail -n 1; }

head -c "$left" /dev/zero >"$ballast"
full=$(($(in_use) - 512 * 1024 * 1024))
echo ready
while [ "$left" -gt 0 ]; do
  over=$(($(in_use) - full))
  over=$((over > 0 ? over : 0))
  left=$((left > over ? left - over : 0))
  truncate -s "$left" "$ballast"
  sleep 0.1 &
  wait $!
done
rm -f "$ballast"
exec sleep infinity
