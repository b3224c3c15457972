#!/usr/bin/env bash
# Per put, on primary and backup, by strace: the bytes are synced, then the index, then the answer is sent. With syncing
# switched off the same look must find fault.
. "$(dirname "$0")/lib.sh"
command -v strace >/dev/null || skip 'there is no strace (Debian package strace)'
start_cluster 2
head -c 3000000 /dev/urandom >"$work/body"
primary=$(primary_of traced)
backup=$(backup_of traced)
calls=fsync,fdatasync,sync_file_range,read,readv,recvfrom,write,writev,sendto,sendmsg,pwrite64,pwritev

# trace TITLE [STRACE FLAGS…]: one put under strace on both; leaves $work/TITLE-primary and $work/TITLE-backup.
trace() {
  local title=$1 role
  shift
  for role in primary backup; do
    strace -f -yy -qq -s 0 -p "${pid_of[${!role}]}" -e "trace=$calls" "$@" -o "$work/$title-$role" &
    pid_of[tracer-$role]=$!
  done
  sleep 1
  dfs send --quiet --as traced "$work/body" || complain "The put under strace failed ($title)"
  for role in primary backup; do end_with INT "tracer-$role"; done
}

judge_order() { node "$programs/sync-order.js" "$1"; }

trace synced
for role in primary backup; do
  judge_order "$work/synced-$role" >"$work/order" || complain "$role: $(cat "$work/order")"
done
trace unsynced -e inject=fsync,fdatasync:retval=0
for role in primary backup; do
  ! judge_order "$work/unsynced-$role" >"$work/order" || complain "$role passes with syncing switched off"
done
finish --note 'bytes, index, answer, in this order on primary and backup'
