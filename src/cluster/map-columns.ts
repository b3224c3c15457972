/**
 * The slots of a cluster map as columns of small numbers: epochs and peers become indexes into short tables.
 *
 * Most slots share their epochs with many others, so a map of 1024 slots fits in a few kilobytes (protocol/map-codec.ts
 * writes the bytes). The columns of one map are always the same, so that equal maps have equal bytes.
 */
import { assertDefined } from '../core/assert.js';
import { refuse } from '../core/errors.js';
import type { Epoch, PeerId } from '../core/ids.js';
import type { ClusterMap, SlotRecord } from './map.js';

export interface MapColumns {
  /** Every epoch that some slot names, ascending. */
  readonly epochs: readonly Epoch[];
  /** A number for each slot. Indexes into `epochs`. */
  readonly slotEpochs: readonly number[];
  readonly terms: readonly number[];
  /** Here and below 0 is "none", else the index into the map's peers or into `epochs`, plus one. */
  readonly primaries: readonly number[];
  readonly handovers: readonly number[];
  /** How many peers of `members` are the slot's in sync, and then how many its joining. */
  readonly inSyncCounts: readonly number[];
  readonly joiningCounts: readonly number[];
  readonly removedCounts: readonly number[];
  /** For slot after slot: indexes of the peers in sync, then of those joining. */
  readonly members: readonly number[];
  /** For slot after slot: index of the peer, then of the epoch. */
  readonly removed: readonly number[];
}

export function toColumns(map: Pick<ClusterMap, 'peers' | 'slots'>): MapColumns {
  const { slots } = map;
  const epochs = [...epochsOf(slots)].sort((a, b) => a - b);
  const epochIndexes = new Map(epochs.map((epoch, index) => [epoch, index]));
  const peerIndexes = new Map(map.peers.map((peer, index) => [peer.id, index]));
  const epochIndex = (epoch: Epoch): number => assertDefined(epochIndexes.get(epoch), `Epoch ${epoch} has no index`);
  const peerIndex = (id: PeerId): number => assertDefined(peerIndexes.get(id), `The map does not list peer ${id}`);
  const members: number[] = [];
  const removed: number[] = [];
  for (const slot of slots) {
    for (const peer of slot.inSync) members.push(peerIndex(peer));
    for (const peer of slot.joining) members.push(peerIndex(peer));
    for (const { peer, atEpoch } of slot.removed ?? []) removed.push(peerIndex(peer), epochIndex(atEpoch));
  }
  return {
    epochs,
    slotEpochs: slots.map((slot) => epochIndex(slot.slotEpoch)),
    terms: slots.map((slot) => epochIndex(slot.term)),
    primaries: slots.map((slot) => (slot.primary === undefined ? 0 : peerIndex(slot.primary) + 1)),
    handovers: slots.map((slot) => (slot.handoverOf === undefined ? 0 : epochIndex(slot.handoverOf) + 1)),
    inSyncCounts: slots.map((slot) => slot.inSync.length),
    joiningCounts: slots.map((slot) => slot.joining.length),
    removedCounts: slots.map((slot) => slot.removed?.length ?? 0),
    members,
    removed,
  };
}

/** Refuses `invalid` columns that point outside their tables or are too short. An empty `removed` becomes absent. */
export function fromColumns(columns: MapColumns, peers: readonly PeerId[]): readonly SlotRecord[] {
  const epochAt = (index: number | undefined): Epoch => at(columns.epochs, index, 'epoch');
  const peerAt = (index: number | undefined): PeerId => at(peers, index, 'peer');
  let member = 0;
  let gone = 0;
  const takePeers = (count: number): readonly PeerId[] => {
    const taken: PeerId[] = [];
    for (let each = 0; each < count; each++) taken.push(peerAt(columns.members[member++]));
    return taken;
  };
  const takeRemoved = (count: number): SlotRecord['removed'] => {
    const taken: NonNullable<SlotRecord['removed']>[number][] = [];
    for (let each = 0; each < count; each++) {
      taken.push({ peer: peerAt(columns.removed[gone++]), atEpoch: epochAt(columns.removed[gone++]) });
    }
    return taken;
  };
  return columns.slotEpochs.map((slotEpoch, slot) => {
    const primary = columns.primaries[slot] ?? 0;
    const handover = columns.handovers[slot] ?? 0;
    const removedCount = columns.removedCounts[slot] ?? 0;
    return {
      slotEpoch: epochAt(slotEpoch),
      term: epochAt(columns.terms[slot]),
      primary: primary === 0 ? undefined : peerAt(primary - 1),
      inSync: takePeers(columns.inSyncCounts[slot] ?? 0),
      joining: takePeers(columns.joiningCounts[slot] ?? 0),
      handoverOf: handover === 0 ? undefined : epochAt(handover - 1),
      removed: removedCount === 0 ? undefined : takeRemoved(removedCount),
    };
  });
}

function epochsOf(slots: readonly SlotRecord[]): ReadonlySet<Epoch> {
  const epochs = new Set<Epoch>();
  for (const { slotEpoch, term, handoverOf, removed = [] } of slots) {
    epochs.add(slotEpoch).add(term);
    if (handoverOf !== undefined) epochs.add(handoverOf);
    for (const { atEpoch } of removed) epochs.add(atEpoch);
  }
  return epochs;
}

function at<T>(table: readonly T[], index: number | undefined, what: string): T {
  const value = index === undefined ? undefined : table[index];
  return value === undefined
    ? refuse('invalid', `The cluster map names ${what} ${index}, which it does not list`)
    : value;
}
