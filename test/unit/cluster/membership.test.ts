import { describe, expect, test } from 'vitest';
import type { ClusterMap } from '../../../src/cluster/map.js';
import {
  createCluster,
  lastHeldBy,
  withPeerDown,
  withPeerJoined,
  withPeerLeaving,
  withPeerUp,
  withPromotions,
} from '../../../src/cluster/membership.js';
import { withSettings } from '../../../src/cluster/settings.js';
import { DfsError } from '../../../src/core/errors.js';
import { limits } from '../../../src/core/limits.js';
import { joinedCluster, joinRequest, levelCluster, peerRecord, settings, withRecords } from './fixtures.js';

const nobody: ReadonlySet<string> = new Set();

function codeOf(task: () => unknown): string {
  try {
    task();
  } catch (error) {
    if (error instanceof DfsError) return error.code;
    throw error;
  }
  return 'no refusal';
}

function stateOf(map: ClusterMap, id: string): string | undefined {
  return map.peers.find((peer) => peer.id === id)?.state;
}

describe('a new cluster', () => {
  test('has no peers and no primaries', () => {
    const map = createCluster(settings);
    expect(map.epoch).toBe(1);
    expect(map.peers).toEqual([]);
    expect(map.slots).toHaveLength(8);
    expect(map.slots[0]).toEqual({ slotEpoch: 1, term: 1, primary: undefined, inSync: [], joining: [] });
  });

  test('refuses settings that cannot hold (F25)', () => {
    for (const wrong of [
      { replicas: 0 },
      { replicas: 4 },
      { replicas: 1.5 },
      { minInSync: 0 },
      { minInSync: 3 },
      { slotCount: 1000 },
      { slotCount: 0 },
      { slotCount: 32_768 },
    ]) {
      expect(
        codeOf(() => createCluster({ ...settings, ...wrong })),
        JSON.stringify(wrong),
      ).toBe('invalid');
    }
  });

  test('settings change under a new epoch, and minInSync never exceeds replicas', () => {
    const map = joinedCluster(1);
    const changed = withSettings(map, { replicas: 3, minInSync: 2, repairGraceMs: 5 });
    expect(changed.pool).toEqual({ name: 'default', replicas: 3, minInSync: 2 });
    expect(changed.repairGraceMs).toBe(5);
    expect(changed.epoch).toBeGreaterThan(map.epoch);
    expect(changed.slots).toBe(map.slots);
    expect(withSettings(map, { replicas: 2 })).toBe(map);
    expect(codeOf(() => withSettings(map, { minInSync: 3 }))).toBe('invalid');
  });
});

