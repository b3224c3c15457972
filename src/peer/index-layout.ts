/**
 * What stands in each table of a peer's index, and the small codecs of its rows. `docs/on-disk-format.md` says the same
 * byte by byte. Every value is sealed with a checksum bound to its key.
 *
 * entries   entry key → value (entry.ts)
 * names     bucket 0 name → hash of the name, then the row a listing sends; live files only
 * ids       table number u32, entry key, request id → version, content hash
 * id-digests  entry key → for each table its ids are in: how many, XOR of their hashes (request-ids.ts)
 * digests   slot u16, bucket u8 → XOR of the entries' and ids' hashes, and what they hold
 * promises  slot u16 → the highest slotEpoch promised
 * files     file id → the entry key it belongs to, or when it may be removed
 * sweeps    due time u64, entry key → what to look at then
 * surplus   slot u16 → since when this copy is not wanted
 * damaged   entry key → since when its copy here is known to be bad
 * meta      name → value: store id, the last map accepted, the lineage promised to a recovery
 */
import {
  readF64,
  readU16,
  readU32,
  readU64,
  u64Bytes,
  writeF64,
  writeU16,
  writeU32,
  writeU64,
} from '../core/big-endian.js';
import { xxh64 } from '../core/checksum.js';
import { StorageFailure } from '../core/errors.js';
import { type TimedId, timedIdBytes, timeOfId } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { timing } from '../core/timing.js';
import { type EntryKey, hashOfKey } from './entry.js';

const sealBytes = 8;

/** Prefixes the checksum that binds a small value to its key. */
export function seal(key: Uint8Array, content: Uint8Array): Uint8Array {
  const value = new Uint8Array(sealBytes + content.length);
  value.set(content, sealBytes);
  writeU64(value, 0, xxh64(content) ^ xxh64(key));
  return value;
}

/** The content of a sealed value; undefined when it does not verify. */
export function unseal(key: Uint8Array, value: Uint8Array): Uint8Array | undefined {
  if (value.length < sealBytes) return undefined;
  const content = value.slice(sealBytes);
  return readU64(value) === (xxh64(content) ^ xxh64(key)) ? content : undefined;
}

/** The content of a sealed value as it is: to tell what need not be verified as nobody asked for it. */
export function unverifiedContent(value: Uint8Array): Uint8Array {
  return value.subarray(sealBytes);
}

/** For rows without which a peer can promise nothing: a bad one ends the process. */
export function unsealOrFail(table: string, key: Uint8Array, value: Uint8Array): Uint8Array {
  const content = unseal(key, value);
  if (content === undefined) throw new StorageFailure(`A row of index table ${table} does not match its checksum`);
  return content;
}

export function slotKey(slot: number): Uint8Array {
  const key = new Uint8Array(2);
  writeU16(key, 0, slot);
  return key;
}

export function slotOfSlotKey(key: Uint8Array): number {
  return readU16(key);
}

// --- Slots and buckets as ranges of keys -----------------------------------------------------------------------------

const bucketBits = Math.log2(limits.digestBuckets);

export interface Place {
  readonly slot: number;
  readonly bucket: number;
}

/** The slot is the hash's top bits, the digest bucket the next six. */
export function placeOfKey(key: EntryKey, slotCount: number): Place {
  const slotBits = Math.log2(slotCount);
  const top = Number(hashOfKey(key) >> BigInt(64 - slotBits - bucketBits));
  return { slot: Math.floor(top / limits.digestBuckets), bucket: top % limits.digestBuckets };
}

export interface KeyRange {
  readonly from: Uint8Array;
  readonly to?: Uint8Array;
}

export function isInRange(key: Uint8Array, { from, to }: KeyRange): boolean {
  return Buffer.compare(key, from) >= 0 && (to === undefined || Buffer.compare(key, to) < 0);
}

function rangeOfTop(top: number, bits: number): KeyRange {
  const shift = BigInt(64 - bits);
  const from = u64Bytes(BigInt(top) << shift);
  return top + 1 === 2 ** bits ? { from } : { from, to: u64Bytes(BigInt(top + 1) << shift) };
}

export function rangeOfSlot(slot: number, slotCount: number): KeyRange {
  return rangeOfTop(slot, Math.log2(slotCount));
}

export function rangeOfBucket(place: Place, slotCount: number): KeyRange {
  return rangeOfTop(place.slot * limits.digestBuckets + place.bucket, Math.log2(slotCount) + bucketBits);
}

/** The smallest key above `key`. */
export function justAfter(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

// --- Digest rows -----------------------------------------------------------------------------------------------------

export interface DigestRow {
  readonly xor: bigint;
  readonly entries: number;
  readonly files: number;
  readonly logicalBytes: number;
  readonly storedBytes: number;
}

export const emptyDigest: DigestRow = { xor: 0n, entries: 0, files: 0, logicalBytes: 0, storedBytes: 0 };

export function digestKey(place: Place): Uint8Array {
  const key = new Uint8Array(3);
  writeU16(key, 0, place.slot);
  key[2] = place.bucket;
  return key;
}

export function encodeDigest(row: DigestRow): Uint8Array {
  const bytes = new Uint8Array(40);
  writeU64(bytes, 0, row.xor);
  writeF64(bytes, 8, row.entries);
  writeF64(bytes, 16, row.files);
  writeF64(bytes, 24, row.logicalBytes);
  writeF64(bytes, 32, row.storedBytes);
  return bytes;
}

export function decodeDigest(bytes: Uint8Array): DigestRow {
  return {
    xor: readU64(bytes, 0),
    entries: readF64(bytes, 8),
    files: readF64(bytes, 16),
    logicalBytes: readF64(bytes, 24),
    storedBytes: readF64(bytes, 32),
  };
}

// --- Request ids -----------------------------------------------------------------------------------------------------

/** Ids are kept in tables of five minutes by the time they carry, so that a whole table is dropped at once (F1). */
export function idTableOf(atMs: number): number {
  return Math.floor(atMs / timing.idTableMs);
}

export function idKeyPrefix(table: number, entryKey: Uint8Array): Uint8Array {
  const key = new Uint8Array(4 + entryKey.length);
  writeU32(key, 0, table);
  key.set(entryKey, 4);
  return key;
}

export function idKey(entryKey: EntryKey, id: TimedId): Uint8Array {
  return Buffer.concat([idKeyPrefix(idTableOf(timeOfId(id)), entryKey), id]);
}

export function tableOfIdKey(key: Uint8Array): number {
  return readU32(key);
}

export function partsOfIdKey(key: Uint8Array): { entryKey: EntryKey; id: TimedId } {
  return { entryKey: key.slice(4, key.length - timedIdBytes), id: key.slice(key.length - timedIdBytes) };
}

// --- Due times -------------------------------------------------------------------------------------------------------

export function dueKey(dueMs: number, entryKey: EntryKey): Uint8Array {
  const key = new Uint8Array(8 + entryKey.length);
  writeU64(key, 0, BigInt(Math.max(0, Math.floor(dueMs))));
  key.set(entryKey, 8);
  return key;
}

export function encodeNumber(atMs: number): Uint8Array {
  const bytes = new Uint8Array(8);
  writeF64(bytes, 0, atMs);
  return bytes;
}

export function decodeNumber(bytes: Uint8Array): number {
  return readF64(bytes);
}
