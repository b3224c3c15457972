import { describe, expect, test } from 'vitest';
import { healthOf, peerLoads } from '../../../src/cluster/health.js';
import type { ClusterMap } from '../../../src/cluster/map.js';
import { createCluster, withPeerDown } from '../../../src/cluster/membership.js';
import { joinedCluster, levelCluster, settings, withRecords } from './fixtures.js';

const wish = (map: ClusterMap, ...peers: string[]) => map.slots.map(() => peers);
const nobody: ReadonlySet<string> = new Set();

describe('health', () => {
  test('a cluster with every copy in sync is healthy and gives no reasons', () => {
    const map = levelCluster(['p1', 'p2'], 2);
    expect(healthOf(map, wish(map, 'p1', 'p2'))).toEqual({
      health: 'healthy',
      reasons: [],
      slots: { total: 8, whole: 8, degraded: 0, unavailable: 0 },
      sharedZoneSlots: [],
    });
  });

  test('a backup that is down degrades the slots it backs up, before and after it is taken out of the sets', () => {
    const map = withPeerDown(levelCluster(['p1', 'p2'], 2), { peer: 'p2', answered: new Set(['p1']) });
    const shrunk = withRecords(map, () => ({ inSync: ['p1'] }));
    for (const state of [map, shrunk]) {
      expect(healthOf(state, wish(map, 'p1', 'p2'))).toMatchObject({
        health: 'degraded',
        reasons: ['Peer p2 (10.0.0.2:7421) is down: 8 slots have 1 of 2 copies'],
        slots: { whole: 0, degraded: 8, unavailable: 0 },
      });
    }
  });

  test('a peer that is up and not level yet is getting its copies', () => {
    const map = withRecords(levelCluster(['p1', 'p2'], 2), (slot) =>
      slot === 0 ? { inSync: ['p1'], joining: ['p2'] } : {},
    );
    expect(healthOf(map, wish(map, 'p1', 'p2')).reasons).toEqual([
      'Peer p2 (10.0.0.2:7421) is getting its copies: 1 slot has 1 of 2 copies',
    ]);
  });

  test('slots whose holders are all down make the cluster unavailable, and the sentence names who must return', () => {
    const map = withRecords(levelCluster(['p1', 'p2'], 2), (slot) => (slot < 3 ? { inSync: ['p1'] } : {}));
    const down = withPeerDown(map, { peer: 'p1', answered: new Set(['p2']) });
    const health = healthOf(down, wish(map, 'p1', 'p2'));
    expect(health).toMatchObject({ health: 'unavailable', slots: { whole: 0, degraded: 5, unavailable: 3 } });
    expect(health.reasons).toEqual([
      'Nobody in sync can be reached, p1 (10.0.0.1:7421) must return: 3 slots have 0 of 2 copies',
      'Peer p1 (10.0.0.1:7421) is down: 5 slots have 1 of 2 copies',
    ]);
  });

  test('fewer copies than minInSync make slots read-only, and that is said', () => {
    const map = levelCluster(['p1', 'p2'], 2);
    const strict = { ...map, pool: { ...map.pool, minInSync: 2 } };
    const down = withPeerDown(strict, { peer: 'p2', answered: nobody });
    expect(healthOf(down, wish(map, 'p1', 'p2')).reasons[0]).toBe('8 slots are read-only: fewer than 2 copies in sync');
  });

  test('a lone peer is degraded because there are too few peers, an empty cluster unavailable', () => {
    const map = joinedCluster(1);
    const health = healthOf(map, wish(map, 'p1'));
    expect(health.health).toBe('degraded');
    expect(health.reasons).toEqual(['There are too few peers for 2 copies: 8 slots have 1 of 2 copies']);
    const empty = createCluster(settings);
    expect(healthOf(empty, wish(empty))).toMatchObject({ health: 'unavailable', reasons: ['No peer has joined yet'] });
  });

  test('slots whose copies share a zone are named', () => {
    const map = withRecords(levelCluster(['p1', 'p2'], 3), (slot) => (slot === 6 ? { inSync: ['p1', 'p3'] } : {}));
    const peers = map.peers.map((peer) => (peer.id === 'p3' ? { ...peer, zone: 'host-1' } : peer));
    expect(healthOf({ ...map, peers }, wish(map, 'p1', 'p2')).sharedZoneSlots).toEqual([6]);
  });
});

test('loads count the slots a peer leads, backs up and joins', () => {
  const map = withRecords(joinedCluster(3), (slot) =>
    slot < 5 ? { inSync: ['p1', 'p2'] } : { primary: 'p2', inSync: ['p2'], joining: ['p3'] },
  );
  expect(Object.fromEntries(peerLoads(map))).toEqual({
    p1: { primarySlots: 5, backupSlots: 0, joiningSlots: 0 },
    p2: { primarySlots: 3, backupSlots: 5, joiningSlots: 0 },
    p3: { primarySlots: 0, backupSlots: 0, joiningSlots: 3 },
  });
});
