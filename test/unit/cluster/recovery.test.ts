import { describe, expect, it } from 'vitest';
import { type ClusterMap, isWaiting, peerOf, type SlotRecord } from '../../../src/cluster/map.js';
import { withPeerJoined, withPeerLeaving, withPromotions } from '../../../src/cluster/membership.js';
import { withOperation } from '../../../src/cluster/operations.js';
import { wantedPlacement } from '../../../src/cluster/placement.js';
import { planSteps } from '../../../src/cluster/planner.js';
import {
  type Answer,
  awaitedSlots,
  nextGeneration,
  recoveredMap,
  withAccepted,
  withAnswer,
} from '../../../src/cluster/recovery.js';
import { generationOf, toEpoch } from '../../../src/core/ids.js';
import { decodeMap, encodeMap } from '../../../src/protocol/map-codec.js';
import { joinRequest, peerRecords, plainMap } from './fixtures.js';

const as = { generation: 1, lineage: 'recovered' };

interface Slot {
  readonly epoch: number;
  readonly primary?: string;
  readonly inSync: readonly string[];
  readonly joining?: readonly string[];
}

function mapOf(epoch: number, slots: readonly Slot[], more: Partial<ClusterMap> = {}): ClusterMap {
  return {
    ...plainMap,
    epoch,
    pool: { name: 'default', replicas: 2, minInSync: 1 },
    peers: peerRecords(4),
    slots: slots.map(
      ({ epoch: slotEpoch, inSync, primary = inSync[0], joining = [] }): SlotRecord => ({
        ...{ slotEpoch, term: slotEpoch, primary, inSync, joining },
      }),
    ),
    ...more,
  };
}

function answerOf(peer: string, map: ClusterMap): Answer {
  return { peer, storeId: `store-${peer.slice(1)}`, map };
}

function recovered(first: Answer, ...others: Answer[]): ClusterMap {
  return recoveredMap([first, ...others], as);
}

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  return 'done';
}

