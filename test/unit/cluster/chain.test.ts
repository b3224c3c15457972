import { describe, expect, test } from 'vitest';
import { chainOf, leastSharedZones, sharedZoneCount } from '../../../src/cluster/chain.js';
import { seededFractions } from './fixtures.js';

type Link = Parameters<typeof chainOf>[0][number];

function links(zones: string, gone: readonly number[] = []): Link[] {
  return [...zones].map((zone, index) => ({ id: `p${index + 1}`, zone, isPlaced: !gone.includes(index + 1) }));
}

function zonesOf(chain: readonly string[], peers: readonly Link[]): { zone: string }[] {
  return chain.map((id) => ({ zone: peers.find((peer) => peer.id === id)?.zone ?? '' }));
}

function edges(chain: readonly string[]): Set<string> {
  return new Set(chain.map((id, index) => `${id}>${chain[(index + 1) % chain.length]}`));
}

function newEdges(before: readonly string[], after: readonly string[]): number {
  const old = edges(before);
  return [...edges(after)].filter((edge) => !old.has(edge)).length;
}

function randomLinks(seed: number): Link[] {
  const fraction = seededFractions(seed);
  const zoneCount = 1 + Math.floor(fraction() * 5);
  return Array.from({ length: 1 + Math.floor(fraction() * 24) }, (_, index) => ({
    id: `p${index + 1}`,
    zone: `z${Math.floor(fraction() * fraction() * zoneCount)}`,
    isPlaced: fraction() < 0.75,
  }));
}

describe('chain', () => {
  test('holds every placed peer once', () => {
    for (let seed = 0; seed < 200; seed++) {
      const peers = randomLinks(seed);
      const placed = peers.filter((peer) => peer.isPlaced).map((peer) => peer.id);
      expect([...chainOf(peers)].sort()).toEqual(placed.sort());
    }
  });

  test('as few neighbours share a zone as any order allows, whoever has left', () => {
    for (let seed = 0; seed < 500; seed++) {
      const peers = randomLinks(seed);
      const circle = zonesOf(chainOf(peers), peers);
      expect(sharedZoneCount(circle), `seed ${seed}`).toBe(leastSharedZones(circle));
    }
  });

  test('with equally many peers in three or four zones any three neighbours are in three zones', () => {
    for (const joined of ['aabbcc', 'abcabc', 'aaabbbccc', 'abcabcabc', 'aabbccdd']) {
      const peers = links(joined);
      const zones = zonesOf(chainOf(peers), peers).map(({ zone }) => zone);
      const next = (index: number): string | undefined => zones[index % zones.length];
      const apart = zones.filter((zone, index) => new Set([zone, next(index + 1), next(index + 2)]).size === 3);
      expect(apart.length, joined).toBe(zones.length);
    }
  });

  test('peers that join in zones of their own enter between two neighbours and part no others', () => {
    const zones = 'abcdefghij';
    for (let count = 2; count < zones.length; count++) {
      const before = chainOf(links(zones.slice(0, count)));
      const after = chainOf(links(zones.slice(0, count + 1)));
      expect(newEdges(before, after)).toBe(2);
    }
  });

  test('a join parts one pair of neighbours as long as nobody has left', () => {
    for (let seed = 0; seed < 300; seed++) {
      const peers = randomLinks(seed).map((peer) => ({ ...peer, isPlaced: true }));
      if (peers.length < 3) continue;
      const moved = newEdges(chainOf(peers.slice(0, -1)), chainOf(peers));
      expect(moved, `seed ${seed}`).toBeLessThanOrEqual(2);
    }
  });

  test('a leave joins its two neighbours and moves nobody when that keeps zones apart', () => {
    expect(chainOf(links('abcdef', [3]))).toEqual(chainOf(links('abcdef')).filter((id) => id !== 'p3'));
  });
});
