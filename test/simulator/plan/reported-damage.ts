/**
 * Somebody looks at what one disk holds, as a scrubber does, and tells its peer of what cannot be read there.
 */

import { hashOfName, hashOfSegment } from '../../../src/cluster/hashing.js';
import { slotOfHash } from '../../../src/cluster/map.js';
import { DfsError } from '../../../src/core/errors.js';
import { ConnectFailure } from '../../../src/core/network.js';
import { bodyOf, type StoredEntry } from '../../../src/peer/entry.js';
import type { RequestOf } from '../../../src/protocol/messages.js';
import { openSession } from '../../../src/protocol/session.js';
import type { SimCluster } from '../cluster.js';
import type { SimHost } from '../world/sim-host.js';

const timeoutMs = 1000;

/** Resolves when all have been told of, or the peer could not be; what comes of it is the peer's affair. */
export async function reportDamage(cluster: SimCluster, host: SimHost, entries: readonly StoredEntry[]): Promise<void> {
  const { map } = cluster;
  const address = cluster.peerOf(host)?.address;
  const environment = cluster.clients[0]?.environment;
  if (map === undefined || address === undefined || environment === undefined) return;
  const hello = { role: 'client', generation: 1 } as const;
  try {
    const session = await openSession(environment, address, { hello, timeoutMs });
    const reports = entries.flatMap((entry) => toReport(entry, map.slots.length));
    await Promise.all(reports.map((header) => session.request('report-damage', header, { timeoutMs })));
    session.close('All was reported');
  } catch (error) {
    if (!(error instanceof DfsError || error instanceof ConnectFailure)) throw error;
  }
}

function toReport(entry: StoredEntry, slotCount: number): readonly RequestOf<'report-damage'>[] {
  if (entry.kind === 'record') {
    const { bucket, name, uploadId } = bodyOf(entry, 'record');
    return [{ slot: slotOfHash(hashOfName(name), slotCount), bucket, name, uploadId, index: 0 }];
  }
  if (entry.kind !== 'segment') return [];
  const { bucket, name, uploadId, index } = bodyOf(entry, 'segment');
  return [{ slot: slotOfHash(hashOfSegment(uploadId, index), slotCount), bucket, name, uploadId, index }];
}