describe('a recovered map', () => {
  it('takes of each slot the highest record that anybody knows, in a new term of a higher generation', () => {
    const older = mapOf(7, [{ epoch: 5, inSync: ['p1', 'p2'] }]);
    const newer = mapOf(9, [{ epoch: 8, inSync: ['p2'], primary: 'p2' }]);
    const map = recovered(answerOf('p1', older), answerOf('p2', newer));
    expect(map.lineage).toBe('recovered');
    expect(generationOf(map.epoch)).toBe(1);
    expect(map.slots[0]).toMatchObject({ primary: 'p2', inSync: ['p2'] });
    expect(map.slots[0]?.term).toBeGreaterThan(toEpoch({ generation: 1, number: 0 }));
    expect(map.slots[0]?.slotEpoch).toBe(map.slots[0]?.term);
  });

  it('keeps the primary of the record, whichever place it has among its members', () => {
    const known = mapOf(7, [{ epoch: 5, inSync: ['p1', 'p2'], primary: 'p2' }]);
    expect(recovered(answerOf('p1', known), answerOf('p2', known)).slots[0]?.primary).toBe('p2');
  });

  it('F14: a slot waits while anybody in sync there has not answered; the others are served', () => {
    const known = mapOf(7, [
      { epoch: 5, inSync: ['p1', 'p3'] },
      { epoch: 5, inSync: ['p1', 'p2'] },
    ]);
    const map = recovered(answerOf('p1', known), answerOf('p2', known));
    expect(map.slots[0]).toMatchObject({ primary: undefined, inSync: ['p1', 'p3'], slotEpoch: 5 });
    expect(map.slots[1]).toMatchObject({ primary: 'p1', inSync: ['p1', 'p2'] });
    expect(awaitedSlots(map).get('p3')).toEqual([0]);
    expect(peerOf(map, 'p3')?.state).toBe('awaited');
    expect(peerOf(map, 'p1')?.state).toBe('up');
  });

  it('F14: a slot waits for a joining peer too: it may have been added, and lead alone by now', () => {
    const known = mapOf(7, [{ epoch: 5, inSync: ['p1'], joining: ['p3'] }]);
    expect(recovered(answerOf('p1', known)).slots.map(isWaiting)).toEqual([true]);
  });

  it('F11: another store than the newest map names cannot speak for a peer', () => {
    const known = mapOf(7, [{ epoch: 5, inSync: ['p1', 'p2'] }]);
    const map = recovered(answerOf('p1', known), { ...answerOf('p2', known), storeId: 'another' });
    expect(map.slots.map(isWaiting)).toEqual([true]);
    expect(peerOf(map, 'p2')?.state).toBe('awaited');
  });

  it('has the peers and settings of the newest map, and survives its bytes', () => {
    const older = mapOf(7, [{ epoch: 5, inSync: ['p1'] }], { peers: peerRecords(2) });
    const newer = mapOf(9, [{ epoch: 5, inSync: ['p1'] }], { masterIncarnation: 4, quarantineMs: 17 });
    const map = recovered(answerOf('p1', newer), answerOf('p2', older));
    expect(map).toMatchObject({ quarantineMs: 17, masterIncarnation: 5 });
    expect(map.peers).toHaveLength(4);
    expect(decodeMap(encodeMap(map))).toEqual(map);
  });

  it('nobody becomes primary, joins, is dropped or leaves where a slot waits', () => {
    const known = mapOf(7, [{ epoch: 5, inSync: ['p1', 'p2', 'p3'], joining: ['p4'] }]);
    const map = recovered(answerOf('p1', known), answerOf('p2', known), answerOf('p4', known));
    expect(withPromotions(map, new Set(['p1', 'p2', 'p4']))).toBe(map);
    const wanted = wantedPlacement(map.peers, 1, 2);
    const upSinceMs = new Map(map.peers.map(({ id }) => [id, 0]));
    expect(planSteps(map, wanted, { nowMs: 1e6, upSinceMs })).toEqual({ joining: [], drops: [], handovers: [] });
    const left = withPeerLeaving(map, { peer: 'p2', answered: new Set(['p1']), present: new Set(['p1']) });
    expect(left.slots).toEqual(map.slots);
    expect(codeOf(() => withOperation(map, 'p3', { kind: 'remove' }))).toBe('conflict');
  });

  it('S10: a new peer, or a new store of a named one, never becomes the holder of what waits', () => {
    const known = mapOf(7, [{ epoch: 5, inSync: ['p1', 'p3'] }]);
    const map = recovered(answerOf('p1', known));
    const stranger = withPeerJoined(map, joinRequest(9), new Set());
    expect(stranger.map.slots).toEqual(map.slots);
    for (const number of [1, 3]) {
      const wiped = withPeerJoined(map, joinRequest(number, { storeId: 'wiped' }), new Set());
      expect(wiped.kind).toBe('new');
      expect(wiped.map.slots).toEqual(map.slots);
    }
  });

  it('is of a generation above all that were made or promised', () => {
    const second = mapOf(toEpoch({ generation: 2, number: 3 }), []);
    expect(nextGeneration({ maps: [mapOf(9, [])], promised: [0] })).toBe(1);
    expect(nextGeneration({ maps: [second], promised: [0, 1] })).toBe(3);
    expect(nextGeneration({ maps: [second], promised: [4] })).toBe(5);
  });
});

