import { describe, expect, it } from 'vitest';
import type { ClusterMap, PeerRecord, SlotRecord } from '../../../src/cluster/map.js';
import type { Moment } from '../../../src/core/probe.js';
import { mapChangeComplaints, plannedComplaints } from '../../simulator/checks/invariants-map.js';
import { Points } from '../../simulator/plan/points.js';
import { Bench } from './monitor-bench.js';

const start = new Bench().nextMap({ primary: 'p1', inSync: ['p1', 'p2'], joining: ['p3'] });

function changed(slot: Partial<SlotRecord>, peer: Partial<PeerRecord> & { id?: string } = {}): ClusterMap {
  const epoch = start.epoch + 1;
  const [record] = start.slots;
  if (record === undefined) throw new Error('The first map has a slot');
  const peers = start.peers.map((known) => (known.id === peer.id ? { ...known, ...peer } : known));
  return { ...start, epoch, peers, slots: [{ ...record, slotEpoch: epoch, ...slot }] };
}

const newTerm = { term: start.epoch + 1 };

describe('a change of the map', () => {
  it.each([
    ['a promotion of a member', changed({ ...newTerm, primary: 'p2', inSync: ['p2'] })],
    [
      'an addition and a handover at once',
      changed({
        ...newTerm,
        primary: 'p2',
        handoverOf: start.slots[0]?.term ?? 0,
        inSync: ['p1', 'p2', 'p3'],
        joining: [],
      }),
    ],
    ['a removal', changed({ inSync: ['p1'] })],
    ['an addition of who was joining', changed({ inSync: ['p1', 'p2', 'p3'], joining: [] })],
    ['a restart of the primary in a new term', changed(newTerm, { id: 'p1', incarnation: 2 })],
    ['a restart of a backup', changed({}, { id: 'p2', incarnation: 2 })],
  ])('may be %s', (_what, map) => {
    expect(mapChangeComplaints(start, map)).toEqual([]);
  });

  it.each([
    ['from outside the in-sync set', changed({ ...newTerm, primary: 'p3', inSync: ['p3'] })],
    ['without a new term', changed({ primary: 'p2', inSync: ['p2'] })],
    ['or was started, without a new term', changed({}, { id: 'p1', incarnation: 2 })],
    ['becomes in sync without joining', changed({ inSync: ['p1', 'p2', 'p4'] })],
    ['in the step that changes the term', changed({ ...newTerm, inSync: ['p1', 'p2', 'p3'] })],
    ['with a store that is new', changed({}, { id: 'p2', storeId: 'another' })],
    ['its primary p1 is not in sync', changed({ inSync: ['p2'] })],
    ['slotEpoch falls', changed({ slotEpoch: 0 })],
    ['not its slotEpoch', changed({ slotEpoch: start.epoch, inSync: ['p1'] })],
    ['term falls', changed({ term: 0 })],
    ['the incarnation of p2 falls', changed({}, { id: 'p2', incarnation: 0 })],
    ['the epoch goes from', { ...changed({}), epoch: start.epoch }],
    ['has vanished', { ...changed({}), peers: start.peers.slice(1) }],
  ])('is complained of: %s', (complaint, map) => {
    expect(mapChangeComplaints(start, map).join()).toContain(complaint);
  });

  it('that placement wants leaves the copies there are, up to those wanted', () => {
    expect(plannedComplaints(start, changed({ inSync: ['p1'] })).join()).toContain('leaves 1 copies of 2');
    const three = changed({ inSync: ['p1', 'p2', 'p3'], joining: [] });
    expect(plannedComplaints(three, { ...three, slots: changed({ inSync: ['p1', 'p3'] }).slots })).toEqual([]);
  });
});

describe('the maps that peers take', () => {
  it('never fall, and are those of the newest master', () => {
    const bench = new Bench();
    const [older, newer] = [bench.map, bench.commitMap({ inSync: ['p1'] })];
    const take = (map: object | undefined, point: 'mapTaken' | 'mapDurable' = 'mapDurable'): void => {
      if (map !== undefined) bench.at('p1', { point, storeId: 'store of p1', map });
    };
    take(newer);
    expect(bench.complaints).toEqual([]);
    take(older);
    expect(bench.complaints.join()).toContain('The map of p1 falls from epoch 2 to 1');
    take({ ...newer, masterIncarnation: 7 }, 'mapTaken');
    expect(bench.complaints.join()).toContain('takes map 2 of start 7, but that map was made by start 1');
  });

  it('of a master that runs over an old copy of its store are complained of', () => {
    const bench = new Bench();
    const old = bench.map;
    bench.commitMap({ inSync: ['p1'] });
    const { map } = bench;
    if (map !== undefined) bench.at('p1', { point: 'mapTaken', storeId: 'store of p1', map });
    bench.at('master', { point: 'mapLoaded', map: old });
    const forked = { ...bench.nextMap({}), epoch: 3, masterIncarnation: 2 };
    bench.at('master', { point: 'mapCommitted', before: old, after: forked });
    expect(bench.complaints).toEqual([]);
    bench.at('p2', { point: 'mapTaken', storeId: 'store of p2', map: forked });
    expect(bench.complaints.join()).toContain('p2 takes map 3 of start 2, but that map is unknown');
  });

  it('are no longer those that nobody had heard of when the master’s store was put back', () => {
    const bench = new Bench();
    const old = bench.map;
    bench.commitMap({ inSync: ['p1'] });
    bench.at('master', { point: 'mapLoaded', map: old });
    const next = { ...bench.nextMap({}), epoch: 2, masterIncarnation: 2 };
    bench.at('master', { point: 'mapCommitted', before: old, after: next });
    bench.at('p2', { point: 'mapTaken', storeId: 'store of p2', map: next });
    expect(bench.complaints).toEqual([]);
  });

  it('are acted on only with all promises durable', () => {
    const bench = new Bench();
    const map = { ...bench.nextMap({}), epoch: 1 };
    bench.at('p1', { point: 'mapDurable', storeId: 'store of p1', map });
    expect(bench.complaints.join()).toContain('having promised only 1 for slot 0 of slotEpoch 2');
  });
});

describe('a point that is armed', () => {
  const serving: Moment = { point: 'sealed', slot: 0, term: 1 };

  it('strikes once, after those it passes over', () => {
    const struck: string[] = [];
    const points = new Points<string>();
    points.arm({ point: 'sealed', skip: 1, act: (host) => void struck.push(host) });
    for (const host of ['a', 'b', 'c']) points.reach(host, serving);
    expect(struck).toEqual(['b']);
  });

  it('does not strike at others, nor when it is disarmed', () => {
    const struck: string[] = [];
    const points = new Points<string>();
    points.arm({ point: 'levelled', skip: 0, act: (host) => void struck.push(host) });
    points.reach('a', serving);
    points.disarmAll();
    points.reach('a', { point: 'levelled', slot: 0, term: 1 });
    expect(struck).toEqual([]);
  });
});
