import { describe, expect, test } from 'vitest';
import { type ClusterMap, type PeerRecord, peerOf } from '../../../src/cluster/map.js';
import { withPeerDown, withPeerJoined, withPeerUp } from '../../../src/cluster/membership.js';
import { movesTo } from '../../../src/cluster/moves.js';
import { withOperation } from '../../../src/cluster/operations.js';
import { wantedPlacement } from '../../../src/cluster/placement.js';
import { planSteps } from '../../../src/cluster/planner.js';
import { withSettings } from '../../../src/cluster/settings.js';
import { whatIf } from '../../../src/cluster/what-if.js';
import { isRefusal } from '../../../src/core/errors.js';
import { joinRequest, levelCluster, withRecords } from './fixtures.js';

const nobody: ReadonlySet<string> = new Set();

function withPeer(map: ClusterMap, id: string, change: Partial<PeerRecord>): ClusterMap {
  return { ...map, peers: map.peers.map((peer) => (peer.id === id ? { ...peer, ...change } : peer)) };
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isRefusal(error)) return error.code;
    throw error;
  }
  return 'done';
}

const wantedOf = (map: ClusterMap) => wantedPlacement(map.peers, map.slots.length, map.pool.replicas);

describe('drain, maintenance, enable', () => {
  test('a drained peer is wanted nowhere, through a death and a return too', () => {
    const map = withOperation(levelCluster(['p1', 'p2'], 3), 'p2', { kind: 'drain' });
    expect(wantedOf(map).flat()).not.toContain('p2');
    const back = withPeerUp(withPeerDown(map, { peer: 'p2', answered: nobody }), 'p2');
    expect(peerOf(back, 'p2')).toMatchObject({ state: 'up', mode: 'draining' });
    expect(wantedOf(withOperation(back, 'p2', { kind: 'enable' })).flat()).toContain('p2');
  });

  test('asked for again it changes nothing', () => {
    const map = withOperation(levelCluster(['p1', 'p2'], 3), 'p2', { kind: 'maintenance' });
    expect(withOperation(map, 'p2', { kind: 'maintenance' })).toBe(map);
  });

  test('the last peer is not drained, and an unknown one not found', () => {
    const map = levelCluster(['p1'], 1);
    expect(codeOf(() => withOperation(map, 'p1', { kind: 'drain' }))).toBe('conflict');
    expect(codeOf(() => withOperation(map, 'p7', { kind: 'drain' }))).toBe('not-found');
  });
});

describe('weight and zone', () => {
  test('stay as an operator set them until the peer’s own flags say something else', () => {
    const map = withOperation(levelCluster(['p1', 'p2'], 2), 'p2', { kind: 'set', weight: 3, zone: 'rack' });
    const again = withPeerJoined(map, { ...joinRequest(2), incarnation: 2 }, nobody).map;
    expect(peerOf(again, 'p2')).toMatchObject({ weight: 3, zone: 'rack' });
    const told = withPeerJoined(again, { ...joinRequest(2), incarnation: 3, weight: 2 }, nobody).map;
    expect(peerOf(told, 'p2')).toMatchObject({ weight: 2, zone: 'rack', flagWeight: 2 });
  });

  test('out of range or without a name they are refused', () => {
    const map = levelCluster(['p1', 'p2'], 2);
    expect(codeOf(() => withOperation(map, 'p2', { kind: 'set', weight: -1 }))).toBe('invalid');
    expect(codeOf(() => withOperation(map, 'p2', { kind: 'set', weight: Number.NaN }))).toBe('invalid');
    expect(codeOf(() => withOperation(map, 'p2', { kind: 'set', zone: '' }))).toBe('invalid');
    expect(codeOf(() => withOperation(levelCluster(['p1'], 1), 'p1', { kind: 'set', weight: 0 }))).toBe('conflict');
    const cluster = levelCluster(['p1'], 1);
    const away = { ...cluster, peers: cluster.peers.map((peer) => ({ ...peer, state: 'down' as const, isOut: true })) };
    expect(withOperation(away, 'p1', { kind: 'set', weight: 3 }).peers[0]?.weight).toBe(3);
  });
});

