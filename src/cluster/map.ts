/**
 * The cluster map: who holds and who serves each slot, as an immutable value.
 *
 * Only the master makes new maps; each has a higher epoch and is durable before anyone may see it. `slotEpoch` rises
 * whenever the slot's record changes in any way and is the only thing that fences; `term` is the slotEpoch at which the
 * slot's primary was set or restarted (rule F9).
 */
import type { Address, ClusterId, Epoch, PeerId, SlotNumber, StoreId } from '../core/ids.js';

/**
 * Whether the peer runs, as the master judged last; `removed` is for good. `awaited`: since the map was recovered it
 * has not said what it knows (recovery.ts).
 */
export type PeerState = 'up' | 'down' | 'removed' | 'awaited';

/**
 * What an operator wants of the peer: `draining` gives its copies to others; under `maintenance` its copies are made
 * anew by nobody, however long it is down; `set-aside` after a recovery went on without it: it gets no copies, and
 * keeps what it holds.
 */
export type PeerMode = 'normal' | 'draining' | 'maintenance' | 'set-aside';

export interface PeerRecord {
  readonly id: PeerId;
  readonly storeId: StoreId;
  readonly address: Address;
  /** The address whose hash gave the tokens; a later change of address moves nothing. */
  readonly tokenAddress: Address;
  /** The weight it joined with; a later change of weight moves only what it must. */
  readonly tokenWeight: number;
  readonly zone: string;
  readonly weight: number;
  /** What the peer's own flags said last: what an operator has set since stays until they say something else. */
  readonly flagZone: string;
  readonly flagWeight: number;
  readonly state: PeerState;
  readonly mode: PeerMode;
  /** Down for longer than the grace: its copies are made anew on others. Ends with its return. */
  readonly isOut: boolean;
  /** The newest start of the peer's process that the master has answered. */
  readonly incarnation: number;
}

export interface SlotRecord {
  readonly slotEpoch: Epoch;
  readonly term: Epoch;
  /** Undefined before the first peer has joined, and while the slot waits for somebody's answer (recovery.ts). */
  readonly primary: PeerId | undefined;
  /** Holds every acknowledged write of the slot; the primary is one of them. */
  readonly inSync: readonly PeerId[];
  readonly joining: readonly PeerId[];
  /** Set when the primary of this term took over by a handover of that term (rule F20). */
  readonly handoverOf?: Epoch | undefined;
  /** Members that left the set while others stayed, with the slotEpoch of it (rule F26). */
  readonly removed?: readonly { readonly peer: PeerId; readonly atEpoch: Epoch }[] | undefined;
}

export interface Pool {
  readonly name: string;
  readonly replicas: number;
  readonly minInSync: number;
}

export interface ClusterMap {
  readonly clusterId: ClusterId;
  readonly epoch: Epoch;
  /** Random, renewed by recover, with a higher generation of epochs: an old or cloned master is told by it. */
  readonly lineage: string;
  /** The start of the master's process that wrote this map. */
  readonly masterIncarnation: number;
  readonly repairGraceMs: number;
  readonly quarantineMs: number;
  /** Of copies being made, by each peer that sends them; 0: as fast as they go. */
  readonly repairBytesPerSecond: number;
  /** Nothing moves but what is missing copies. */
  readonly movesPaused: boolean;
  readonly pool: Pool;
  /** In order of joining. */
  readonly peers: readonly PeerRecord[];
  /** Index is the slot number; a power of two many. */
  readonly slots: readonly SlotRecord[];
}

export function peerOf(map: ClusterMap, id: PeerId): PeerRecord | undefined {
  return map.peers.find((peer) => peer.id === id);
}

/** Slot of a hash: its top bits. `slotCount` is a power of two. */
export function slotOfHash(hash: bigint, slotCount: number): SlotNumber {
  return Number(hash >> BigInt(64 - Math.log2(slotCount)));
}

/** Marked as running: neither down nor removed. */
export function isRunning(peer: Pick<PeerRecord, 'state'> | undefined): boolean {
  return peer?.state === 'up';
}

/** Recovered, but nobody may lead it yet: somebody who is named here may know more. */
export function isWaiting(record: SlotRecord): boolean {
  return record.primary === undefined && record.inSync.length > 0;
}

/** In sync or joining. */
export function namedIn(record: SlotRecord): readonly PeerId[] {
  return [...record.inSync, ...record.joining];
}

/** In sync but not primary. */
export function backupsOf(record: SlotRecord): readonly PeerId[] {
  return record.inSync.filter((peer) => peer !== record.primary);
}
