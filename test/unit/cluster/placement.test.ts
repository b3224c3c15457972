import { describe, expect, test } from 'vitest';
import { boundsOf } from '../../../src/cluster/load-bound.js';
import type { PeerRecord } from '../../../src/cluster/map.js';
import { type Placement, wantedPlacement } from '../../../src/cluster/placement.js';
import { ringOf, tokensOfSlots } from '../../../src/cluster/ring.js';
import { peerRecord, peerRecords, seededFractions } from './fixtures.js';

function primaryCounts(placement: Placement): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [primary] of placement) if (primary !== undefined) counts.set(primary, (counts.get(primary) ?? 0) + 1);
  return counts;
}

/** Peers at random addresses, zones and weights. */
function randomPeers(count: number, fraction: () => number, more: Partial<PeerRecord> = {}): PeerRecord[] {
  return peerRecords(count, (number) => {
    const address = `10.${Math.floor(fraction() * 256)}.${Math.floor(fraction() * 256)}.${number}:7421`;
    return { address, tokenAddress: address, zone: `z${Math.floor(fraction() * 4)}`, ...more };
  });
}

describe('ring', () => {
  test('a slot goes to the next token at or above the start of its range, above the highest to the highest', () => {
    const tokens = BigUint64Array.of(0n, 1n, 2n ** 62n, 2n ** 62n + 1n, 2n ** 63n + 5n);
    const ring = { tokens, owners: Uint16Array.of(0, 1, 2, 3, 4) };
    // Starts: 0, 2^62, 2^63, 3·2^62.
    expect([...tokensOfSlots(ring, 4)]).toEqual([0, 2, 4, 4]);
  });

  test('a peer has 128 tokens per unit of weight, from the address it first joined with', () => {
    const moved = peerRecord(1, { address: '10.9.9.9:1' });
    expect(ringOf([moved]).tokens).toEqual(ringOf([peerRecord(1)]).tokens);
    expect(ringOf([moved]).tokens.length).toBe(128);
    expect(ringOf([peerRecord(1, { weight: 2.5 })]).tokens.length).toBe(320);
    expect(ringOf([peerRecord(1, { weight: 0.001 })]).tokens.length).toBe(1);
    expect(ringOf([peerRecord(1, { weight: 0 })]).tokens.length).toBe(0);
  });

  test('slots within the bounds stay with the owner of their token', () => {
    const peers = peerRecords(5);
    const ring = ringOf(peers);
    const tokens = tokensOfSlots(ring, 16_384);
    const natural = [...tokens].map((token) => peers[ring.owners[token] as number]?.id);
    const wanted = wantedPlacement(peers, 16_384, 2);
    const kept = wanted.filter(([primary], slot) => primary === natural[slot]).length;
    expect(kept / 16_384).toBeGreaterThan(0.9);
  });
});

describe('balance', () => {
  test('primary shares stay within 5 % of the weights, or within one slot where that is less', () => {
    for (let seed = 0; seed < 30; seed++) {
      const fraction = seededFractions(seed);
      const peers = randomPeers(1 + Math.floor(fraction() * 30), fraction).map((peer) => ({
        ...peer,
        weight: seed % 2 === 0 ? 1 : 0.5 + Math.floor(fraction() * 6) / 2,
      }));
      const slotCount = [256, 1024, 4096][seed % 3] as number;
      const total = peers.reduce((sum, peer) => sum + peer.weight, 0);
      const counts = primaryCounts(wantedPlacement(peers, slotCount, 2));
      for (const peer of peers) {
        const fair = (slotCount * peer.weight) / total;
        const deviation = Math.abs((counts.get(peer.id) ?? 0) - fair);
        expect(deviation, `seed ${seed}, ${peer.id}`).toBeLessThanOrEqual(Math.max(fair * 0.05, 1));
      }
    }
  });

  test('the bounds leave room for every slot from above and from below', () => {
    for (const share of [1, 0.5, 1 / 3, 1 / 7, 0.0001]) {
      const { most, least } = boundsOf(share, 1024);
      expect(most).toBeGreaterThanOrEqual(share * 1024);
      expect(least).toBeLessThanOrEqual(share * 1024);
    }
    expect(boundsOf(0.2, 1024)).toEqual({ most: 215, least: 195 });
  });
});

describe('copies', () => {
  test('two copies of a slot are never on one peer, and there are as many as wanted or as there are peers', () => {
    for (const peerCount of [0, 1, 2, 3, 4, 7]) {
      for (const replicas of [1, 2, 3]) {
        const wanted = wantedPlacement(peerRecords(peerCount), 256, replicas);
        expect(wanted.length).toBe(256);
        for (const copies of wanted) {
          expect(copies.length).toBe(Math.min(replicas, peerCount));
          expect(new Set(copies).size).toBe(copies.length);
        }
      }
    }
  });

  test('all slots of one primary have the same backup, and no two primaries share one', () => {
    const wanted = wantedPlacement(peerRecords(7), 1024, 2);
    const pairs = new Set(wanted.map((copies) => copies.join(' ')));
    expect(pairs.size).toBe(7);
    expect(new Set(wanted.map(([, backup]) => backup)).size).toBe(7);
  });

  test('removed and draining peers and those of no weight hold nothing, peers that are down keep their place', () => {
    const states = ['up', 'down', 'draining', 'removed', 'maintenance', 'up'] as const;
    const peers = peerRecords(6, (n) => ({ state: states[n - 1] as 'up', weight: n === 6 ? 0 : 1 }));
    const holders = new Set(wantedPlacement(peers, 256, 2).flat());
    expect([...holders].sort()).toEqual(['p1', 'p2', 'p5']);
  });

  test('being down or up changes nothing', () => {
    const up = peerRecords(5);
    const down = peerRecords(5, (n) => (n === 2 ? { state: 'down' } : {}));
    expect(wantedPlacement(down, 1024, 2)).toEqual(wantedPlacement(up, 1024, 2));
  });

  test('placement follows from the peers alone', () => {
    expect(wantedPlacement(peerRecords(9), 1024, 3)).toEqual(wantedPlacement(peerRecords(9), 1024, 3));
  });
});