describe('remove and repair', () => {
  const holding = levelCluster(['p1', 'p2'], 3);

  test('a peer that runs and holds copies is not removed, one that holds none is', () => {
    expect(codeOf(() => withOperation(holding, 'p2', { kind: 'remove' }))).toBe('conflict');
    const removed = withOperation(holding, 'p3', { kind: 'remove' });
    expect(peerOf(removed, 'p3')?.state).toBe('removed');
    expect(withOperation(removed, 'p3', { kind: 'remove' })).toBe(removed);
    expect(codeOf(() => withOperation(removed, 'p3', { kind: 'enable' }))).toBe('conflict');
  });

  test('a dead peer leaves every set when it is removed, if others have what it had', () => {
    const down = withPeer(holding, 'p2', { state: 'down' });
    const removed = withOperation(down, 'p2', { kind: 'remove' });
    expect(removed.slots.every(({ inSync }) => inSync.join() === 'p1')).toBe(true);
    const lone = withRecords(down, () => ({ primary: 'p2', inSync: ['p2'] }));
    expect(codeOf(() => withOperation(lone, 'p2', { kind: 'remove' }))).toBe('conflict');
    const leading = withRecords(down, () => ({ primary: 'p2', inSync: ['p2', 'p1'] }));
    expect(codeOf(() => withOperation(leading, 'p2', { kind: 'remove' }))).toBe('unavailable');
  });

  test('repair by hand takes only one that is down, also from its maintenance', () => {
    expect(codeOf(() => withOperation(holding, 'p2', { kind: 'repair' }))).toBe('conflict');
    const down = withPeer(holding, 'p2', { state: 'down', mode: 'maintenance' });
    expect(peerOf(withOperation(down, 'p2', { kind: 'repair' }), 'p2')).toMatchObject({ isOut: true, mode: 'normal' });
  });

  test('repair by hand of one that is out already changes nothing, or else the epoch too', () => {
    const out = withPeer(holding, 'p2', { state: 'down', isOut: true });
    expect(withOperation(out, 'p2', { kind: 'repair' })).toBe(out);
    const kept = withPeer(out, 'p2', { mode: 'maintenance' });
    const repaired = withOperation(kept, 'p2', { kind: 'repair' });
    expect(peerOf(repaired, 'p2')).toMatchObject({ isOut: true, mode: 'normal' });
    expect(repaired.epoch).toBe(kept.epoch + 1);
  });

  test('maintenance of one that is out already ends that', () => {
    const out = withPeer(holding, 'p2', { state: 'down', isOut: true });
    const kept = withOperation(out, 'p2', { kind: 'maintenance' });
    expect(peerOf(kept, 'p2')).toMatchObject({ isOut: false, mode: 'maintenance' });
    expect(wantedOf(kept).flat()).toContain('p2');
  });

  test('S7: of copies that are all on dead peers none is given up: the other disk may be the one that is gone', () => {
    const bothDown = withPeer(withPeer(holding, 'p2', { state: 'down' }), 'p1', { state: 'down' });
    expect(codeOf(() => withOperation(bothDown, 'p2', { kind: 'remove' }))).toBe('conflict');
    expect(codeOf(() => withOperation(bothDown, 'p1', { kind: 'remove' }))).toBe('conflict');
  });
});

test('while moves are paused only missing copies are made', () => {
  const level = levelCluster(['p1', 'p2'], 3);
  const view = { nowMs: 60_000, upSinceMs: new Map(level.peers.map(({ id }) => [id, 0])) };
  const paused = withSettings(level, { movesPaused: true });
  const moved = paused.slots.map(() => ['p3', 'p1']);
  expect(planSteps(level, moved, view).joining).toHaveLength(8);
  expect(planSteps(paused, moved, view)).toEqual({ joining: [], drops: [], handovers: [] });
  const lacking = withRecords(paused, () => ({ inSync: ['p1'] }));
  expect(planSteps(lacking, moved, view).joining).toHaveLength(8);
  const handed = withRecords(paused, () => ({ inSync: ['p1', 'p3'] }));
  expect(planSteps(handed, moved, view)).toEqual({ joining: [], drops: [], handovers: [] });
});

test('what is moved is counted by what each slot holds, beside the least that any way moves', () => {
  const map = levelCluster(['p1', 'p2'], 3);
  const wanted = map.slots.map((_, slot) => (slot < 4 ? ['p1', 'p3'] : ['p2', 'p1']));
  const moves = movesTo(map, wanted, (slot) => ({ files: 1, bytes: 10 ** slot }));
  expect(moves).toEqual({
    ...{ slots: 4, copies: 4, leastCopies: 4, bytes: 1111 },
    peers: [{ id: 'p3', copiesIn: 4, bytesIn: 1111 }],
  });
});

describe('what if', () => {
  const amounts = () => ({ files: 2, bytes: 100 });
  const map = withRecords(levelCluster(['p1', 'p2'], 3), (slot) => (slot < 2 ? { inSync: ['p1', 'p3'] } : {}));
  const counts = (of: ClusterMap, ...stopped: string[]): number[] => {
    const { unreadable, unwritable, lost } = whatIf(of, new Set(stopped), amounts);
    return [unreadable, unwritable, lost].map(({ slots }) => slots.length);
  };

  test('one of two copies more or less stops nothing, both stop everything', () => {
    expect(counts(map, 'p2')).toEqual([0, 0, 0]);
    expect(counts(map, 'p1', 'p2')).toEqual([6, 6, 6]);
    expect(whatIf(map, new Set(['p1', 'p3']), amounts).lost).toEqual({ slots: [0, 1], files: 4, bytes: 200 });
  });

  test('below min-in-sync nothing is written, though it may be read', () => {
    expect(counts({ ...map, pool: { ...map.pool, minInSync: 2 } }, 'p3')).toEqual([0, 2, 0]);
  });

  test('what is unreadable already through others is not blamed on those who stop', () => {
    const down = withPeer(withPeer(map, 'p1', { state: 'down' }), 'p2', { state: 'down' });
    expect(counts(down, 'p3')).toEqual([2, 2, 0]);
    expect(counts(down, 'p1', 'p2')).toEqual([6, 6, 6]);
  });

  test('what a peer that is down already also has is not lost, but cannot be read until it returns', () => {
    const down = withPeer(map, 'p2', { state: 'down' });
    expect(counts(down, 'p1')).toEqual([6, 6, 0]);
  });
});
