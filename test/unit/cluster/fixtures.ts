/** Small maps and seeded chance for the tests of src/cluster. */

import type { ClusterMap, PeerRecord, SlotRecord } from '../../../src/cluster/map.js';
import { type ClusterSettings, createCluster, withPeerJoined } from '../../../src/cluster/membership.js';
import type { PeerId } from '../../../src/core/ids.js';

export function peerRecord(number: number, more: Partial<PeerRecord> = {}): PeerRecord {
  const address = `10.0.0.${number}:7421`;
  return {
    id: `p${number}`,
    storeId: `store-${number}`,
    address,
    tokenAddress: address,
    tokenWeight: 1,
    zone: `host-${number}`,
    weight: 1,
    flagZone: `host-${number}`,
    flagWeight: 1,
    state: 'up',
    mode: 'normal',
    isOut: false,
    incarnation: 1,
    ...more,
  };
}

export function peerRecords(count: number, more: (number: number) => Partial<PeerRecord> = () => ({})): PeerRecord[] {
  return Array.from({ length: count }, (_, index) => peerRecord(index + 1, more(index + 1)));
}

/** What the tests of maps made by hand say nothing about. */
export const plainMap = {
  ...{ clusterId: 'c', epoch: 9, lineage: 'l', masterIncarnation: 1, repairGraceMs: 0, quarantineMs: 0 },
  ...{ repairBytesPerSecond: 0, movesPaused: false },
} as const;

export const settings: ClusterSettings = {
  clusterId: 'c1',
  lineage: 'l1',
  masterIncarnation: 1,
  replicas: 2,
  minInSync: 1,
  slotCount: 8,
  repairGraceMs: 30_000,
  quarantineMs: 86_400_000,
};

export function joinRequest(number: number, more: { storeId?: string; incarnation?: number } = {}) {
  const { storeId, incarnation, address, zone, weight } = { ...peerRecord(number), ...more };
  return { storeId, incarnation, address, zone, weight };
}

/** A cluster that `count` peers have joined; the first one leads every slot, alone. */
export function joinedCluster(count: number, more: Partial<ClusterSettings> = {}): ClusterMap {
  let map = createCluster({ ...settings, ...more });
  for (let number = 1; number <= count; number++) map = withPeerJoined(map, joinRequest(number), new Set()).map;
  return map;
}

/** Every slot's record replaced. */
export function withRecords(map: ClusterMap, record: (slot: number) => Partial<SlotRecord>): ClusterMap {
  return { ...map, slots: map.slots.map((before, slot) => ({ ...before, ...record(slot) })) };
}

/** Peers joined, every slot led by the first named and in sync on all of them. */
export function levelCluster(members: readonly PeerId[], peerCount: number, replicas = 2): ClusterMap {
  const map = joinedCluster(peerCount, { replicas });
  return withRecords(map, () => ({ primary: members[0], inSync: members }));
}

/** Numbers in [0, 1) that follow from the seed alone (mulberry32). */
export function seededFractions(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
