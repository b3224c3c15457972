import { describe, expect, test } from 'vitest';
import type { ClusterMap, PeerState } from '../../../src/cluster/map.js';
import { missingCopies, type PlannerView, planSteps, unsettledSlots } from '../../../src/cluster/planner.js';
import { withDropped, withJoining } from '../../../src/cluster/slot-changes.js';
import { limits } from '../../../src/core/limits.js';
import { timing } from '../../../src/core/timing.js';
import { joinedCluster, levelCluster, withRecords } from './fixtures.js';

const nowMs = 100_000;

/** All peers of the map up for long, except for what is said. */
function viewOf(map: ClusterMap, more: Partial<PlannerView> & { since?: Record<string, number> } = {}): PlannerView {
  const { since = {}, ...rest } = more;
  return { nowMs, upSinceMs: new Map(map.peers.map((peer) => [peer.id, since[peer.id] ?? 0])), ...rest };
}

function wantedEverywhere(map: ClusterMap, wish: readonly string[]) {
  return map.slots.map(() => wish);
}

function withState(map: ClusterMap, id: string, state: PeerState): ClusterMap {
  return { ...map, peers: map.peers.map((peer) => (peer.id === id ? { ...peer, state } : peer)) };
}

const nothing = { joining: [], drops: [], handovers: [] };

describe('joining', () => {
  test('wanted peers that have no copy start joining', () => {
    const map = joinedCluster(2);
    const steps = planSteps(map, wantedEverywhere(map, ['p1', 'p2']), viewOf(map));
    expect(steps).toEqual({ ...nothing, joining: map.slots.map((_, slot) => ({ slot, peer: 'p2' })) });
    const next = withJoining(map, steps.joining);
    expect(planSteps(next, wantedEverywhere(map, ['p1', 'p2']), viewOf(map))).toEqual(nothing);
  });

  test('fewest copies come first, and only so many slots at a time for each peer', () => {
    const map = withRecords(joinedCluster(4, { slotCount: 1024, replicas: 3 }), (slot) =>
      slot < 1000 ? { inSync: ['p1', 'p2'] } : {},
    );
    const wanted = wantedEverywhere(map, ['p1', 'p2', 'p3']);
    const first = planSteps(map, wanted, viewOf(map)).joining;
    expect(first.filter(({ peer }) => peer === 'p2').map(({ slot }) => slot)).toEqual(
      Array.from({ length: 24 }, (_, index) => 1000 + index),
    );
    const ofThird = first.filter(({ peer }) => peer === 'p3').map(({ slot }) => slot);
    expect(ofThird).toHaveLength(limits.joiningSlotsPerPeer);
    expect(ofThird.slice(0, 25)).toEqual([...Array.from({ length: 24 }, (_, index) => 1000 + index), 0]);
    expect(planSteps(withJoining(map, first), wanted, viewOf(map)).joining).toEqual([]);
  });

  test('nothing moves to a peer without room for it, but missing copies are made there', () => {
    const roomForRepairs = (peer: string, isRepair: boolean): boolean => peer !== 'p3' || isRepair;
    const map = withRecords(joinedCluster(3, { slotCount: 2, replicas: 2 }), (slot) =>
      slot === 0 ? { inSync: ['p1', 'p2'] } : {},
    );
    const wanted = wantedEverywhere(map, ['p1', 'p3']);
    const steps = planSteps(map, wanted, viewOf(map, { hasRoom: roomForRepairs }));
    expect(steps).toEqual({ ...nothing, joining: [{ slot: 1, peer: 'p3' }] });
    expect(planSteps(map, wanted, viewOf(map, { hasRoom: (peer) => peer !== 'p3' }))).toEqual(nothing);
    expect(planSteps(map, wanted, viewOf(map)).joining).toHaveLength(2);
  });

  test('a copy that is being made goes on when its peer fills up', () => {
    const map = withRecords(joinedCluster(2), () => ({ joining: ['p2'] }));
    const wanted = wantedEverywhere(map, ['p1', 'p2']);
    expect(planSteps(map, wanted, viewOf(map, { hasRoom: () => false }))).toEqual(nothing);
  });

  test('a joiner that is taken out makes room at once', () => {
    const slotCount = 2 * limits.joiningSlotsPerPeer;
    const map = withRecords(joinedCluster(2, { slotCount }), (slot) =>
      slot < limits.joiningSlotsPerPeer ? { joining: ['p2'] } : {},
    );
    const wanted = map.slots.map((_, slot) => (slot === 0 ? ['p1'] : ['p1', 'p2']));
    const { joining, drops } = planSteps(map, wanted, viewOf(map));
    expect(drops).toEqual([{ slot: 0, peer: 'p2' }]);
    expect(joining).toEqual([{ slot: limits.joiningSlotsPerPeer, peer: 'p2' }]);
  });

  test('a slot waits for a wanted peer that is down, and nobody else is asked instead', () => {
    const map = withState(joinedCluster(3), 'p2', 'down');
    expect(planSteps(map, wantedEverywhere(map, ['p1', 'p2']), viewOf(map))).toEqual(nothing);
    const silent = { nowMs, upSinceMs: new Map([['p1', 0]]) };
    expect(planSteps(joinedCluster(2), wantedEverywhere(map, ['p1', 'p2']), silent)).toEqual(nothing);
  });

  test('nobody joins a slot whose primary is down, nor one that the view holds back', () => {
    const map = joinedCluster(2);
    const wanted = wantedEverywhere(map, ['p1', 'p2']);
    expect(planSteps(withState(map, 'p1', 'down'), wanted, viewOf(map))).toEqual(nothing);
    const steps = planSteps(map, wanted, viewOf(map, { mayJoin: (slot, peer) => slot === 3 && peer === 'p2' }));
    expect(steps.joining).toEqual([{ slot: 3, peer: 'p2' }]);
  });

  test('a joiner that is down or no longer wanted is taken out', () => {
    const map = withRecords(joinedCluster(3), (slot) =>
      slot === 0 ? { joining: ['p2', 'p3'] } : { inSync: ['p1', 'p2'] },
    );
    const wanted = wantedEverywhere(map, ['p1', 'p2']);
    expect(planSteps(map, wanted, viewOf(map))).toEqual({ ...nothing, drops: [{ slot: 0, peer: 'p3' }] });
    const steps = planSteps(withState(map, 'p2', 'down'), wanted, viewOf(map));
    expect(steps.drops).toEqual([
      { slot: 0, peer: 'p2' },
      { slot: 0, peer: 'p3' },
    ]);
    expect(steps.joining).toEqual([]);
  });
});

