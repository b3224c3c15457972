import { expect, it } from 'vitest';
import type { ClusterMap, SlotRecord } from '../../../src/cluster/map.js';
import { createCluster, withPeerJoined } from '../../../src/cluster/membership.js';
import { withJoining } from '../../../src/cluster/slot-changes.js';
import { timing } from '../../../src/core/timing.js';
import { Planning } from '../../../src/master/planning.js';

const upSinceMs = new Map([
  ['p1', 0],
  ['p2', 0],
]);

/** p1 leads everything, p2 has just come. */
function pair(): ClusterMap {
  let map = createCluster({
    ...{ clusterId: 'c', lineage: 'l', masterIncarnation: 1, replicas: 2, minInSync: 1, slotCount: 4 },
    ...{ repairGraceMs: 0, quarantineMs: 0 },
  });
  for (const id of ['1', '2']) {
    const join = { storeId: `s${id}`, incarnation: 1, address: `h${id}:1`, zone: id, weight: 1 };
    map = withPeerJoined(map, join, new Set()).map;
  }
  return map;
}

function withSlot(map: ClusterMap, slot: number, change: Partial<SlotRecord>): ClusterMap {
  const slots = map.slots.map((record, number) => (number === slot ? { ...record, ...change } : record));
  return { ...map, epoch: map.epoch + 1, slots };
}

const joiningSlots = (planning: Planning, map: ClusterMap, nowMs: number) =>
  planning.steps(map, { nowMs, upSinceMs }).joining.map(({ slot }) => slot);

it('a copy that was given up goes to the back, with a growing pause', () => {
  const planning = new Planning();
  const map = pair();
  expect(joiningSlots(planning, map, 0)).toEqual([0, 1, 2, 3]);
  const joining = withJoining(map, [{ slot: 0, peer: 'p2' }]);
  const givenUp = withSlot(joining, 0, { joining: [] });
  planning.onCommitted(joining, givenUp, 1000);
  expect(joiningSlots(planning, givenUp, 1499)).toEqual([1, 2, 3]);
  expect(joiningSlots(planning, givenUp, 1500)).toEqual([0, 1, 2, 3]);
  planning.onCommitted(joining, givenUp, 2000);
  expect(joiningSlots(planning, givenUp, 2999)).toEqual([1, 2, 3]);
  expect(joiningSlots(planning, givenUp, 3000)).toEqual([0, 1, 2, 3]);
});

it('a copy that made it, or whose peer went down, is not held against it', () => {
  const planning = new Planning();
  const joining = withJoining(pair(), [{ slot: 0, peer: 'p2' }]);
  const givenUp = withSlot(joining, 0, { joining: [] });
  planning.onCommitted(joining, givenUp, 1000);
  planning.onCommitted(joining, withSlot(joining, 0, { joining: [], inSync: ['p1', 'p2'] }), 1100);
  expect(joiningSlots(planning, givenUp, 1101)).toContain(0);
  const down = { ...givenUp, peers: givenUp.peers.map((peer) => ({ ...peer, state: 'down' as const })) };
  planning.onCommitted(joining, down, 2000);
  expect(joiningSlots(planning, givenUp, 2001)).toContain(0);
});

it('wishes go out together now and then, each again only after a while unless its slot has changed', () => {
  const planning = new Planning();
  const wish = { slot: 3, slotEpoch: 7, from: 'p1', to: 'p2' };
  const other = { ...wish, slot: 4 };
  expect(planning.dueWishes([wish], 0)).toEqual([wish]);
  expect(planning.dueWishes([wish, other], timing.wishPaceMs - 1)).toEqual([]);
  expect(planning.dueWishes([wish, other], timing.wishPaceMs)).toEqual([other]);
  expect(planning.dueWishes([{ ...wish, slotEpoch: 8 }, other], 2 * timing.wishPaceMs)).toHaveLength(1);
  expect(planning.dueWishes([{ ...wish, slotEpoch: 8 }, other], 5 * timing.wishPaceMs)).toHaveLength(2);
});

it('placement is not made again for a death', () => {
  const planning = new Planning();
  const map = pair();
  const down = { ...map, peers: map.peers.map((peer) => ({ ...peer, state: 'down' as const, incarnation: 2 })) };
  expect(planning.wanted(down)).toBe(planning.wanted(map));
});
