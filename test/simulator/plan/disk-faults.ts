/**
 * What goes wrong with disks: slow, full, rotten, wiped, lost.
 */
import { isWaiting, type PeerRecord, type SlotRecord } from '../../../src/cluster/map.js';
import { sameBytes } from '../../../src/core/checksum.js';
import { type PeerId, toHex } from '../../../src/core/ids.js';
import type { Moment } from '../../../src/core/probe.js';
import { bodyOf, decodeValue, keyOfName, keyOfSegment } from '../../../src/peer/entry.js';
import { placeOfKey } from '../../../src/peer/index-layout.js';
import { decodeHeader } from '../../../src/peer/segment-file.js';
import { faultOfBytes } from '../checks/deep-check.js';
import type { SimCluster } from '../cluster.js';
import { type SimHost, usualSyncMs } from '../world/sim-host.js';
import type { Fault } from './fault.js';
import { reportDamage } from './reported-damage.js';
import { scrubAndJudge } from './scrubbing.js';
import { atPoint } from './strikes.js';

export async function withDisk(fault: Fault, change: (host: SimHost) => () => void): Promise<void> {
  const undo = change(fault.anyPeer());
  await fault.sleep(fault.chance.between(50, 3000));
  undo();
}

export async function withSlowDisk(fault: Fault, host: SimHost): Promise<void> {
  host.syncMs = { leastMs: 5, mostMs: fault.chance.between(20, 700) };
  await fault.sleep(fault.chance.between(50, 3000));
  host.syncMs = usualSyncMs;
}

/** The host's store, emptied when its process ended, or only its index lost: a new store either way. */
export function wipe(fault: Fault): Promise<void> {
  return loseStore(fault, fault.chance.isLikely(0.7) ? (host) => host.wipe() : (host) => loseIndexOf(fault, host));
}

/** The folder still says which store it was. */
export function loseIndex(fault: Fault): Promise<void> {
  return loseStore(fault, (host) => loseIndexOf(fault, host));
}

/** What ruins an index mostly ruins some of the files beside it, for good: no entry names those any more. */
function loseIndexOf({ chance }: Fault, { disk }: SimHost): void {
  disk.loseIndex();
  const rotten = chance.isLikely(0.7) ? [...disk.files.keys()].filter(() => chance.isLikely(0.4)) : [];
  for (const id of rotten) disk.rotFile(id, 4096 + chance.below(1000));
}

/** Only when others hold all it holds, as the map says by then. */
async function loseStore(fault: Fault, lose: (host: SimHost) => void): Promise<void> {
  const { cluster, chance, ward } = fault;
  if (ward.isWounded || ward.isRotting || cluster.map === undefined) return;
  const host = fault.anyPeer();
  const peer = cluster.peerOf(host);
  if (peer === undefined || !host.isRunning) return;
  ward.isWounded = true;
  // Nobody need have noticed before it is there again; but only where nobody else can be on the way out of a set.
  const isSoon = ward.running === 1 && cluster.isWhole() && chance.isLikely(0.8);
  host.crash({ isHost: chance.isLikely(0.5) });
  const { starts } = host;
  await fault.sleep(isSoon ? chance.between(1, 300) : chance.between(1500, 3000));
  const map = cluster.master.isPaused ? undefined : cluster.map;
  const isElsewhere = map?.slots.every((record) => !isWaiting(record) && !isLastOn(record, peer.id)) === true;
  const isLost = isElsewhere && !ward.isRotting && host.starts === starts;
  if (isLost) lose(host);
  host.start();
  while (!ward.isStopping && !((!isLost || isReplaced(cluster, peer)) && cluster.isWhole())) await fault.sleep(100);
  ward.isWounded = false;
}

/** Whether the map knows that this store is gone. */
function isReplaced({ map }: SimCluster, peer: PeerRecord): boolean {
  return map?.peers.every(({ id, storeId }) => id !== peer.id || storeId !== peer.storeId) === true;
}

function isLastOn({ inSync }: SlotRecord, peer: PeerId): boolean {
  return inSync.includes(peer) && inSync.length === 1;
}

/** The host's store, which nobody needs: its process is back before anybody may have noticed. */
export async function wipeAtOnce(fault: Fault, host: SimHost): Promise<void> {
  const { chance, cluster, ward } = fault;
  const peer = cluster.peerOf(host);
  if (peer === undefined) return;
  ward.isWounded = true;
  host.crash({ isHost: chance.isLikely(0.5) });
  host.wipe();
  await fault.sleep(chance.between(1, 100));
  host.start();
  while (!ward.isStopping && !(isReplaced(cluster, peer) && cluster.isWhole())) await fault.sleep(100);
  ward.isWounded = false;
}

/** A disk is gone, whoever else may hold what was on it. */
export async function loseDisk(fault: Fault): Promise<void> {
  const host = fault.chance.isLikely(0.5) ? fault.aPrimary() : fault.anyPeer();
  host.crash({ isHost: true });
  host.wipe();
  await fault.sleep(fault.chance.isLikely(0.5) ? fault.chance.between(1, 100) : fault.chance.between(1, 2000));
  host.start();
}

/**
 * Bytes of one disk are bad for a while; not while another may be the only good copy of anything. Mostly on a primary,
 * where somebody reads them.
 */
async function spoil(fault: Fault, spoilOn: (host: SimHost) => readonly (() => void)[]): Promise<void> {
  const { chance, cluster, ward } = fault;
  const isCopied = cluster.map?.slots.every((record) => !isWaiting(record) && record.inSync.length > 1) === true;
  if (ward.isRotting || ward.isWounded || !isCopied) return;
  const host = chance.isLikely(0.7) ? fault.aPrimary() : fault.anyPeer();
  ward.isRotting = true;
  const restores = spoilOn(host);
  cluster.trace?.(`${restores.length} things rot on ${host.name}`);
  const forMs = chance.between(50, 5000);
  await (chance.isLikely(0.4) ? scrubAndJudge(fault, host) : fault.sleep(forMs));
  for (const restore of restores) restore();
  ward.isRotting = false;
}

