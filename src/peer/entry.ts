/**
 * The entries of a slot: what keys look like and how an entry's value is laid out in the index.
 *
 * A key begins with the hash that places it, so that a slot, and each of its 64 digest buckets, is one range of keys.
 * Three kinds of thing have a key: a name (a record, or the tombstone it leaves), a segment, and a void (an upload id
 * of a name that no commit may use any more, rule F13). Values carry a checksum bound to their key, because LMDB pages
 * have none; a value that does not verify is *present with unknown version* (F10).
 */
import { hashOfName, hashOfSegment } from '../cluster/hashing.js';
import { readU64, writeU32, writeU64 } from '../core/big-endian.js';
import { xxh64 } from '../core/checksum.js';
import { fromHex, type TimedId, timedIdBytes, toHex, type Version } from '../core/ids.js';
import { limits } from '../core/limits.js';
import type { FileId } from '../core/storage.js';
import { packPlain, unpackPlain } from '../protocol/codec.js';
import type { EntryKind } from '../protocol/message-fields.js';

export type EntryKey = Uint8Array;

const keyKinds = { name: 0, segment: 1, void: 2 } as const;
const hashBytes = 8;

function keyOf(hash: bigint, kind: number, rest: Uint8Array): EntryKey {
  const key = new Uint8Array(hashBytes + 1 + rest.length);
  writeU64(key, 0, hash);
  key[hashBytes] = kind;
  key.set(rest, hashBytes + 1);
  return key;
}

export interface FileName {
  readonly bucket: string;
  readonly name: string;
}

/** The bytes a name sorts and is listed by: bucket, 0, name. */
export function nameBytes(file: FileName): Uint8Array {
  return Buffer.from(`${file.bucket}\0${file.name}`, 'utf8');
}

export function keyOfName(file: FileName): EntryKey {
  return keyOf(hashOfName(file.name), keyKinds.name, nameBytes(file));
}

export function keyOfSegment(uploadId: TimedId, index: number): EntryKey {
  const rest = new Uint8Array(timedIdBytes + 4);
  rest.set(uploadId);
  writeU32(rest, timedIdBytes, index);
  return keyOf(hashOfSegment(uploadId, index), keyKinds.segment, rest);
}

export function keyOfVoid(file: FileName, uploadId: TimedId): EntryKey {
  return keyOf(hashOfName(file.name), keyKinds.void, Buffer.concat([nameBytes(file), Buffer.of(0), uploadId]));
}

/** A key as a map key. Voids share the queue of their name: they change together. */
export function queueKeyOf(key: EntryKey): string {
  if (key[hashBytes] !== keyKinds.void) return keyText(key);
  const name = Uint8Array.from(key.subarray(0, key.length - timedIdBytes - 1)); // of a Buffer a `slice` is no copy
  name[hashBytes] = keyKinds.name;
  return keyText(name);
}

export function keyText(key: EntryKey): string {
  return Buffer.from(key).toString('latin1');
}

export function isNameKey(key: EntryKey): boolean {
  return key[hashBytes] === keyKinds.name;
}

export function hashOfKey(key: EntryKey): bigint {
  return readU64(key);
}

/** The part of a name's key that is its row in the table of names. */
export function nameBytesOfKey(key: EntryKey): Uint8Array {
  return key.subarray(hashBytes + 1);
}

export function isEntryKey(key: Uint8Array): boolean {
  const kind = key[hashBytes];
  return key.length > hashBytes + 1 && (kind === 0 || kind === 1 || kind === 2);
}

// --- Bodies ----------------------------------------------------------------------------------------------------------

export interface RecordBody extends FileName {
  readonly size: number;
  /** xxh64 of the whole content, 8 bytes. */
  readonly checksum: Uint8Array;
  readonly segmentBytes: number;
  readonly segments: number;
  readonly uploadId: TimedId;
  readonly contentType?: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
  readonly modifiedAtMs: number;
}

export interface SegmentBody extends FileName {
  readonly uploadId: TimedId;
  readonly index: number;
  readonly storedAtMs: number;
}

export interface VoidBody extends FileName {
  readonly uploadId: TimedId;
  /** How many segments the upload had, when that is known: their primaries are told. */
  readonly segments: number;
  readonly sinceMs: number;
}

export interface TombstoneBody extends FileName {
  readonly deletedAtMs: number;
}

export interface BodyOf {
  readonly record: RecordBody;
  readonly tombstone: TombstoneBody;
  readonly segment: SegmentBody;
  readonly void: VoidBody;
}

/** An entry without its bytes. `body` is packed; see bodyOf. */
export interface Entry {
  readonly key: EntryKey;
  readonly kind: EntryKind;
  readonly version: Version;
  readonly body: Uint8Array;
}

export function toEntry<K extends EntryKind>(key: EntryKey, kind: K, version: Version, body: BodyOf[K]): Entry {
  return { key, kind, version, body: packPlain(body) };
}

