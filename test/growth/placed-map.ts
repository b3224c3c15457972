/**
 * The map of a cluster of any size that has settled: every slot where placement wants it.
 */
import type { ClusterMap } from '../../src/cluster/map.js';
import { createCluster, withPeerJoined } from '../../src/cluster/membership.js';
import { wantedPlacement } from '../../src/cluster/placement.js';

/** The first peer is p1, at `addressOf(0)`. */
export function placedMap(of: { peerCount: number; slotCount: number; addressOf(at: number): string }): ClusterMap {
  let map = createCluster({
    ...{ clusterId: 'ab'.repeat(16), lineage: 'cd'.repeat(16), masterIncarnation: 1, slotCount: of.slotCount },
    ...{ repairGraceMs: 30_000, quarantineMs: 86_400_000, replicas: 2, minInSync: 1 },
  });
  for (let at = 0; at < of.peerCount; at++) {
    const address = of.addressOf(at);
    const place = { address, zone: address, weight: 1 };
    map = withPeerJoined(map, { storeId: at.toString(16).padStart(32, '0'), incarnation: 1, ...place }, new Set()).map;
  }
  const wanted = wantedPlacement(map.peers, of.slotCount, map.pool.replicas);
  const slots = map.slots.map((record, slot) => ({
    ...record,
    primary: wanted[slot]?.[0],
    inSync: wanted[slot] ?? [],
  }));
  return { ...map, slots };
}
