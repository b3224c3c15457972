import { describe, expect, test } from 'vitest';
import { withPeerDown } from '../../../src/cluster/membership.js';
import { applyChanges, type SlotChange, withDropped, withJoining } from '../../../src/cluster/slot-changes.js';
import { limits } from '../../../src/core/limits.js';
import { joinedCluster, levelCluster, withRecords } from './fixtures.js';

const epoch = 4; // of the slots of a cluster of three: see `base`
const base = withRecords(levelCluster(['p1', 'p2'], 3), () => ({ slotEpoch: epoch, joining: ['p3'] }));

function change(op: SlotChange['op'], peer: string, more: Partial<SlotChange> = {}): SlotChange {
  return { slot: 0, slotEpoch: epoch, op, peer, ...more };
}

function applied(...changes: SlotChange[]) {
  const { map, outcomes } = applyChanges(base, { by: 'p1', changes });
  return { map, outcomes, record: map.slots[0] };
}

describe('add', () => {
  test('a joining peer becomes in sync in the same term', () => {
    const { map, outcomes, record } = applied(change('add', 'p3', { storeId: 'store-3' }));
    expect(outcomes).toEqual(['done']);
    expect(record).toEqual({
      slotEpoch: map.epoch,
      term: base.slots[0]?.term,
      primary: 'p1',
      inSync: ['p1', 'p2', 'p3'],
      joining: [],
    });
    expect(map.epoch).toBe(base.epoch + 1);
  });

  test('is refused for another store than the map names, and without one (F6, F11)', () => {
    for (const storeId of ['store-3-old', undefined]) {
      const { map, outcomes } = applied(change('add', 'p3', storeId === undefined ? {} : { storeId }));
      expect(outcomes).toEqual(['refused']);
      expect(map).toBe(base);
    }
  });

  test('is refused for a peer that is not joining, so an add that comes after a removal cannot win (F17)', () => {
    const removed = applyChanges(base, { by: 'p1', changes: [change('remove', 'p3')] }).map;
    const slotEpoch = removed.slots[0]?.slotEpoch ?? 0;
    const late = change('add', 'p3', { storeId: 'store-3' });
    expect(applyChanges(removed, { by: 'p1', changes: [late] })).toEqual({ map: removed, outcomes: ['stale'] });
    const fresh = applyChanges(removed, { by: 'p1', changes: [{ ...late, slotEpoch }] });
    expect(fresh).toEqual({ map: removed, outcomes: ['refused'] });
  });
});

describe('remove', () => {
  test('takes a member out in the same term and remembers when (F26)', () => {
    const { map, record } = applied(change('remove', 'p2'));
    expect(record).toMatchObject({ primary: 'p1', inSync: ['p1'], joining: ['p3'], term: base.slots[0]?.term });
    expect(record?.removed).toEqual([{ peer: 'p2', atEpoch: map.epoch }]);
  });

  test('raises slotEpoch also for a peer that is not in the set (F17)', () => {
    const bare = withRecords(base, () => ({ joining: [] }));
    const { map, outcomes } = applyChanges(bare, { by: 'p1', changes: [change('remove', 'p3')] });
    expect(outcomes).toEqual(['done']);
    expect(map.slots[0]).toEqual({ ...bare.slots[0], slotEpoch: map.epoch });
  });

  test('never takes out the primary', () => {
    expect(applied(change('remove', 'p1'))).toMatchObject({ map: base, outcomes: ['refused'] });
  });

  test('what is remembered of former members stays short and forgets who is back', () => {
    let map = joinedCluster(7);
    for (const peer of ['p2', 'p3', 'p4', 'p5', 'p6', 'p2']) {
      map = withRecords(map, (slot) => (slot === 0 ? { inSync: ['p1', peer] } : {}));
      const slotEpoch = map.slots[0]?.slotEpoch ?? 0;
      map = applyChanges(map, { by: 'p1', changes: [change('remove', peer, { slotEpoch })] }).map;
    }
    expect(map.slots[0]?.removed?.map((entry) => entry.peer)).toEqual(['p5', 'p6', 'p2']);
    expect(limits.removedMembersMax).toBe(3);
    const joining = withJoining(map, [{ slot: 0, peer: 'p6' }]);
    const slotEpoch = joining.slots[0]?.slotEpoch ?? 0;
    const add = change('add', 'p6', { slotEpoch, storeId: 'store-6' });
    const back = applyChanges(joining, { by: 'p1', changes: [add] }).map;
    expect(back.slots[0]?.removed?.map((entry) => entry.peer)).toEqual(['p5', 'p2']);
  });
});

