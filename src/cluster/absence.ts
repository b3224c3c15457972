/**
 * When the copies of a peer that is down are made anew on others: after a grace, so that a reboot moves nothing.
 *
 * The peer is then *out*: placement goes on without it, and the planner fills the gaps, fewest copies first. Its return
 * ends that at once: what it still has is compared, not copied, and what was made elsewhere meanwhile becomes surplus.
 * Pure. Serves S7.
 */
import type { PeerId } from '../core/ids.js';
import { timing } from '../core/timing.js';
import { type ClusterMap, isRunning, type PeerRecord, type SlotRecord } from './map.js';
import type { Placement } from './placement.js';

export interface Absence {
  readonly sinceMs: number;
  /** It stopped on purpose: most likely for a moment. */
  readonly saidGoodbye: boolean;
}

/**
 * Whether so many peers are away that this looks like a cold start, a switch or a rack, not like peers that are gone:
 * more than half of them. To copy then would fill the rest of the disks for nothing.
 */
export function areTooManyAway(map: ClusterMap): boolean {
  const members = map.peers.filter(({ state, mode }) => state !== 'removed' && mode !== 'maintenance');
  return members.filter((peer) => !isRunning(peer)).length * 2 > members.length;
}

/**
 * Peers that are to be out from now on; nobody while too many are away. `wanted` is the placement of `map`: with
 * everybody in it who is not out yet. Peers under maintenance, removed or up never are. The grace counts from
 * `calmSinceMs` at the earliest: since then the master has run, and not too many were away.
 */
export function dueToBeOut(
  map: ClusterMap,
  wanted: Placement,
  on: { absences: ReadonlyMap<PeerId, Absence>; calmSinceMs: number; nowMs: number },
): readonly PeerId[] {
  const candidates = map.peers.filter((peer) => mayBeOut(peer) && on.absences.has(peer.id));
  if (candidates.length === 0 || areTooManyAway(map)) return [];
  const leastCopies = leastCopiesAround(map, wanted);
  return candidates.flatMap(({ id }) => {
    const absence = on.absences.get(id) as Absence;
    const graceMs = graceOf(map, { absence, copies: leastCopies.get(id) ?? Number.POSITIVE_INFINITY });
    return on.nowMs - Math.max(absence.sinceMs, on.calmSinceMs) >= graceMs ? [id] : [];
  });
}

/** The peers given are out: their copies are made anew. The same map when they are already, or may not be. */
export function withOut(map: ClusterMap, ids: readonly PeerId[]): ClusterMap {
  const isDue = (peer: PeerRecord): boolean => ids.includes(peer.id) && mayBeOut(peer);
  if (!map.peers.some(isDue)) return map;
  const peers = map.peers.map((peer) => (isDue(peer) ? { ...peer, isOut: true } : peer));
  return { ...map, epoch: map.epoch + 1, peers };
}

function mayBeOut(peer: PeerRecord): boolean {
  const isAway = peer.state === 'down' || peer.state === 'awaited';
  return isAway && !peer.isOut && peer.mode !== 'maintenance';
}

/** One copy left is urgent, and too few to write even more so (rule F25). */
function graceOf(map: ClusterMap, on: { absence: Absence; copies: number }): number {
  const { repairGraceMs, pool } = map;
  if (on.absence.saidGoodbye) return repairGraceMs;
  if (on.copies < pool.minInSync) return 0;
  return on.copies <= 1 && pool.replicas > 1 ? Math.min(timing.loneCopyGraceMs, repairGraceMs) : repairGraceMs;
}

/**
 * For each peer the fewest copies in sync on running peers that a slot has which is on it, or should be. Slots without
 * any wait for their holder: nothing can be copied from nobody.
 */
function leastCopiesAround(map: ClusterMap, wanted: Placement): ReadonlyMap<PeerId, number> {
  const running = new Set(map.peers.filter(isRunning).map((peer) => peer.id));
  const least = new Map<PeerId, number>();
  map.slots.forEach((record: SlotRecord, slot) => {
    const copies = record.inSync.filter((id) => running.has(id)).length;
    if (copies === 0) return;
    for (const id of new Set([...record.inSync, ...(wanted[slot] ?? [])])) {
      least.set(id, Math.min(least.get(id) ?? Number.POSITIVE_INFINITY, copies));
    }
  });
  return least;
}
