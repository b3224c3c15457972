/**
 * Where every slot should be, from the peers alone: its primary by the ring with bounded load, its backups by the
 * chain.
 *
 * Peers count as long as they are neither removed nor draining nor set aside nor out, up or down: a reboot moves
 * nothing. This is only the wish; the planner walks there from the map as it is. Pure. Serves S7.
 */
import type { PeerId } from '../core/ids.js';
import { chainOf } from './chain.js';
import { leadersOf } from './leaders.js';
import type { PeerRecord } from './map.js';

/**
 * Index is the slot: its primary, then its backups, no peer twice. Fewer than `replicas` when there are fewer peers.
 */
export type Placement = readonly (readonly PeerId[])[];

export function isPlaced(peer: Pick<PeerRecord, 'state' | 'mode' | 'isOut' | 'weight'>): boolean {
  const mayGetCopies = peer.mode !== 'draining' && peer.mode !== 'set-aside';
  return peer.state !== 'removed' && mayGetCopies && !peer.isOut && peer.weight > 0;
}

/**
 * `peers`: all of the map in order of joining, also those that are no longer placed, as the chain remembers their
 * place. Slots without anybody to hold them have an empty list.
 */
export function wantedPlacement(peers: readonly PeerRecord[], slotCount: number, replicas: number): Placement {
  if (!peers.some(isPlaced)) return Array.from({ length: slotCount }, () => []);
  const chain = chainOf(peers.map((peer) => ({ id: peer.id, zone: peer.zone, isPlaced: isPlaced(peer) })));
  const copyCount = Math.min(replicas, chain.length);
  const holdersOf = (leader: PeerId): readonly PeerId[] => {
    const first = chain.indexOf(leader);
    return Array.from({ length: copyCount }, (_, step) => chain[(first + step) % chain.length] as PeerId);
  };
  const holders = peers.map((peer) => (isPlaced(peer) ? holdersOf(peer.id) : []));
  const leaders = leadersOf(
    peers.map((peer) => ({ ...peer, isPlaced: isPlaced(peer) })),
    slotCount,
  );
  return Array.from(leaders, (leader) => holders[leader] as readonly PeerId[]);
}

/**
 * The least that any placement with these shares would have to move, chained or not: what peers hold more than before.
 */
export function leastMovedCopies(before: Placement, after: Placement): number {
  const held = copyCounts(before);
  let gained = 0;
  for (const [peer, count] of copyCounts(after)) gained += Math.max(0, count - (held.get(peer) ?? 0));
  return gained;
}

function copyCounts(placement: Placement): Map<PeerId, number> {
  const counts = new Map<PeerId, number>();
  for (const wanted of placement) for (const peer of wanted) counts.set(peer, (counts.get(peer) ?? 0) + 1);
  return counts;
}
