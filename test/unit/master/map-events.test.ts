import { expect, it } from 'vitest';
import type { ClusterMap, PeerRecord, SlotRecord } from '../../../src/cluster/map.js';
import type { NewEvent } from '../../../src/master/events.js';
import { eventsBetween, eventsOfCopies, GatheredMoves, waitingSlots } from '../../../src/master/map-events.js';
import { peerRecord, plainMap } from '../cluster/fixtures.js';

function peer(id: string, more: Partial<PeerRecord> = {}): PeerRecord {
  return { ...peerRecord(1), id, storeId: `store-${id}`, address: `${id}:1`, zone: id, ...more };
}

function mapOf(peers: readonly PeerRecord[], slots: readonly Partial<SlotRecord>[]): ClusterMap {
  return {
    ...plainMap,
    pool: { name: 'default', replicas: 2, minInSync: 1 },
    peers,
    slots: slots.map((slot) => ({ slotEpoch: 5, term: 5, primary: 'p1', inSync: ['p1', 'p2'], joining: [], ...slot })),
  };
}

const pair = [peer('p1'), peer('p2')];
const told = (before: ClusterMap | undefined, after: ClusterMap) =>
  eventsBetween(before, after).map(({ kind, peer: who, slots, text }) => ({ kind, who, slots, text }));

it('slots that changed alike are one event', () => {
  const before = mapOf(pair, [{}, {}, {}]);
  const after = mapOf(pair, [{ primary: 'p2', inSync: ['p2'] }, { primary: 'p2', inSync: ['p2'] }, { inSync: ['p1'] }]);
  expect(told(before, after)).toEqual([
    { kind: 'promoted', who: 'p2', slots: [0, 1], text: 'p2 was promoted to primary of 2 slots that p1 served' },
    { kind: 'copy-removed', who: 'p1', slots: [0, 1], text: 'p1 left the in-sync set of 2 slots' },
    { kind: 'copy-removed', who: 'p2', slots: [2], text: 'p2 left the in-sync set of slot 2' },
  ]);
});

it('a handover is told from a promotion', () => {
  const after = mapOf(pair, [{ primary: 'p2', handoverOf: 5 }]);
  expect(told(mapOf(pair, [{}]), after)[0]).toMatchObject({ kind: 'handed-over', text: 'p1 handed slot 0 over to p2' });
});

it('copies that begin and end are told', () => {
  const alone = mapOf(pair, [{ inSync: ['p1'] }]);
  const joining = mapOf(pair, [{ inSync: ['p1'], joining: ['p2'] }]);
  expect(told(alone, joining)[0]).toMatchObject({ kind: 'copy-joining', who: 'p2' });
  expect(told(joining, mapOf(pair, [{}]))[0]).toMatchObject({ kind: 'copy-added', who: 'p2' });
});

it.each<[string, Partial<PeerRecord>, Partial<PeerRecord>, string]>([
  ['a new start', {}, { incarnation: 2 }, 'peer-started'],
  ['a new store', {}, { storeId: 'other', incarnation: 1 }, 'peer-replaced'],
  ['a return', { state: 'down' }, { state: 'up' }, 'peer-up'],
])('%s of a peer is told', (_what, was, is, kind) => {
  const events = told(mapOf([peer('p1', was)], []), mapOf([peer('p1', is)], []));
  expect(events).toMatchObject([{ kind, who: 'p1' }]);
});

it('slots whose primary is down wait', () => {
  const map = mapOf([peer('p1', { state: 'down' }), peer('p2')], [{}, { primary: 'p2' }]);
  expect(waitingSlots(map)).toEqual([0]);
});

it('moves are gathered until something else happens', () => {
  const gathered = new GatheredMoves();
  const added = (slot: number): NewEvent => ({ kind: 'copy-added', peer: 'p2', slots: [slot], text: '', epoch: slot });
  expect(gathered.add(added(1))).toEqual([]);
  expect(gathered.add(added(2))).toEqual([]);
  expect(gathered.add({ kind: 'peer-down', peer: 'p1', text: 'p1 is down' })).toEqual([
    { kind: 'copy-added', peer: 'p2', slots: [1, 2], text: 'p2 is in sync for 2 slots', epoch: 2 },
    { kind: 'peer-down', peer: 'p1', text: 'p1 is down' },
  ]);
  expect(gathered.takeAll()).toEqual([]);
});

it('what was copied is summed up for each who got it, also over several answers', () => {
  const add = (slot: number, peer: string, bytes: number) =>
    ({ slot, slotEpoch: 5, op: 'add', peer, keys: bytes === 0 ? 0 : 2, bytes }) as const;
  const gathered = new GatheredMoves();
  const first = eventsOfCopies('p1', [add(1, 'p2', 100), add(2, 'p2', 0), add(3, 'p3', 10)]);
  const events = [...first, ...eventsOfCopies('p1', [add(4, 'p2', 50)])];
  for (const event of events) expect(gathered.add(event)).toEqual([]);
  expect(gathered.takeAll()).toMatchObject([
    { peer: 'p1', slots: [1, 4], data: { to: 'p2', copiedSlots: 2, copiedEntries: 4, copiedBytes: 150 } },
    { peer: 'p1', slots: [3], text: 'p1 copied what p3 lacked: 2 entries in 1 slots, 10 bytes' },
  ]);
});
