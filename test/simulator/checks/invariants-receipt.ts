/**
 * What must hold of every receipt: the copies it counts exist, are of the set it was counted in, and are enough.
 */
import { type ClusterMap, peerOf, type SlotRecord } from '../../../src/cluster/map.js';
import { compareVersions, formatVersion, type PeerId, type StoreId, type Version } from '../../../src/core/ids.js';
import type { Moment } from '../../../src/core/probe.js';
import type { Teller } from './monitor.js';

/** A slot's record, with the stores its peers had then. */
export interface Standing {
  readonly record: SlotRecord;
  readonly map: ClusterMap;
}

export function receiptComplaints(
  { slotEpoch, term, version, durable }: Extract<Moment, { point: 'acknowledging' }>,
  on: Standing & {
    readonly teller: Teller;
    readonly what: string;
    readonly minInSync: number;
    /** Of the key: the newest version that was durable there, also if it has gone as surplus since. */
    readonly newestOn: (store: StoreId) => Version | 'gone' | undefined;
  },
): readonly string[] {
  const { record, map, teller, what, minInSync, newestOn } = on;
  const complaints: string[] = [];
  const storeOf = (peer: PeerId | undefined) => (peer === undefined ? undefined : peerOf(map, peer)?.storeId);
  if (record.term !== term || storeOf(record.primary) !== teller.disk.storeId) {
    complaints.push(`${teller.name} acknowledges ${what} in term ${term}, in which ${record.primary} leads`);
  }
  const outsiders = durable.filter((peer) => !record.inSync.includes(peer));
  if (outsiders.length > 0) {
    complaints.push(`${teller.name} counts ${outsiders} for ${what} at ${slotEpoch}: not of the in-sync set`);
  }
  if (durable.length < minInSync) {
    complaints.push(`${teller.name} acknowledges ${what} with ${durable.length} copies of ${minInSync}`);
  }
  for (const peer of durable) {
    const store = storeOf(peer);
    const newest = store === undefined ? 'gone' : newestOn(store);
    if (newest === 'gone' || (newest !== undefined && compareVersions(newest, version) >= 0)) continue;
    const there = newest === undefined ? 'nothing' : formatVersion(newest);
    complaints.push(`a receipt for ${what} counts ${peer}, where ${there} is durable`);
  }
  return complaints;
}
