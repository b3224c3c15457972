#!/usr/bin/env bash
# R = 3: the same as shows-any-peer.sh for any two of four peers.
DFS_REPLICAS=3
. "$(dirname "$0")/shows-any-peer.sh"
