/**
 * Looks into the disks of a whole, quiet cluster: every replica of a slot holds the same entries and request ids, with
 * the bytes they name, and its digests say so.
 */
import { isDeepStrictEqual } from 'node:util';
import { hashOfName } from '../../../src/cluster/hashing.js';
import { type ClusterMap, slotOfHash } from '../../../src/cluster/map.js';
import { blockSums, sameBytes } from '../../../src/core/checksum.js';
import { compareVersions, toHex } from '../../../src/core/ids.js';
import type { IndexReader } from '../../../src/core/storage.js';
import { bodyOf, decodeValue, type SegmentBody, type StoredEntry } from '../../../src/peer/entry.js';
import { decodeFileRow, hashOfEntry } from '../../../src/peer/entry-changes.js';
import { decodeDigest, digestKey, placeOfKey, rangeOfSlot, unsealOrFail } from '../../../src/peer/index-layout.js';
import { countIds, hashOfId, idDigestsOf, listIds } from '../../../src/peer/request-ids.js';
import { decodeHeader } from '../../../src/peer/segment-file.js';
import type { IdRow } from '../../../src/protocol/rows.js';
import type { SimCluster } from '../cluster.js';
import type { MemoryDisk } from '../world/memory-disk.js';
import type { SimHost } from '../world/sim-host.js';

const fileHeaderBytes = 4096;

export function deepComplaints(cluster: SimCluster): string[] {
  const { map } = cluster;
  if (map === undefined) return ['The master has no map'];
  const lost = cluster.monitor.lostSlots();
  return map.slots.flatMap((record, slot) => {
    if (lost.has(slot)) return [];
    const views = record.inSync.map((peer) => {
      return { peer, ...viewOf(cluster.hostOf(peer).disk, slot, map.slots.length) };
    });
    const [first, ...others] = views;
    const own = views.flatMap(({ peer, complaints }) => complaints.map((text) => `Slot ${slot} on ${peer}: ${text}`));
    if (first === undefined) return own;
    return [
      ...own,
      ...others.flatMap((other) =>
        differencesOf(first.rows, other.rows).map((text) => `Slot ${slot}, ${first.peer} and ${other.peer}: ${text}`),
      ),
    ];
  });
}

/**
 * Segments that no file names any more and replaced files that nobody reads, though everything is whole and their time
 * is over. A sweep that meets an obstacle waits 10 s for an answer and comes again 10 s later, and it may meet one at
 * the question and one at the removal: after 45 s and both graces there is nothing left. A copy of a slot that the map
 * gives to others is looked at by nobody but the quarantine.
 */
export function orphanComplaints(cluster: SimCluster): string[] {
  const { map } = cluster;
  if (map === undefined) return ['The master has no map'];
  const live = new Set<string>();
  const segments = new Map<string, SegmentBody>();
  for (const { host, entry } of heldByMembers(cluster, map)) {
    if (entry.kind === 'record') live.add(toHex(bodyOf(entry, 'record').uploadId));
    if (entry.kind === 'segment') segments.set(`${host.name} ${toHex(entry.key)}`, bodyOf(entry, 'segment'));
  }
  // Without the name's primary nobody can say whether a segment is needed: it is kept.
  const lost = cluster.monitor.lostSlots();
  const isOrphan = ({ uploadId, name }: SegmentBody): boolean =>
    !live.has(toHex(uploadId)) && !lost.has(slotOfHash(hashOfName(name), map.slots.length));
  const [orphan, ...others] = [...segments].filter(([, body]) => isOrphan(body));
  const complaints =
    orphan === undefined
      ? []
      : [`${others.length + 1} segments belong to no file: ${orphan[0]} of upload ${toHex(orphan[1].uploadId)}`];
  return [...complaints, ...replacedFiles(cluster)];
}

/** What the disks of each slot's members hold of it. */
function heldByMembers(cluster: SimCluster, map: ClusterMap): { host: SimHost; entry: StoredEntry }[] {
  return map.slots.flatMap((record, slot) =>
    record.inSync.flatMap((peer) => {
      const host = cluster.hostOf(peer);
      const rows = host.disk.index.durable.range('entries', rangeOfSlot(slot, map.slots.length));
      return rows.flatMap(([key, value]) => {
        const found = decodeValue(key, value);
        return found.state === 'present' ? [{ host, entry: found.entry }] : [];
      });
    }),
  );
}

function replacedFiles(cluster: SimCluster): string[] {
  return cluster.joined.flatMap((host) => {
    const rows = host.disk.index.durable.range('files', { from: new Uint8Array(0) });
    const count = rows.filter(([key, value]) => decodeFileRow(key, value)?.state === 'trash').length;
    return count === 0 ? [] : [`${count} replaced files are still on ${host.name}`];
  });
}