describe('surplus', () => {
  const moved = withRecords(joinedCluster(4), () => ({ inSync: ['p1', 'p2', 'p3'] }));

  test('a member that is not wanted goes once every wanted one is in sync (S7)', () => {
    const { drops } = planSteps(moved, wantedEverywhere(moved, ['p1', 'p3']), viewOf(moved));
    expect(drops).toEqual(moved.slots.map((_, slot) => ({ slot, peer: 'p2' })));
  });

  test('it stays while a wanted one is not in sync, or is but cannot be reached (S7)', () => {
    expect(planSteps(moved, wantedEverywhere(moved, ['p1', 'p4']), viewOf(moved)).drops).toEqual([]);
    const down = withState(moved, 'p3', 'down');
    expect(planSteps(down, wantedEverywhere(moved, ['p1', 'p3']), viewOf(moved)).drops).toEqual([]);
  });

  test('it stays until every wanted one has been heard from with the record that says so (S7)', () => {
    const wanted = wantedEverywhere(moved, ['p1', 'p3']);
    const epochOf = (slot: number): number => moved.slots[slot]?.slotEpoch ?? 0;
    const heard = (of: number) => viewOf(moved, { takenEpochOf: (peer) => (peer === 'p3' ? of : epochOf(0)) });
    expect(planSteps(moved, wanted, heard(epochOf(0) - 1)).drops).toEqual([]);
    expect(planSteps(moved, wanted, heard(epochOf(0))).drops).toHaveLength(moved.slots.length);
  });

  test('it stays where fewer peers are wanted than copies', () => {
    const map = levelCluster(['p1', 'p2'], 2);
    expect(planSteps(map, wantedEverywhere(map, ['p1']), viewOf(map)).drops).toEqual([]);
  });

  test('the primary is handed over before it goes', () => {
    const map = moved;
    const steps = planSteps(map, wantedEverywhere(map, ['p2', 'p3']), viewOf(map));
    expect(steps.drops).toEqual([]);
    expect(steps.handovers).toHaveLength(8);
    const handed = withRecords(map, () => ({ primary: 'p2' }));
    expect(planSteps(handed, wantedEverywhere(map, ['p2', 'p3']), viewOf(map)).drops).toHaveLength(8);
  });

  test('of two that may go the one that is down goes first', () => {
    const map = withState(
      withRecords(joinedCluster(4), () => ({ inSync: ['p1', 'p2', 'p4', 'p3'] })),
      'p4',
      'down',
    );
    const replicas3 = { ...map, pool: { ...map.pool, replicas: 3 } };
    const { drops } = planSteps(replicas3, wantedEverywhere(map, ['p1', 'p3']), viewOf(map));
    expect(drops).toEqual(map.slots.map((_, slot) => ({ slot, peer: 'p4' })));
  });
});