describe('joining', () => {
  test('the first peer leads every slot alone, the next ones lead none', () => {
    const map = joinedCluster(3);
    expect(map.peers.map((peer) => peer.id)).toEqual(['p1', 'p2', 'p3']);
    for (const record of map.slots) expect(record).toMatchObject({ primary: 'p1', inSync: ['p1'], joining: [] });
    expect(map.slots[0]?.slotEpoch).toBe(2);
  });

  test('a restarted peer begins a new term in the slots it leads, and only there (F9)', () => {
    const map = withRecords(joinedCluster(2), (slot) =>
      slot < 3 ? { primary: 'p2', inSync: ['p2', 'p1'], handoverOf: 1 } : {},
    );
    const { map: after, kind, peer } = withPeerJoined(map, joinRequest(2, { incarnation: 2 }), nobody);
    expect(kind).toBe('restarted');
    expect(peer.incarnation).toBe(2);
    for (const [slot, record] of after.slots.entries()) {
      if (slot >= 3) expect(record).toBe(map.slots[slot]);
      else
        expect(record).toEqual({
          primary: 'p2',
          inSync: ['p2', 'p1'],
          joining: [],
          slotEpoch: after.epoch,
          term: after.epoch,
        });
    }
  });

  test('the same process heard again keeps its terms', () => {
    const map = withPeerDown(levelCluster(['p1'], 1), { peer: 'p1', answered: nobody });
    expect(stateOf(map, 'p1')).toBe('down');
    const { map: after, kind } = withPeerJoined(map, joinRequest(1), nobody);
    expect(kind).toBe('returned');
    expect(stateOf(after, 'p1')).toBe('up');
    expect(after.slots).toBe(map.slots);
    expect(withPeerJoined(after, joinRequest(1), nobody).map).toBe(after);
  });

  test('an older start of a peer is refused', () => {
    const map = withPeerJoined(joinedCluster(2), joinRequest(2, { incarnation: 5 }), nobody).map;
    expect(codeOf(() => withPeerJoined(map, joinRequest(2, { incarnation: 4 }), nobody))).toBe('wrong-identity');
  });

  test('an id the cluster does not know and a removed peer are refused; a known store says who it is', () => {
    const map = joinedCluster(2);
    const join = (peerId: string, storeId: string) => () =>
      withPeerJoined(map, { ...joinRequest(2), peerId, storeId }, nobody);
    expect(codeOf(join('p9', 'store-9'))).toBe('wrong-identity');
    expect(withPeerJoined(map, { ...joinRequest(2), peerId: 'p1' }, nobody).peer.id).toBe('p2');
    expect(codeOf(join('p2', 'store-2'))).toBe('no refusal');
    const removed = { ...map, peers: map.peers.map((peer) => ({ ...peer, state: 'removed' as const })) };
    expect(codeOf(() => withPeerJoined(removed, joinRequest(2), nobody))).toBe('removed');
  });

  test('F26: a map full of removed peers forgets the first that no slot remembers, and gives no id twice', () => {
    const living = joinedCluster(2);
    const removed = Array.from({ length: limits.peersMax - 2 }, (_, index) =>
      peerRecord(index + 3, { state: 'removed', storeId: `old-${index + 3}` }),
    );
    const remembered = { removed: [{ peer: 'p3', atEpoch: 2 }] };
    const full = withRecords({ ...living, peers: [...living.peers, ...removed] }, () => remembered);
    const newest = limits.peersMax + 1;
    const { map, peer } = withPeerJoined(full, joinRequest(newest), nobody);
    expect(peer.id).toBe(`p${newest}`);
    expect(map.peers).toHaveLength(limits.peersMax);
    expect(full.peers.filter((each) => !map.peers.includes(each)).map(({ id }) => id)).toEqual(['p4']);
    expect(codeOf(() => withPeerJoined(map, { ...joinRequest(4), peerId: 'p4' }, nobody))).toBe('wrong-identity');
    const allLive = { ...full, peers: full.peers.map((each) => ({ ...each, state: 'up' as const })) };
    expect(codeOf(() => withPeerJoined(allLive, joinRequest(newest), nobody))).toBe('invalid');
  });

  test('weights that cannot be placed are refused', () => {
    for (const weight of [-1, 65, Number.NaN]) {
      expect(codeOf(() => withPeerJoined(joinedCluster(1), { ...joinRequest(2), weight }, nobody))).toBe('invalid');
    }
  });

  test('a new address moves nothing, and a new weight only what it must: tokens stay as at the first joining', () => {
    const map = withPeerJoined(joinedCluster(1), { ...joinRequest(2), weight: 3 }, nobody).map;
    const { peer } = withPeerJoined(map, { ...joinRequest(2), address: '10.1.1.1:9', weight: 2 }, nobody);
    const tokens = { tokenAddress: '10.0.0.2:7421', tokenWeight: 3 };
    expect(peer).toMatchObject({ id: 'p2', address: '10.1.1.1:9', weight: 2, ...tokens });
  });
});

describe('a new store on a known address or id', () => {
  const wiped = joinRequest(1, { storeId: 'store-1-new' });

  test('is in no set, and another member leads at once (S3, F11)', () => {
    const map = withRecords(joinedCluster(3), (slot) =>
      slot % 2 === 0
        ? { primary: 'p1', inSync: ['p1', 'p2'], joining: ['p3'] }
        : { primary: 'p3', inSync: ['p3'], joining: ['p1'] },
    );
    for (const join of [wiped, { ...wiped, peerId: 'p1', address: '10.7.7.7:1' }]) {
      const { map: after, kind, peer } = withPeerJoined(map, join, new Set(['p2', 'p3']));
      expect(kind).toBe('new-store');
      expect(peer).toMatchObject({ id: 'p1', storeId: 'store-1-new' });
      for (const [slot, record] of after.slots.entries()) {
        expect(record.slotEpoch).toBe(after.epoch);
        if (slot % 2 === 0) {
          expect(record).toMatchObject({ primary: 'p2', inSync: ['p2'], joining: ['p3'], term: after.epoch });
          expect(record.removed).toEqual([{ peer: 'p1', atEpoch: after.epoch }]);
        } else expect(record).toMatchObject({ primary: 'p3', inSync: ['p3'], joining: [], term: map.slots[1]?.term });
      }
    }
  });

  test('its slots wait for the other member when that one does not answer', () => {
    const down = withPeerDown(levelCluster(['p1', 'p2'], 2), { peer: 'p2', answered: nobody });
    const { map: after } = withPeerJoined(down, wiped, nobody);
    expect(after.slots[0]).toMatchObject({ primary: 'p2', inSync: ['p2'] });
  });

  test('becomes a peer of its own when the old store is the last holder of a slot', () => {
    const map = withRecords(levelCluster(['p1', 'p2'], 2), (slot) => (slot === 5 ? { inSync: ['p1'] } : {}));
    expect(lastHeldBy(map, 'p1')).toEqual([5]);
    const { map: after, kind, peer } = withPeerJoined(map, wiped, new Set(['p2']));
    expect(kind).toBe('new');
    expect(peer).toMatchObject({ id: 'p3', address: '10.0.0.1:7421', tokenAddress: '10.0.0.1:7421#p3' });
    expect(after.slots).toBe(map.slots);
    expect(withPeerJoined(after, joinRequest(1, { incarnation: 2 }), nobody).peer.id).toBe('p1');
  });
});