describe('handover', () => {
  test('an in-sync member leads a new term that names the old one (F20)', () => {
    const { map, record } = applied(change('handover', 'p2'));
    expect(record).toMatchObject({ primary: 'p2', inSync: ['p1', 'p2'], term: map.epoch, slotEpoch: map.epoch });
    expect(record?.handoverOf).toBe(base.slots[0]?.term);
  });

  test('later changes of the term keep its origin, the next term has its own', () => {
    const handed = applied(change('handover', 'p2')).map;
    const slotEpoch = handed.slots[0]?.slotEpoch ?? 0;
    const shrunk = applyChanges(handed, { by: 'p2', changes: [change('remove', 'p1', { slotEpoch })] }).map;
    expect(shrunk.slots[0]?.handoverOf).toBe(base.slots[0]?.term);
    const promoted = withPeerDown(handed, { peer: 'p2', answered: new Set(['p1']) });
    expect(promoted.slots[0]).toMatchObject({ handoverOf: undefined });
  });

  test('a refused one raises slotEpoch in the same term, so the asker may unseal and no late repeat wins (F20)', () => {
    const down = withPeerDown(base, { peer: 'p2', answered: new Set(['p1']) });
    for (const [map, peer] of [
      [base, 'p3'],
      [base, 'p1'],
      [base, 'p77'],
      [down, 'p2'],
    ] as const) {
      const after = applyChanges(map, { by: 'p1', changes: [change('handover', peer)] });
      expect(after.outcomes).toEqual(['refused']);
      expect(after.map.slots[0]).toEqual({ ...map.slots[0], slotEpoch: after.map.epoch });
    }
  });
});

describe('a batch', () => {
  test('is one compare for each slot: a stale one holds up no other (F18)', () => {
    const { map, outcomes } = applied(
      change('remove', 'p2', { slotEpoch: epoch - 1 }),
      change('remove', 'p2', { slot: 1 }),
      change('remove', 'p2', { slot: 99 }),
    );
    expect(outcomes).toEqual(['stale', 'done', 'refused']);
    expect(map.slots[0]).toBe(base.slots[0]);
    expect(map.slots[1]?.inSync).toEqual(['p1']);
    expect(map.epoch).toBe(base.epoch + 1);
  });

  test('may hold several changes of one slot', () => {
    const { outcomes, record } = applied(change('remove', 'p2'), change('add', 'p3', { storeId: 'store-3' }));
    expect(outcomes).toEqual(['done', 'done']);
    expect(record).toMatchObject({ inSync: ['p1', 'p3'], joining: [] });
  });

  test('ends for the asker with a handover', () => {
    const { outcomes, record } = applied(change('handover', 'p2'), change('remove', 'p2'));
    expect(outcomes).toEqual(['done', 'stale']);
    expect(record?.inSync).toEqual(['p1', 'p2']);
  });

  test('of somebody who does not lead the slot changes nothing', () => {
    const asked = { by: 'p2', changes: [change('remove', 'p1'), change('handover', 'p2'), change('remove', 'p3')] };
    expect(applyChanges(base, asked)).toEqual({ map: base, outcomes: ['refused', 'refused', 'refused'] });
  });

  test('repeated changes nothing the second time', () => {
    const once = applied(change('remove', 'p2'), change('add', 'p3', { storeId: 'store-3' })).map;
    const again = [change('remove', 'p2'), change('add', 'p3', { storeId: 'store-3' })];
    expect(applyChanges(once, { by: 'p1', changes: again })).toEqual({ map: once, outcomes: ['stale', 'stale'] });
  });
});

describe('steps of the planner', () => {
  test('peers that are nothing yet start joining under a new slotEpoch, others stay', () => {
    const map = joinedCluster(2);
    const after = withJoining(map, [
      { slot: 2, peer: 'p2' },
      { slot: 3, peer: 'p1' },
      { slot: 3, peer: 'p9' },
    ]);
    expect(after.slots[2]).toMatchObject({ joining: ['p2'], slotEpoch: after.epoch, term: map.slots[2]?.term });
    expect(after.slots[3]).toBe(map.slots[3]);
    expect(withJoining(after, [{ slot: 2, peer: 'p2' }])).toBe(after);
  });

  test('members and joiners are dropped, the primary and strangers are not', () => {
    const after = withDropped(base, [
      { slot: 0, peer: 'p2' },
      { slot: 0, peer: 'p3' },
      { slot: 1, peer: 'p1' },
      { slot: 2, peer: 'p9' },
    ]);
    expect(after.slots[0]).toMatchObject({ inSync: ['p1'], joining: [], slotEpoch: after.epoch });
    expect(after.slots[1]).toBe(base.slots[1]);
    expect(after.slots[2]).toBe(base.slots[2]);
  });
});