describe('handover', () => {
  const map = levelCluster(['p2', 'p1'], 2);
  const wanted = wantedEverywhere(map, ['p1', 'p2']);

  test('is wished for when the wanted primary is in sync and has been up steadily', () => {
    const steps = planSteps(map, wanted, viewOf(map));
    expect(steps).toMatchObject({ joining: [], drops: [] });
    expect(steps.handovers[0]).toEqual({ slot: 0, slotEpoch: map.slots[0]?.slotEpoch, from: 'p2', to: 'p1' });
    expect(steps.handovers).toHaveLength(8);
  });

  test('is not wished for before the wanted primary has been up for long enough', () => {
    const late = nowMs - timing.steadyBeforeHandoverMs;
    expect(planSteps(map, wanted, viewOf(map, { since: { p1: late + 1 } })).handovers).toEqual([]);
    expect(planSteps(map, wanted, viewOf(map, { since: { p1: late } })).handovers).toHaveLength(8);
  });

  test('waits until every wanted copy is in sync, and for both to be up', () => {
    const three = withRecords(joinedCluster(3, { replicas: 3 }), () => ({ primary: 'p2', inSync: ['p2', 'p1'] }));
    expect(planSteps(three, wantedEverywhere(three, ['p1', 'p2', 'p3']), viewOf(three)).handovers).toEqual([]);
    for (const id of ['p1', 'p2']) {
      expect(planSteps(withState(map, id, 'down'), wanted, viewOf(map)).handovers).toEqual([]);
    }
  });

  test('only so many are wished of one primary at a time', () => {
    const large = withRecords(joinedCluster(2, { slotCount: 256 }), () => ({ primary: 'p2', inSync: ['p2', 'p1'] }));
    const { handovers } = planSteps(large, wantedEverywhere(large, ['p1', 'p2']), viewOf(large));
    expect(handovers).toHaveLength(limits.handoversAtOnce);
  });
});

test('a map is settled when sets and primaries are as wanted, and then nothing is planned', () => {
  const map = levelCluster(['p1', 'p2'], 3);
  const wanted = wantedEverywhere(map, ['p1', 'p2']);
  expect(unsettledSlots(map, wanted)).toEqual([]);
  expect(missingCopies(map, wanted)).toEqual([]);
  expect(planSteps(map, wanted, viewOf(map))).toEqual(nothing);
  expect(unsettledSlots(map, wantedEverywhere(map, ['p2', 'p1']))).not.toEqual([]);
  expect(unsettledSlots(withJoining(map, [{ slot: 0, peer: 'p3' }]), wanted)).not.toEqual([]);
  const dropped = withDropped(map, [{ slot: 0, peer: 'p2' }]);
  expect(unsettledSlots(dropped, wanted)).not.toEqual([]);
  expect(missingCopies(dropped, wanted)).toEqual([{ slot: 0, peer: 'p2' }]);
});