describe('a peer that answers late', () => {
  const known = mapOf(7, [
    { epoch: 5, inSync: ['p1', 'p3'] },
    { epoch: 5, inSync: ['p3'] },
  ]);
  const map = recovered(answerOf('p1', known), answerOf('p2', known));

  it('brings its slots back', () => {
    const after = withAnswer(map, answerOf('p3', known));
    expect(after.epoch).toBeGreaterThan(map.epoch);
    expect(after.slots[0]).toMatchObject({ primary: 'p1', inSync: ['p1', 'p3'] });
    expect(after.slots[1]).toMatchObject({ primary: 'p3', inSync: ['p3'] });
    expect([...awaitedSlots(after).keys()]).toEqual(['p4']);
  });

  it('and knows a newer record has that taken, with whoever else must be heard by it', () => {
    const newer = mapOf(9, [
      { epoch: 8, inSync: ['p3'] },
      { epoch: 9, inSync: ['p3', 'p4'] },
    ]);
    const after = withAnswer(map, answerOf('p3', newer));
    expect(after.slots[0]).toMatchObject({ primary: 'p3', inSync: ['p3'] });
    expect(after.slots[1]).toMatchObject({ primary: undefined, inSync: ['p3', 'p4'] });
    expect(withAnswer(after, answerOf('p4', known)).slots[1]).toMatchObject({ primary: 'p3' });
  });

  it('finds whom it names, though a wiped one came back meanwhile', () => {
    const wiped = withPeerJoined(map, joinRequest(4, { storeId: 'wiped' }), new Set());
    // Not p5: the lost map may have had one.
    expect(wiped).toMatchObject({ kind: 'new', peer: { id: 'p1001' } });
    const newer = mapOf(9, [
      { epoch: 8, inSync: ['p3', 'p4'] },
      { epoch: 5, inSync: ['p3'] },
    ]);
    const after = withAnswer(wiped.map, answerOf('p3', newer));
    expect(after.slots[0]).toMatchObject({ primary: undefined, inSync: ['p3', 'p4'] });
    expect(withAccepted(after, ['p4']).slots[0]).toMatchObject({ primary: 'p3', inSync: ['p3'] });
  });

  it('may know a newer store of one that was not heard: that one is awaited then', () => {
    const newer = mapOf(
      9,
      [
        { epoch: 8, inSync: ['p3', 'p4'] },
        { epoch: 5, inSync: ['p3'] },
      ],
      { peers: peerRecords(4).map((peer) => (peer.id === 'p4' ? { ...peer, storeId: 'newer' } : peer)) },
    );
    const after = withAnswer(map, answerOf('p3', newer));
    expect(peerOf(after, 'p4')).toMatchObject({ state: 'awaited', storeId: 'newer' });
    expect(withAnswer(after, answerOf('p4', newer))).toBe(after);
    const heard = withAnswer(after, { ...answerOf('p4', newer), storeId: 'newer' });
    expect(heard.slots[0]).toMatchObject({ primary: 'p3', inSync: ['p3', 'p4'] });
  });

  it('finds those set aside that were, and removed who was, whatever it knows of them', () => {
    const peers = peerRecords(4).map((peer) => (peer.id === 'p4' ? { ...peer, storeId: 'newer' } : peer));
    const slots = [
      { epoch: 8, inSync: ['p4', 'p3'] },
      { epoch: 5, inSync: ['p3'] },
    ];
    const aside = withAnswer(withAccepted(map, ['p4']), answerOf('p3', mapOf(9, slots, { peers })));
    expect(peerOf(aside, 'p4')).toMatchObject({ state: 'awaited', mode: 'set-aside' });
    expect(aside.slots[0]).toMatchObject({ primary: 'p3', inSync: ['p3'] });
    const removed = withOperation(map, 'p4', { kind: 'remove' });
    for (const theirs of [mapOf(9, slots), mapOf(9, slots, { peers })]) {
      expect(withAnswer(removed, answerOf('p3', theirs)).slots[0]).toMatchObject({ primary: 'p3', inSync: ['p3'] });
    }
    const alone = [
      { epoch: 8, inSync: ['p4'] },
      { epoch: 5, inSync: ['p3'] },
    ];
    const lost = withAnswer(removed, answerOf('p3', mapOf(9, alone, { peers })));
    expect(lost.slots[0]).toMatchObject({ primary: undefined, inSync: ['p4'] });
    expect(peerOf(lost, 'p4')).toMatchObject({ state: 'removed', storeId: 'store-4' });
  });

  it('is not refused for a store that no record of it names', () => {
    const peers = peerRecords(4).map((peer) => (peer.id === 'p1' ? { ...peer, storeId: 'newer' } : peer));
    const slots = [
      { epoch: 8, inSync: ['p3'] },
      { epoch: 5, inSync: ['p3'] },
    ];
    const after = withAnswer(map, answerOf('p3', mapOf(9, slots, { peers })));
    expect(after.slots[0]).toMatchObject({ primary: 'p3' });
    expect(peerOf(after, 'p1')?.storeId).toBe('store-1');
  });

  it('is refused when it knows another store of one that was heard', () => {
    const peers = peerRecords(4).map((peer) => (peer.id === 'p1' ? { ...peer, storeId: 'newer' } : peer));
    const slots = [
      { epoch: 8, inSync: ['p3', 'p1'] },
      { epoch: 5, inSync: ['p3'] },
    ];
    expect(codeOf(() => withAnswer(map, answerOf('p3', mapOf(9, slots, { peers }))))).toBe('conflict');
  });

  it('may name peers that nobody knew of', () => {
    const newer = mapOf(
      9,
      [
        { epoch: 8, inSync: ['p3', 'p5'] },
        { epoch: 5, inSync: ['p3'] },
      ],
      {
        peers: peerRecords(5),
      },
    );
    const after = withAnswer(map, answerOf('p3', newer));
    expect(peerOf(after, 'p5')?.state).toBe('awaited');
    expect(awaitedSlots(after).get('p5')).toEqual([0]);
  });

  it('may know a store under another id than it joined by, having nothing, after the recovery', () => {
    const joined = withPeerJoined(map, joinRequest(5), new Set());
    expect(joined).toMatchObject({ kind: 'new', peer: { id: 'p1001' } });
    const newer = mapOf(
      9,
      [
        { epoch: 8, inSync: ['p5'] },
        { epoch: 9, inSync: ['p3'], joining: ['p5'] },
      ],
      { peers: peerRecords(5) },
    );
    const after = withAnswer(joined.map, answerOf('p3', newer));
    expect(after.peers.map(({ id }) => id)).toEqual(['p1', 'p2', 'p3', 'p4', 'p1001']);
    expect(after.slots[0]).toMatchObject({ primary: 'p1001', inSync: ['p1001'] });
    expect(after.slots[1]).toMatchObject({ primary: 'p3', joining: ['p1001'] });
  });

  it('changes nothing where all who are named were heard', () => {
    const served = recovered(answerOf('p1', mapOf(7, [{ epoch: 5, inSync: ['p1'] }])));
    const after = withAnswer(served, answerOf('p3', mapOf(9, [{ epoch: 8, inSync: ['p3'] }])));
    expect(after.slots).toEqual(served.slots);
    expect(peerOf(after, 'p3')?.state).toBe('up');
  });

  it('is refused the map before it has answered', () => {
    expect(codeOf(() => withPeerJoined(map, joinRequest(3), new Set()))).toBe('not-ready');
  });

  it('twice changes nothing', () => {
    const after = withAnswer(map, answerOf('p3', known));
    expect(withAnswer(after, answerOf('p3', known))).toBe(after);
  });

  it('waits again in a second recovery, made of maps of both lineages', () => {
    const late = mapOf(9, [
      { epoch: 8, inSync: ['p3'] },
      { epoch: 5, inSync: ['p3'] },
    ]);
    const again = { generation: 2, lineage: 'again' };
    const alone = recoveredMap([answerOf('p1', map)], again);
    expect(alone.slots.map(isWaiting)).toEqual([true, true]);
    const both = recoveredMap([answerOf('p1', map), answerOf('p3', late)], again);
    expect(both.slots[0]).toMatchObject({ primary: 'p3', inSync: ['p3'] });
  });
});

