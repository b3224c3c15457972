/** The cluster map survives the wire, stays small, and garbage in its place is refused. */
import { describe, expect, test } from 'vitest';
import type { ClusterMap, PeerRecord, SlotRecord } from '../../../src/cluster/map.js';
import { isRefusal } from '../../../src/core/errors.js';
import { toEpoch } from '../../../src/core/ids.js';
import { decodeMap, encodeMap } from '../../../src/protocol/map-codec.js';

const states = ['up', 'down', 'removed'] as const;
const modes = ['normal', 'draining', 'maintenance', 'normal'] as const;

function peer(number: number): PeerRecord {
  return {
    id: `p${number}`,
    storeId: number.toString(16).padStart(32, '0'),
    address: `10.0.0.${number}:7421`,
    tokenAddress: `host-${number}.example:7421`,
    tokenWeight: number,
    zone: `zone ${number} ü`,
    weight: number / 2,
    flagZone: `zone ${number}`,
    flagWeight: number,
    state: states[number % states.length] as PeerRecord['state'],
    mode: modes[number % modes.length] as PeerRecord['mode'],
    isOut: number % 2 === 0,
    incarnation: number * 7,
  };
}

/** Every slot with epochs of its own, as after many changes: the hardest to shorten. */
function slot(number: number, peerCount: number): SlotRecord {
  const at = (offset: number): string => `p${((number + offset) % peerCount) + 1}`;
  const epoch = (offset: number): number => toEpoch({ generation: 1, number: number * 3 + offset });
  const record = { slotEpoch: epoch(5), term: epoch(2), primary: at(0), inSync: [at(0), at(1), at(2)], joining: [] };
  if (number % 3 === 0) return record;
  const more = { ...record, joining: [at(3)], handoverOf: epoch(1) };
  return number % 3 === 1 ? more : { ...more, removed: [{ peer: at(4), atEpoch: epoch(3) }] };
}

function clusterMap(slotCount: number, peerCount: number): ClusterMap {
  return {
    clusterId: 'c'.repeat(32),
    epoch: toEpoch({ generation: 1, number: 70_000 }),
    lineage: 'l'.repeat(32),
    masterIncarnation: 4,
    repairGraceMs: 30_000,
    quarantineMs: 86_500_000,
    repairBytesPerSecond: 8_000_000,
    movesPaused: true,
    pool: { name: 'default', replicas: 3, minInSync: 2 },
    peers: Array.from({ length: peerCount }, (_, index) => peer(index + 1)),
    slots: Array.from({ length: slotCount }, (_, number) => slot(number, peerCount)),
  };
}

describe('the map codec', () => {
  test('every field comes back', () => {
    const map = clusterMap(1024, 12);
    expect(decodeMap(encodeMap(map))).toEqual(map);
  });

  test('a new cluster without peers comes back', () => {
    const empty: SlotRecord = { slotEpoch: 1, term: 1, primary: undefined, inSync: [], joining: [] };
    const map: ClusterMap = { ...clusterMap(1, 0), slots: [empty] };
    expect(decodeMap(encodeMap(map))).toEqual(map);
  });

  test('1024 slots take under 20 KB, 16,384 slots on 500 peers under 500 KB', () => {
    expect(encodeMap(clusterMap(1024, 12)).length).toBeLessThan(20_000);
    expect(encodeMap(clusterMap(16_384, 500)).length).toBeLessThan(500_000);
  });

  test('equal maps have equal bytes', () => {
    expect(encodeMap(decodeMap(encodeMap(clusterMap(64, 5))))).toEqual(encodeMap(clusterMap(64, 5)));
  });

  test('cut anywhere, or with a byte more, it is refused', () => {
    const bytes = encodeMap(clusterMap(16, 4));
    for (let end = 0; end < bytes.length; end++) {
      expect(() => decodeMap(bytes.subarray(0, end))).toThrow();
    }
    expect(() => decodeMap(Buffer.concat([bytes, Buffer.of(0)]))).toThrow('too many');
  });

  test('any changed byte gives a map or a refusal, never another error', () => {
    const bytes = encodeMap(clusterMap(16, 4));
    for (let at = 0; at < bytes.length; at++) {
      for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
        const changed = Uint8Array.from(bytes);
        changed[at] = value;
        try {
          decodeMap(changed);
        } catch (error) {
          expect(isRefusal(error, 'invalid')).toBe(true);
        }
      }
    }
  });

  test('another format, a slot count that is no power of two and a peer listed twice are refused', () => {
    const bytes = encodeMap(clusterMap(16, 4));
    expect(() => decodeMap(Uint8Array.from(bytes, (byte, at) => (at === 0 ? 1 : byte)))).toThrow('format 1');
    expect(() => decodeMap(encodeMap(clusterMap(15, 4)))).toThrow('power of two');
    const twice = clusterMap(16, 4);
    expect(() => decodeMap(encodeMap({ ...twice, peers: [...twice.peers, peer(1)] }))).toThrow('twice');
  });
});