/** A peer that alone has a slot cannot read its files for a while in which another one copies them: without bytes. */
export function rotWhileCopied(fault: Fault): Promise<void> {
  const { chance, cluster, ward } = fault;
  const strike = async ({ disk }: SimHost): Promise<void> => {
    if (ward.isRotting || ward.isWounded) return;
    ward.isRotting = true;
    const restores = [...disk.files.keys()].map((id) => disk.rotFile(id, 4096 + chance.below(1000)));
    await fault.sleep(chance.between(500, 5000));
    for (const restore of restores) restore();
    // Whoever copied meanwhile may lead before it has the bytes: whoever has them must stay.
    while (!ward.isStopping && cluster.joined.some(lacksBytes)) await fault.sleep(300);
    ward.isRotting = false;
  };
  const isAlone = (moment: Moment): boolean => 'slot' in moment && cluster.map?.slots[moment.slot]?.inSync.length === 1;
  return atPoint(fault, strike, 'required', isAlone);
}

function lacksBytes({ disk }: SimHost): boolean {
  const rows = disk.index.durable.range('entries', { from: new Uint8Array(0) });
  return rows.some(([key, value]) => {
    const found = decodeValue(key, value);
    return found.state === 'present' && faultOfBytes(disk, found.entry) !== undefined;
  });
}

/**
 * A disk that flips a bit of what it is given and says nothing: of copies that are made anew, which are read back.
 * Where several replicas take a write at once, nobody looks at it so soon.
 */
export async function spoilCopies(fault: Fault): Promise<void> {
  const { chance, cluster, ward } = fault;
  if (ward.isRotting || ward.isWounded) return;
  ward.isRotting = true;
  const { disk } = fault.anyPeer();
  // What a write of theirs may still bring late is stored by it, not read back.
  const written = new Set(cluster.joined.flatMap((host) => [...host.disk.files.values()].map(fileIdentity)));
  await fault.sleep(stalledMsMax);
  disk.spoils = (bytes) =>
    chance.isLikely(0.7) && written.has(fileIdentity({ bytes })) && isCopyOfCommitted(cluster, bytes);
  await fault.sleep(chance.between(500, 5000));
  disk.spoils = undefined;
  ward.isRotting = false;
}

/** Nothing is on its way for longer: the connection has broken. */
const stalledMsMax = 2500;

/** Of a file that holds a segment: whose, as text. */
function fileIdentity({ bytes }: { readonly bytes: Uint8Array }): string {
  const identity = decodeHeader(bytes)?.identity;
  return identity === undefined ? '' : `${toHex(identity.uploadId)} ${identity.index}`;
}

/**
 * A file of what every peer in sync has in its index: its write has ended. While one of them is missing, the bytes that
 * come may be the only ones that count later.
 */
function isCopyOfCommitted(cluster: SimCluster, bytes: Uint8Array): boolean {
  const map = cluster.map ?? cluster.monitor.map;
  const identity = decodeHeader(bytes)?.identity;
  if (identity === undefined || map === undefined) return false;
  const { uploadId, index } = identity;
  const key = index === 0 ? keyOfName(identity) : keyOfSegment(uploadId, index);
  const holds = ({ disk }: SimHost): boolean => {
    const found = decodeValue(key, disk.index.durable.get('entries', key));
    const entry = found.state === 'present' ? found.entry : undefined;
    const isFile = entry?.kind === 'record' || entry?.kind === 'segment';
    return isFile && sameBytes(bodyOf(entry, entry.kind).uploadId, uploadId);
  };
  const { inSync = [] } = map.slots[placeOfKey(key, map.slots.length).slot] ?? {};
  return inSync.length > 0 && inSync.every((peer) => holds(cluster.hostOf(peer)));
}

export function rotFiles(fault: Fault): Promise<void> {
  const { chance } = fault;
  return spoil(fault, ({ disk }) => {
    const rotten = [...disk.files.keys()].filter(() => chance.isLikely(0.8));
    return rotten.map((id) => disk.rotFile(id, 4096 + chance.below(1000)));
  });
}

/** Bad sectors: reads of some files fail for a while. */
export function failReads(fault: Fault): Promise<void> {
  return spoil(fault, ({ disk }) => {
    const bad = [...disk.files.keys()].filter(() => fault.chance.isLikely(0.8));
    return bad.map((id) => disk.makeUnreadable(id));
  });
}

/**
 * One entry of a digest bucket at most: when one is replaced, the others are counted anew as they can be read. Often
 * somebody notices at once, be the peer a primary or not.
 */
export function rotEntries(fault: Fault): Promise<void> {
  const { chance, cluster } = fault;
  return spoil(fault, (host) => {
    const { index } = host.disk;
    const keys = index.durable.keys('entries', { from: new Uint8Array(0) });
    const byBucket = new Map(keys.map((key) => [JSON.stringify(placeOfKey(key, cluster.map?.slots.length ?? 1)), key]));
    const rotten = [...byBucket.values()].filter(() => chance.isLikely(0.6));
    const entries = rotten.flatMap((key) => {
      const found = decodeValue(key, index.durable.get('entries', key));
      return found.state === 'present' ? [found.entry] : [];
    });
    if (chance.isLikely(0.6)) cluster.world.schedule(1, () => void reportDamage(cluster, host, entries));
    return rotten.map((key) => index.rot('entries', key));
  });
}
