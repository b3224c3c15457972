/**
 * What an operator asks of a peer: to be drained, kept through a maintenance, weighed anew, taken out of the cluster.
 *
 * Only the wish changes here; the planner then moves copies one safe step at a time. A peer goes for good only when
 * nothing depends on it. Pure. Every function returns the same map when nothing changed. Serves S7.
 */
import { refuse } from '../core/errors.js';
import type { PeerId } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { type ClusterMap, isRunning, type PeerMode, type PeerRecord, peerOf } from './map.js';
import { lastHeldBy, waitingWith, withPeerRecord } from './membership.js';
import { isPlaced } from './placement.js';
import { without, withSlots } from './slot-record.js';

export type PeerOperation =
  | { readonly kind: 'drain' | 'enable' | 'maintenance' | 'remove' | 'repair' }
  | { readonly kind: 'set'; readonly weight?: number; readonly zone?: string };

/** Refuses `not-found`, `invalid`, and `conflict` for what would cost a copy that nobody else has. */
export function withOperation(map: ClusterMap, id: PeerId, operation: PeerOperation): ClusterMap {
  const peer = peerOf(map, id);
  if (peer === undefined) return refuse('not-found', `No peer has the id ${id}`, { advice: 'See dfs peers' });
  if (peer.state === 'removed' && operation.kind !== 'remove') {
    return refuse('conflict', `${id} was removed from the cluster`, {
      advice: 'Start it on an empty data folder to join as a new peer',
    });
  }
  switch (operation.kind) {
    case 'drain':
      return withMode(map, peer, 'draining');
    case 'maintenance':
      return withMode(map, peer, 'maintenance');
    case 'enable':
      return withMode(map, peer, 'normal');
    case 'set':
      return withPlace(map, peer, operation);
    case 'repair':
      return withRepair(map, peer);
    case 'remove':
      return withPeerRemoved(map, peer);
  }
}

/** How many slots name the peer, as in sync or as joining. */
export function slotsOn(map: ClusterMap, id: PeerId): number {
  return map.slots.filter(({ inSync, joining }) => inSync.includes(id) || joining.includes(id)).length;
}

function withMode(map: ClusterMap, peer: PeerRecord, mode: PeerMode): ClusterMap {
  // Under maintenance nothing of it is made anew, also what was begun already.
  if (peer.mode === 'set-aside' && mode !== 'normal') {
    refuse('conflict', `${peer.id} is set aside: what it holds may be more than the others have, or less`, {
      advice: `Keep its folder if in doubt. dfs peer enable ${peer.id} makes its copies equal to the others'`,
    });
  }
  const isOut = peer.isOut && mode !== 'maintenance';
  const after = withPeerRecord(map, { ...peer, mode, isOut });
  if (mode === 'draining' && !after.peers.some(isPlaced)) {
    refuse('conflict', `Nobody would be left to hold anything without ${peer.id}`, {
      advice: 'Start another peer first, or dfs peer enable one that is drained',
    });
  }
  return after;
}

function withPlace(map: ClusterMap, peer: PeerRecord, place: { weight?: number; zone?: string }): ClusterMap {
  const { weight = peer.weight, zone = peer.zone } = place;
  if (!(weight >= 0 && weight <= limits.weightMax)) {
    refuse('invalid', `A peer's weight must be 0 to ${limits.weightMax}, not ${weight}`);
  }
  if (zone === '') refuse('invalid', 'A zone needs a name');
  const after = withPeerRecord(map, { ...peer, weight, zone });
  // Where nobody holds anything just now, as all are away, that is no reason against more weight or another zone.
  if (weight === 0 && peer.weight > 0 && !after.peers.some(isPlaced)) {
    refuse('conflict', `Nobody else would hold anything: ${peer.id} is the last peer`);
  }
  return after;
}

function withRepair(map: ClusterMap, peer: PeerRecord): ClusterMap {
  if (isRunning(peer)) {
    refuse('conflict', `${peer.id} runs: nothing on it is to be made anew elsewhere`, {
      advice: `To empty it: dfs peer drain ${peer.id}. To check what it holds: dfs scrub --peer ${peer.id}`,
    });
  }
  const mode = peer.mode === 'maintenance' ? 'normal' : peer.mode;
  return withPeerRecord(map, { ...peer, mode, isOut: true });
}

/** Slots in sync on this peer and on others of which none runs: nobody knows which of their disks will return. */
function lastHeldAmongDown(map: ClusterMap, id: PeerId): { slotCount: number; others: readonly PeerId[] } {
  const running = new Set(map.peers.filter(isRunning).map((peer) => peer.id));
  const held = map.slots.filter(({ inSync }) => inSync.includes(id) && !inSync.some((peer) => running.has(peer)));
  const others = new Set(held.flatMap(({ inSync }) => inSync.filter((peer) => peer !== id)));
  return { slotCount: held.length, others: [...others] };
}

/** A running peer must hold nothing any more; one that is down must not be the last to hold anything. */
function withPeerRemoved(map: ClusterMap, peer: PeerRecord): ClusterMap {
  const { id } = peer;
  if (peer.state === 'removed') return map;
  const held = slotsOn(map, id);
  if (isRunning(peer) && held > 0) {
    refuse('conflict', `${id} still holds copies of ${held} slots`, {
      advice: `Move them first: dfs peer drain ${id} --wait`,
    });
  }
  const lone = lastHeldBy(map, id).length;
  if (lone > 0) {
    refuse('conflict', `${id} has the only copy of ${lone} slots: to remove it would lose them`, {
      advice: `Bring ${id} back. Only if its disk is gone for good: dfs force-promote`,
    });
  }
  const waiting = waitingWith(map, id).length;
  if (waiting > 0) {
    refuse('conflict', `${waiting} slots wait for what ${id} or others named there know, since the map was recovered`, {
      advice:
        'Start the peers that dfs status names. Only for one that is gone for good, with the master stopped: ' +
        'dfs-master recover --accept-missing ID',
    });
  }
  const { slotCount, others } = lastHeldAmongDown(map, id);
  if (slotCount > 0) {
    refuse('conflict', `Of ${slotCount} slots ${id} has a copy, and all others are on peers that are down too`, {
      advice: `Bring one of them back first: ${others.join(', ')}`,
    });
  }
  const led = map.slots.filter(({ primary }) => primary === id).length;
  if (led > 0) refuse('unavailable', `${id} still leads ${led} slots`, { advice: 'Try again in a few seconds' });
  const removed = withPeerRecord(map, { ...peer, state: 'removed', isOut: false });
  return withSlots(removed, (record, _slot, epoch) =>
    record.inSync.includes(id) || record.joining.includes(id) ? without(record, { peer: id, epoch }) : record,
  );
}