describe('death and promotion', () => {
  test('an in-sync member that answered leads a new term without the dead one', () => {
    const map = withRecords(levelCluster(['p1', 'p2'], 3), () => ({ joining: ['p3'], handoverOf: 1 }));
    const after = withPeerDown(map, { peer: 'p1', answered: new Set(['p2', 'p3']) });
    expect(stateOf(after, 'p1')).toBe('down');
    for (const record of after.slots) {
      expect(record).toEqual({
        slotEpoch: after.epoch,
        term: after.epoch,
        primary: 'p2',
        inSync: ['p2'],
        joining: ['p3'],
        removed: [{ peer: 'p1', atEpoch: after.epoch }],
      });
    }
  });

  test('a joining peer and one outside the set are never promoted, however lively', () => {
    const map = withRecords(levelCluster(['p1'], 3), () => ({ joining: ['p2'] }));
    const after = withPeerDown(map, { peer: 'p1', answered: new Set(['p2', 'p3']) });
    expect(after.slots).toBe(map.slots);
  });

  test('a member that did not answer is not promoted: the slot waits until the member is back and answers', () => {
    const map = levelCluster(['p1', 'p2'], 2);
    const bothDown = withPeerDown(withPeerDown(map, { peer: 'p2', answered: nobody }), {
      peer: 'p1',
      answered: new Set(['p2']),
    });
    expect(bothDown.slots).toBe(map.slots);
    const back = withPeerJoined(bothDown, joinRequest(2, { incarnation: 2 }), nobody).map;
    expect(withPromotions(back, nobody)).toBe(back);
    const promoted = withPromotions(back, new Set(['p2']));
    for (const record of promoted.slots) expect(record).toMatchObject({ primary: 'p2', inSync: ['p2'] });
  });

  test('the dead one stays in the sets of slots it does not lead: their primaries take it out', () => {
    const map = levelCluster(['p1', 'p2'], 2);
    expect(withPeerDown(map, { peer: 'p2', answered: new Set(['p1']) }).slots).toBe(map.slots);
  });

  test('several successors share the slots', () => {
    const after = withPeerDown(levelCluster(['p1', 'p2', 'p3'], 3, 3), { peer: 'p1', answered: new Set(['p2', 'p3']) });
    expect(after.slots.filter((record) => record.primary === 'p2')).toHaveLength(4);
    expect(after.slots.filter((record) => record.primary === 'p3')).toHaveLength(4);
  });

  test('a peer that answers again is up and keeps what nobody took over', () => {
    const map = withPeerDown(levelCluster(['p1'], 2), { peer: 'p1', answered: new Set(['p2']) });
    const up = withPeerUp(map, 'p1');
    expect(stateOf(up, 'p1')).toBe('up');
    expect(up.slots).toBe(map.slots);
    expect(withPeerUp(up, 'p1')).toBe(up);
    expect(withPeerDown(map, { peer: 'p1', answered: nobody })).toBe(map);
  });
});

describe('goodbye', () => {
  test('a leaver goes out of the sets in which others remain, and stays where it is the last', () => {
    const map = withRecords(joinedCluster(3), (slot) => {
      if (slot < 2) return { primary: 'p2', inSync: ['p2', 'p1'] };
      if (slot < 4) return { primary: 'p2', inSync: ['p2'], joining: ['p1'] };
      return slot < 6 ? { primary: 'p1', inSync: ['p1', 'p3'] } : { primary: 'p1', inSync: ['p1'] };
    });
    const others = new Set(['p2', 'p3']);
    const after = withPeerLeaving(map, { peer: 'p1', answered: others, present: others });
    expect(stateOf(after, 'p1')).toBe('down');
    const sets = after.slots.map(({ primary, inSync, joining }) => [primary, inSync.join(), joining.join()].join('/'));
    expect(sets).toEqual(['p2/p2/', 'p2/p2/', 'p2/p2/', 'p2/p2/', 'p3/p3/', 'p3/p3/', 'p1/p1/', 'p1/p1/']);
    expect(after.slots[0]?.term).toBe(map.slots[0]?.term);
  });

  test('a leaver whose successor does not answer keeps its slots until it returns', () => {
    const map = levelCluster(['p1', 'p2'], 2);
    const after = withPeerLeaving(map, { peer: 'p1', answered: nobody, present: nobody });
    expect(after.slots).toBe(map.slots);
  });

  test('S1: a leaver stays in the sets whose primary was not heard of lately: it may have everything alone', () => {
    const map = withRecords(levelCluster(['p1', 'p2', 'p3'], 2), (slot) => ({
      primary: slot < 4 ? 'p2' : 'p3',
      inSync: slot < 4 ? ['p2', 'p1'] : ['p3', 'p1'],
    }));
    const after = withPeerLeaving(map, { peer: 'p1', answered: nobody, present: new Set(['p3']) });
    const sets = after.slots.map(({ inSync }) => inSync.join());
    expect(sets.slice(0, 5)).toEqual(['p2,p1', 'p2,p1', 'p2,p1', 'p2,p1', 'p3']);
  });
});