interface View {
  /** By key: what the entry says, in one line. */
  readonly rows: ReadonlyMap<string, string>;
  readonly complaints: readonly string[];
}

function viewOf(disk: MemoryDisk, slot: number, slotCount: number): View {
  const reader = disk.index.durable;
  const rows = new Map<string, string>();
  const complaints: string[] = [];
  const xors = new Map<number, bigint>();
  const mix = (bucket: number, hash: bigint): void => void xors.set(bucket, (xors.get(bucket) ?? 0n) ^ hash);
  for (const [key, value] of reader.range('entries', rangeOfSlot(slot, slotCount))) {
    const { bucket } = placeOfKey(key, slotCount);
    const found = decodeValue(key, value);
    if (found.state !== 'present') {
      complaints.push(`${nameOf(key)} is ${found.state}`);
      continue;
    }
    const ids = listIds(reader, key);
    mix(bucket, hashOfEntry(found.entry));
    for (const row of ids) mix(bucket, hashOfId(key, row));
    complaints.push(...idFaults(reader, found.entry, ids).map((text) => `${nameOf(key)} ${text}`));
    const idsText = ids.map(({ id, version }) => `${toHex(id)}@${version.epoch}.${version.counter}`).sort();
    rows.set(toHex(key), `${describeEntry(found.entry)} ids ${idsText.join()}`);
    const fault = faultOfBytes(disk, found.entry);
    if (fault !== undefined) complaints.push(`${nameOf(key)}: ${fault}`);
  }
  complaints.push(...wrongDigests(reader, slot, xors));
  return { rows, complaints };
}

function idFaults(reader: IndexReader, { key, version }: StoredEntry, ids: readonly IdRow[]): string[] {
  const areCounted = isDeepStrictEqual(idDigestsOf(reader, key), countIds(reader, key));
  const isAbove = ids.some((row) => compareVersions(row.version, version) > 0);
  return [
    ...(areCounted ? [] : ['has wrong digests of its request ids']),
    ...(isAbove ? ['has the request id of a later version than its own'] : []),
  ];
}

function wrongDigests(reader: IndexReader, slot: number, xors: ReadonlyMap<number, bigint>): string[] {
  const complaints: string[] = [];
  for (let bucket = 0; bucket < 64; bucket++) {
    const key = digestKey({ slot, bucket });
    const value = reader.get('digests', key);
    const stored = value === undefined ? 0n : decodeDigest(unsealOrFail('digests', key, value)).xor;
    if (stored !== (xors.get(bucket) ?? 0n)) complaints.push(`the digest of bucket ${bucket} is wrong`);
  }
  return complaints;
}

/** What is wrong with an entry's bytes, as they are on the disk. */
export function faultOfBytes(disk: MemoryDisk, { placed }: StoredEntry): string | undefined {
  if (placed.where === 'none') return undefined;
  if (placed.where === 'inline')
    return sameBytes(blockSums(placed.bytes), placed.sums) ? undefined : 'bad inline bytes';
  const file = disk.files.get(placed.fileId);
  const header = file === undefined ? undefined : decodeHeader(file.bytes.subarray(0, fileHeaderBytes));
  if (file === undefined || header === undefined) return 'its file is missing or unreadable';
  const content = file.bytes.subarray(fileHeaderBytes);
  if (content.length !== header.length) return `its file has ${content.length} of ${header.length} bytes`;
  return sameBytes(blockSums(content), header.sums) ? undefined : 'its file is damaged';
}

function describeEntry(entry: StoredEntry): string {
  const { epoch, counter } = entry.version;
  return `${entry.kind} ${epoch}.${counter} ${toHex(entry.body)}`;
}

function differencesOf(mine: ReadonlyMap<string, string>, theirs: ReadonlyMap<string, string>): string[] {
  const keys = new Set([...mine.keys(), ...theirs.keys()]);
  return [...keys].flatMap((key) => {
    const [a, b] = [mine.get(key), theirs.get(key)];
    if (a === b) return [];
    const [here, there] = [a ?? 'absent', b ?? 'absent'].map((text) => text.split(/[ ,]/));
    const only = (mine: string[] = [], other: string[] = []): string =>
      mine.filter((part) => !other.includes(part)).join(' ');
    return [`${nameOf(Buffer.from(key, 'hex'))} is ${only(here, there)} here, ${only(there, here)} there`];
  });
}

function nameOf(key: Uint8Array): string {
  return JSON.stringify(Buffer.from(key.subarray(8)).toString('latin1'));
}