describe('a peer that is given up', () => {
  const known = mapOf(7, [
    { epoch: 5, inSync: ['p3', 'p1'], joining: ['p4'] },
    { epoch: 5, inSync: ['p3'], joining: ['p1'] },
    { epoch: 5, inSync: ['p3', 'p2', 'p1'] },
  ]);
  const map = recovered(answerOf('p1', known), answerOf('p4', known));
  const after = withAccepted(map, ['p3']);

  it('leaves its slots to the others in sync, but not what only it holds, nor what waits for another', () => {
    expect(after.slots[0]).toMatchObject({ primary: 'p1', inSync: ['p1'], joining: ['p4'] });
    expect(after.slots[1]).toMatchObject({ primary: undefined, inSync: ['p3'], joining: ['p1'] });
    expect(after.slots[2]).toMatchObject({ primary: undefined, inSync: ['p2', 'p1'], slotEpoch: 5 });
  });

  it('gets no copies when it returns, and brings back what waits for it alone', () => {
    const returned = withAnswer(after, answerOf('p3', known));
    expect(returned.slots[0]).toMatchObject({ primary: 'p1', inSync: ['p1'] });
    expect(returned.slots[1]).toMatchObject({ primary: 'p3', inSync: ['p3'] });
    expect(peerOf(returned, 'p3')).toMatchObject({ state: 'up', mode: 'set-aside' });
    expect(wantedPlacement(returned.peers, 3, 3).flat()).not.toContain('p3');
  });

  it('gets copies again when it comes back empty', () => {
    const served = withAccepted(recovered(answerOf('p1', mapOf(7, [{ epoch: 5, inSync: ['p1', 'p3'] }]))), ['p3']);
    const wiped = withPeerJoined(served, joinRequest(3, { storeId: 'wiped' }), new Set());
    expect(wiped).toMatchObject({ kind: 'new-store', peer: { id: 'p3', mode: 'normal', state: 'up' } });
  });

  it('stays aside until an operator enables it', () => {
    for (const kind of ['drain', 'maintenance'] as const) {
      expect(codeOf(() => withOperation(after, 'p3', { kind }))).toBe('conflict');
    }
    expect(peerOf(withOperation(after, 'p3', { kind: 'enable' }), 'p3')?.mode).toBe('normal');
  });

  it('must be one that did not answer', () => {
    expect(codeOf(() => withAccepted(map, ['p1']))).toBe('conflict');
    expect(codeOf(() => withAccepted(map, ['p9']))).toBe('not-found');
  });
});