/** The unpacked body; the caller has checked the kind. */
export function bodyOf<K extends EntryKind>(entry: Entry, kind: K): BodyOf[K] {
  if (entry.kind !== kind) throw new TypeError(`Entry is a ${entry.kind}, not a ${kind}`);
  return unpackPlain(entry.body, limits.msgpackEntriesMax) as unknown as BodyOf[K];
}

// --- Values ----------------------------------------------------------------------------------------------------------

/** Where an entry's bytes are on this replica. */
export type Placed =
  | { readonly where: 'none' }
  | { readonly where: 'inline'; readonly bytes: Uint8Array; readonly sums: Uint8Array }
  | { readonly where: 'file'; readonly fileId: FileId; readonly size: number };

export const nowhere: Placed = { where: 'none' };

export interface StoredEntry extends Entry {
  readonly placed: Placed;
}

export type Lookup =
  | { readonly state: 'absent' }
  | { readonly state: 'damaged' }
  | { readonly state: 'present'; readonly entry: StoredEntry };

const valueFormat = 1;
const kindNumbers: Readonly<Record<EntryKind, number>> = { record: 0, tombstone: 1, segment: 2, void: 3 };
const kindsByNumber: readonly EntryKind[] = ['record', 'tombstone', 'segment', 'void'];
const fileIdAt = 40;
const valueHeaderBytes = 56;

export function placedSize(placed: Placed): number {
  switch (placed.where) {
    case 'none':
      return 0;
    case 'inline':
      return placed.bytes.length;
    case 'file':
      return placed.size;
  }
}

/**
 * Value: 0 checksum u64 · 8 format u8 · 9 kind u8 · 10 sums length u16 · 12 body length u32 · 16 version epoch u64 ·
 * 24 version counter u64 · 32 bytes u64 (size of the content here) · 40 file id 16 (zeros: inline or none) · 56 body ·
 * sums · inline bytes. Big endian.
 */
export function encodeValue(entry: StoredEntry): Uint8Array {
  const inline = entry.placed.where === 'inline' ? entry.placed.bytes : new Uint8Array(0);
  const sums = entry.placed.where === 'inline' ? entry.placed.sums : new Uint8Array(0);
  const value = new Uint8Array(valueHeaderBytes + entry.body.length + sums.length + inline.length);
  const view = new DataView(value.buffer);
  value[8] = valueFormat;
  value[9] = kindNumbers[entry.kind];
  view.setUint16(10, sums.length);
  view.setUint32(12, entry.body.length);
  view.setBigUint64(16, BigInt(entry.version.epoch));
  view.setBigUint64(24, BigInt(entry.version.counter));
  view.setBigUint64(32, BigInt(placedSize(entry.placed)));
  if (entry.placed.where === 'file') value.set(fromHex(entry.placed.fileId), fileIdAt);
  value.set(entry.body, valueHeaderBytes);
  value.set(sums, valueHeaderBytes + entry.body.length);
  value.set(inline, valueHeaderBytes + entry.body.length + sums.length);
  view.setBigUint64(0, valueChecksum(entry.key, value));
  return value;
}

function valueChecksum(key: EntryKey, value: Uint8Array): bigint {
  return xxh64(value.subarray(8)) ^ xxh64(key);
}

export function decodeValue(key: EntryKey, value: Uint8Array | undefined): Lookup {
  if (value === undefined) return { state: 'absent' };
  if (value.length < valueHeaderBytes || value[8] !== valueFormat) return { state: 'damaged' };
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  if (view.getBigUint64(0) !== valueChecksum(key, value)) return { state: 'damaged' };
  const kind = kindsByNumber[value[9] ?? 255];
  const sumsLength = view.getUint16(10);
  const bodyEnd = valueHeaderBytes + view.getUint32(12);
  if (kind === undefined || bodyEnd + sumsLength > value.length) return { state: 'damaged' };
  const size = Number(view.getBigUint64(32));
  let placed: Placed = nowhere;
  if (hasFile(value)) placed = { where: 'file', fileId: toHex(value.subarray(fileIdAt, valueHeaderBytes)), size };
  else if (size > 0) {
    placed = {
      where: 'inline',
      sums: value.subarray(bodyEnd, bodyEnd + sumsLength),
      bytes: value.subarray(bodyEnd + sumsLength),
    };
  }
  return {
    state: 'present',
    entry: {
      key,
      kind,
      version: { epoch: Number(view.getBigUint64(16)), counter: Number(view.getBigUint64(24)) },
      body: value.subarray(valueHeaderBytes, bodyEnd),
      placed,
    },
  };
}

function hasFile(value: Uint8Array): boolean {
  for (let at = fileIdAt; at < valueHeaderBytes; at++) if (value[at] !== 0) return true;
  return false;
}

/** The version in 16 bytes, big endian: what digests and id rows hold. */
export function encodeVersion(version: Version): Uint8Array {
  const bytes = new Uint8Array(16);
  writeU64(bytes, 0, BigInt(version.epoch));
  writeU64(bytes, 8, BigInt(version.counter));
  return bytes;
}

export function decodeVersion(bytes: Uint8Array): Version {
  return { epoch: Number(readU64(bytes, 0)), counter: Number(readU64(bytes, 8)) };
}
