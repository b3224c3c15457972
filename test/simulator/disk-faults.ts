/**
 * What goes wrong with disks: slow, full, rotten, wiped, lost.
 */
import type { Fault } from './fault.js';
import type { SimHost } from './sim-host.js';

export async function withDisk(fault: Fault, change: (host: SimHost) => () => void): Promise<void> {
  const undo = change(fault.anyPeer());
  await fault.sleep(fault.chance.between(50, 3000));
  undo();
}

/**
 * The host's store, emptied when its process ended, or only its index lost: a new store either way. Only when others
 * hold all it holds, as the map says by then.
 */
export async function wipe(fault: Fault): Promise<void> {
  const { cluster, chance, ward } = fault;
  if (ward.isWounded || cluster.map === undefined) return;
  const host = fault.anyPeer();
  const peer = cluster.map.peers.find(({ address }) => address.startsWith(`${host.name}:`));
  if (peer === undefined || !host.isRunning) return;
  ward.isWounded = true;
  host.crash({ isHost: chance.isLikely(0.5) });
  const { starts } = host;
  await fault.sleep(chance.between(1500, 3000));
  const map = cluster.master.isPaused ? undefined : cluster.map;
  const isElsewhere = map?.slots.every(({ inSync }) => !inSync.includes(peer.id) || inSync.length > 1) === true;
  const isLost = isElsewhere && host.starts === starts;
  if (isLost && chance.isLikely(0.7)) host.wipe();
  else if (isLost) host.disk.loseIndex();
  host.start();
  const isKnown = (): boolean =>
    !isLost || cluster.map?.peers.every(({ id, storeId }) => id !== peer.id || storeId !== peer.storeId) === true;
  while (!ward.isStopping && !(isKnown() && cluster.isWhole())) await fault.sleep(100);
  ward.isWounded = false;
}

/** A disk is gone, whoever else may hold what was on it. */
export async function loseDisk(fault: Fault): Promise<void> {
  const host = fault.chance.isLikely(0.5) ? fault.aPrimary() : fault.anyPeer();
  host.crash({ isHost: true });
  host.wipe();
  await fault.sleep(fault.chance.between(1, 2000));
  host.start();
}

/** Whether bytes on one disk may go bad now without being the last good ones. */
function mayRot({ cluster, ward }: Fault): boolean {
  return !ward.isRotting && !ward.isWounded && cluster.isWhole() && cluster.map?.slots.every(isCopied) === true;
}

function isCopied({ inSync }: { inSync: readonly string[] }): boolean {
  return inSync.length > 1;
}

export async function rotFile(fault: Fault): Promise<void> {
  const { chance, ward } = fault;
  if (!mayRot(fault)) return;
  const host = fault.anyPeer();
  const ids = [...host.disk.files.keys()];
  if (ids.length === 0) return;
  ward.isRotting = true;
  const rotten = ids.filter(() => chance.isLikely(0.5));
  const restores = rotten.map((id) => host.disk.rotFile(id, 4096 + chance.below(1000)));
  await fault.sleep(chance.between(50, 3000));
  for (const restore of restores) restore();
  ward.isRotting = false;
}

/** A bad sector: reads of some files fail for a while. */
export async function failReads(fault: Fault): Promise<void> {
  const { chance, ward } = fault;
  if (!mayRot(fault)) return;
  const host = fault.anyPeer();
  ward.isRotting = true;
  const bad = [...host.disk.files.keys()].filter(() => chance.isLikely(0.5));
  const restores = bad.map((id) => host.disk.makeUnreadable(id));
  await fault.sleep(chance.between(50, 3000));
  for (const restore of restores) restore();
  ward.isRotting = false;
}

export async function rotEntry(fault: Fault): Promise<void> {
  const { chance, ward } = fault;
  if (!mayRot(fault)) return;
  const host = fault.anyPeer();
  const keys = host.disk.index.durable.keys('entries', { from: new Uint8Array(0) });
  if (keys.length === 0) return;
  ward.isRotting = true;
  const restore = host.disk.index.rot('entries', chance.pick(keys));
  fault.cluster.trace?.(`rot an entry on ${host.name}`);
  await fault.sleep(chance.between(50, 3000));
  restore();
  ward.isRotting = false;
}
