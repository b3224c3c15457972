/**
 * Disks that are gone for good: which slots no copy is left of, what a cluster can still become, and whether it says
 * exactly what it has lost.
 */
import type { ClusterMap, SlotRecord } from '../../../src/cluster/map.js';
import { wantedPlacement } from '../../../src/cluster/placement.js';
import type { PeerId, SlotNumber, StoreId } from '../../../src/core/ids.js';
import type { SimCluster } from '../cluster.js';

/** The part of the master's status that tells of slots. */
export interface SlotStatus {
  readonly health: string;
  readonly reasons: readonly string[];
  readonly slots: { readonly total: number; readonly unavailable: number };
}

/** In sync in the newest durable map are only stores that exist no more. */
export function lostSlots(map: ClusterMap, isGone: (store: StoreId) => boolean): ReadonlySet<SlotNumber> {
  const gone = goneIn(map, isGone);
  const isLost = ({ inSync }: SlotRecord): boolean => inSync.length > 0 && inSync.every((peer) => gone.has(peer));
  return new Set(map.slots.flatMap((record, slot) => (isLost(record) ? [slot] : [])));
}

/**
 * Every slot has all the copies it can have: those wanted of peers whose stores exist. A peer that is gone for good is
 * waited for, with the slots that only it held.
 */
export function isComplete(map: ClusterMap, on: { hosts: number; isGone: (store: StoreId) => boolean }): boolean {
  const gone = goneIn(map, on.isGone);
  const present = map.peers.filter((peer) => !gone.has(peer.id));
  if (present.length !== on.hosts || present.some((peer) => peer.state !== 'up')) return false;
  const lost = lostSlots(map, on.isGone);
  const wanted = wantedPlacement(map.peers, map.slots.length, map.pool.replicas);
  return map.slots.every((record, slot) => {
    if (lost.has(slot)) return true;
    const missing = (wanted[slot] ?? []).filter((peer) => !gone.has(peer) && !record.inSync.includes(peer));
    return missing.length === 0 && record.joining.length === 0 && !record.inSync.some((peer) => gone.has(peer));
  });
}

function goneIn(map: ClusterMap, isGone: (store: StoreId) => boolean): ReadonlySet<PeerId> {
  return new Set(map.peers.filter(({ storeId }) => isGone(storeId)).map(({ id }) => id));
}

/** Whether slots are lost though no disk was that held the last copy. */
export function lossComplaints({ monitor }: SimCluster): string[] {
  const isUnexpected = monitor.lostUnexpectedly().size > 0;
  return isUnexpected ? [`${lossOf(monitor.lostSlots())}, though no disk was lost that held the last one`] : [];
}

/** Whether the cluster says of exactly the slots that are lost that nobody can serve them. */
export function reportComplaints({ map, status, monitor }: SimCluster): string[] {
  if (map === undefined || status === undefined) return ['The master does not run'];
  const lost = monitor.lostSlots();
  const complaints: string[] = [];
  if (status.slots.unavailable !== lost.size) {
    complaints.push(`The cluster reports ${status.slots.unavailable} slots that nobody serves: ${lossOf(lost)}`);
  }
  if ((status.health === 'unavailable') !== lost.size > 0) {
    complaints.push(`The cluster calls itself ${status.health} (${status.reasons.join('; ')}): ${lossOf(lost)}`);
  }
  return complaints;
}

function lossOf(lost: ReadonlySet<SlotNumber>): string {
  return lost.size === 0 ? 'no slot is lost' : `of slots ${[...lost].join()} no copy is left`;
}
