import { expect, it } from 'vitest';
import type { ClusterMap, PeerState } from '../../../src/cluster/map.js';
import { timing } from '../../../src/core/timing.js';
import { decideFailover } from '../../../src/master/failover.js';
import type { Liveness, Membership } from '../../../src/master/membership.js';
import { peerRecord, plainMap } from '../cluster/fixtures.js';

const dead: Liveness = { state: 'down', sinceMs: 5000, reason: 'gone' };
const alive = (answeredMs: number): Liveness => ({ state: 'alive', heardAtMs: answeredMs + 1, answeredMs });

function membership(members: Readonly<Record<string, Liveness>>): Membership {
  return { judgesFromMs: 0, tickedAtMs: 5000, members: new Map(Object.entries(members)), gone: new Set() };
}

/** One slot led by p1 with everybody in sync. */
function mapOf(states: Readonly<Record<string, PeerState>>): ClusterMap {
  const peers = Object.entries(states).map(([id, state], index) => peerRecord(index + 1, { id, state }));
  return {
    ...plainMap,
    pool: { name: 'default', replicas: 3, minInSync: 1 },
    peers,
    slots: [{ slotEpoch: 5, term: 5, primary: 'p1', inSync: Object.keys(states), joining: [] }],
  };
}

const threeUp = mapOf({ p1: 'up', p2: 'up', p3: 'up' });

it('while everybody lives there is nothing to do', () => {
  const all = membership({ p1: alive(4900), p2: alive(4900), p3: alive(4900) });
  expect(decideFailover(threeUp, all, 5001)).toMatchObject({ down: [], up: [], ask: [], isDecided: true });
});

it('who answered before the death has yet to answer, and is asked', () => {
  const before = membership({ p1: dead, p2: alive(4999), p3: alive(5000) });
  const failover = decideFailover(threeUp, before, 5001);
  expect(failover).toMatchObject({ down: ['p1'], ask: ['p2', 'p3'], isDecided: false });
  expect([...failover.answered]).toEqual([]);
});

it('when all candidates have answered it is decided', () => {
  const answered = membership({ p1: dead, p2: alive(5001), p3: alive(5002) });
  const failover = decideFailover(threeUp, answered, 5003);
  expect(failover.isDecided).toBe(true);
  expect([...failover.answered]).toEqual(['p2', 'p3']);
});

it('a candidate that stays silent is waited for only a moment', () => {
  const one = membership({ p1: dead, p2: alive(5001), p3: alive(4900) });
  expect(decideFailover(threeUp, one, 5000 + timing.failoverPatienceMs - 1).isDecided).toBe(false);
  const failover = decideFailover(threeUp, one, 5000 + timing.failoverPatienceMs);
  expect(failover.isDecided).toBe(true);
  expect([...failover.answered]).toEqual(['p2']);
});

it('when nobody has answered, all are waited for as long as for any peer', () => {
  const none = membership({ p1: dead, p2: alive(4900), p3: alive(4900) });
  expect(decideFailover(threeUp, none, 5000 + timing.downAfterMs - 1).isDecided).toBe(false);
  expect(decideFailover(threeUp, none, 5000 + timing.downAfterMs).isDecided).toBe(true);
});

it('an answer from before a second death counts no more', () => {
  const second = membership({ p1: dead, p2: { ...dead, sinceMs: 6000 }, p3: alive(5500) });
  expect(decideFailover(threeUp, second, 6001)).toMatchObject({ down: ['p1', 'p2'], ask: ['p3'], isDecided: false });
});

it('a dead backup is marked down and decides nothing else', () => {
  const backup = membership({ p1: alive(4900), p2: dead, p3: alive(4900) });
  expect(decideFailover(threeUp, backup, 5001)).toMatchObject({ down: ['p2'], ask: [], isDecided: true });
});

it('a peer marked down comes up by an answer, not by a mere join', () => {
  const map = mapOf({ p1: 'up', p2: 'down', p3: 'up' });
  const joined = membership({ p1: alive(4900), p2: alive(-1), p3: alive(4900) });
  expect(decideFailover(map, joined, 5001).up).toEqual([]);
  const answered = membership({ p1: alive(4900), p2: alive(4950), p3: alive(4900) });
  expect(decideFailover(map, answered, 5001).up).toEqual(['p2']);
});
