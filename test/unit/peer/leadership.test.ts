import { expect, it } from 'vitest';
import type { ClusterMap } from '../../../src/cluster/map.js';
import { createCluster, withPeerJoined } from '../../../src/cluster/membership.js';
import { silentLog } from '../../../src/core/environment.js';
import { Identity } from '../../../src/peer/identity.js';
import { Leadership, type LeadershipParts } from '../../../src/peer/leadership.js';
import { joinRequest, settings } from '../cluster/fixtures.js';
import { ManualClock } from '../manual-clock.js';
import { MemoryNetwork } from '../memory-network.js';

function mapOf(incarnation: number): ClusterMap {
  return withPeerJoined(createCluster(settings), joinRequest(1, { incarnation }), new Set()).map;
}

/** Of the second start of p1. */
function leadershipOver(map: ClusterMap): Leadership {
  const random = { bytes: (count: number) => new Uint8Array(count), fraction: () => 0 };
  const me = new Identity({ storeId: 'store-1', incarnation: 2, clusterId: 'c1', peerId: 'p1' });
  const parts = {
    environment: { clock: new ManualClock(), random, network: new MemoryNetwork(), log: silentLog },
    me,
    index: { raisePromise: () => new Promise(() => undefined) },
    currentMap: () => map,
    onFailure: () => undefined,
    fetchMap: () => undefined,
  };
  return new Leadership(parts as unknown as LeadershipParts);
}

it('F9: a peer leads nothing by a map that names an earlier start of it', () => {
  const earlier = mapOf(1);
  const leadership = leadershipOver(earlier);
  leadership.startLeading(earlier);
  expect(leadership.all()).toEqual([]);
  const answered = mapOf(2);
  const asked = leadershipOver(answered);
  asked.startLeading(answered);
  expect(asked.all()).toHaveLength(settings.slotCount);
});

it('F9: another term ends a slot at once, a newer record of the same term does not', () => {
  const map = mapOf(2);
  const leadership = leadershipOver(map);
  leadership.startLeading(map);
  const [first, second] = map.slots;
  if (first === undefined || second === undefined) throw new Error('The map has slots');
  const newer = { ...first, slotEpoch: 50 };
  const other = { ...second, slotEpoch: 50, term: 50 };
  leadership.onMap({ ...map, epoch: 50, slots: [newer, other, ...map.slots.slice(2)] });
  expect(leadership.led(0)?.record.slotEpoch).toBe(50);
  expect(leadership.led(1)).toBeUndefined();
});
