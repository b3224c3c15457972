import { expect, test } from 'vitest';
import { type Absence, dueToBeOut, withOut } from '../../../src/cluster/absence.js';
import type { ClusterMap, PeerRecord } from '../../../src/cluster/map.js';
import { withPeerUp } from '../../../src/cluster/membership.js';
import { wantedPlacement } from '../../../src/cluster/placement.js';
import { timing } from '../../../src/core/timing.js';
import { levelCluster } from './fixtures.js';

const graceMs = 30_000;

function withPeer(map: ClusterMap, id: string, change: Partial<PeerRecord>): ClusterMap {
  return { ...map, peers: map.peers.map((peer) => (peer.id === id ? { ...peer, ...change } : peer)) };
}

/** When `p2`, down since 0, is due to be out; undefined: not within an hour. */
function dueAfterMs(map: ClusterMap, absence: Partial<Absence> = {}): number | undefined {
  const wanted = wantedPlacement(map.peers, map.slots.length, map.pool.replicas);
  const absences = new Map([['p2', { sinceMs: 0, saidGoodbye: false, ...absence }]]);
  const times = [0, timing.loneCopyGraceMs, graceMs, 3_600_000];
  for (const atMs of times) {
    const on = { absences, calmSinceMs: 0 };
    if (atMs > 0) expect(dueToBeOut(map, wanted, { ...on, nowMs: atMs - 1 })).toEqual([]);
    if (dueToBeOut(map, wanted, { ...on, nowMs: atMs }).includes('p2')) return atMs;
  }
  return undefined;
}

test('the copies of a peer that is down are made anew after the grace (S7)', () => {
  const map = withPeer(levelCluster(['p1', 'p2', 'p3'], 4, 3), 'p2', { state: 'down' });
  expect(dueAfterMs(map)).toBe(graceMs);
});

test('earlier when one copy is left, unless it stopped on purpose', () => {
  const map = withPeer(levelCluster(['p1', 'p2'], 3), 'p2', { state: 'down' });
  expect(dueAfterMs(map)).toBe(timing.loneCopyGraceMs);
  expect(dueAfterMs(map, { saidGoodbye: true })).toBe(graceMs);
});

test('at once when fewer copies are left than a write needs (F25)', () => {
  const map = withPeer(levelCluster(['p1', 'p2'], 3), 'p2', { state: 'down' });
  expect(dueAfterMs({ ...map, pool: { ...map.pool, minInSync: 2 } })).toBe(0);
});

test('never under maintenance, while it runs, or twice', () => {
  const map = withPeer(levelCluster(['p1', 'p2'], 3), 'p2', { state: 'down' });
  expect(dueAfterMs(withPeer(map, 'p2', { mode: 'maintenance' }))).toBeUndefined();
  expect(dueAfterMs(withPeer(map, 'p2', { state: 'up' }))).toBeUndefined();
  expect(dueAfterMs(withPeer(map, 'p2', { isOut: true }))).toBeUndefined();
});

test('one copy wanted and one had is no reason for haste', () => {
  const map = withPeer(levelCluster(['p2'], 3, 1), 'p2', { state: 'down' });
  expect(dueAfterMs(map)).toBe(graceMs);
});

test('who is out is placed no more, and again when it is back', () => {
  const map = withPeer(levelCluster(['p1', 'p2'], 3), 'p2', { state: 'down' });
  const out = withOut(map, ['p2', 'p3']);
  expect(out.epoch).toBe(map.epoch + 1);
  expect(out.peers.map(({ isOut }) => isOut)).toEqual([false, true, false]);
  expect(wantedPlacement(out.peers, 8, 2).flat()).not.toContain('p2');
  expect(withOut(out, ['p2'])).toBe(out);
  expect(withPeerUp(out, 'p2').peers.some(({ isOut }) => isOut)).toBe(false);
});

test('nobody while more than half of the peers are away, and the grace counts from when that ended', () => {
  const map = withPeer(levelCluster(['p1', 'p2', 'p3'], 4, 3), 'p2', { state: 'down' });
  const crowded = withPeer(withPeer(map, 'p4', { state: 'down' }), 'p3', { state: 'down' });
  expect(dueAfterMs(crowded)).toBeUndefined();
  expect(dueAfterMs(withPeer(crowded, 'p4', { mode: 'maintenance' }))).toBeUndefined();
  expect(dueAfterMs(withPeer(map, 'p4', { state: 'down' }))).toBe(graceMs);
  const wanted = wantedPlacement(map.peers, map.slots.length, 3);
  const absences = new Map([['p2', { sinceMs: 0, saidGoodbye: false }]]);
  const on = { absences, calmSinceMs: 10_000 };
  expect(dueToBeOut(map, wanted, { ...on, nowMs: 10_000 + graceMs - 1 })).toEqual([]);
  expect(dueToBeOut(map, wanted, { ...on, nowMs: 10_000 + graceMs })).toEqual(['p2']);
});
