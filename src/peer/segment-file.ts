/**
 * A stored file: one page of header that says what it is, then the bytes of a segment.
 *
 * The header names its owner and carries the block checksums the sender made; it is checked on every read, so that a
 * file that lies under another's id is never taken for it. The payload is not hashed on the way out: its reader
 * compares it with the checksums that travel along (S5). docs/on-disk-format.md has the layout.
 */
import { assert } from '../core/assert.js';
import { blockCount, blockSums, sameBytes, xxh64 } from '../core/checksum.js';
import { isRefusal } from '../core/errors.js';
import { type TimedId, timedIdBytes } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { givePayloadMemory } from '../core/payload-memory.js';
import type { ByteStore, FileId } from '../core/storage.js';

/** Whose bytes a file holds. */
export interface SegmentIdentity {
  readonly bucket: string;
  readonly name: string;
  readonly uploadId: TimedId;
  readonly index: number;
}

export interface SegmentHeader {
  readonly identity: SegmentIdentity;
  readonly length: number;
  /** 8 bytes a block. */
  readonly sums: Uint8Array;
}

export type Absent = { readonly state: 'missing'; readonly reason: string };
export type Damaged = { readonly state: 'damaged'; readonly reason: string };

export type SegmentRead =
  | {
      readonly state: 'ok';
      /** Whole blocks, the last one as long as the segment has it; nobody else uses their memory. */
      readonly bytes: Uint8Array;
      /** Where `bytes` begins in the segment: a multiple of the block size. */
      readonly offset: number;
      /** As the header has them; not compared with the bytes. */
      readonly sums: Uint8Array;
    }
  | Absent
  | Damaged;

export type SegmentVerdict = { readonly state: 'ok'; readonly length: number } | Absent | Damaged;

const magic = 0x6466_7366_696c_6531n; // "dfsfile1"
const formatVersion = 1;
const kinds = { record: 1, segment: 2 } as const;

const at = {
  magic: 0,
  version: 8,
  kind: 10,
  bucketBytes: 11,
  nameBytes: 12,
  blocks: 14,
  uploadId: 16,
  index: 32,
  length: 36,
  texts: 40,
  checksum: limits.fileHeaderBytes - 8,
} as const;

/** Up to here the blocks before a range are read along with the header: cheaper than a second call. */
const readThroughBytesMax = 256 * 1024;

const toText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const fromText = new TextEncoder();

export function encodeHeader(header: SegmentHeader): Uint8Array {
  const { identity, length, sums } = header;
  assert(length <= limits.segmentBytesMax, `A segment of ${length} bytes is above its limit`);
  assert(sums.length === blockCount(length) * 8, `${length} bytes have ${blockCount(length)} block checksums`);
  const bucket = fromText.encode(identity.bucket);
  const name = fromText.encode(identity.name);
  const bytes = new Uint8Array(limits.fileHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(at.magic, magic);
  view.setUint16(at.version, formatVersion);
  view.setUint8(at.kind, identity.index === 0 ? kinds.record : kinds.segment);
  view.setUint8(at.bucketBytes, bucket.length);
  view.setUint16(at.nameBytes, name.length);
  view.setUint16(at.blocks, blockCount(length));
  bytes.set(identity.uploadId, at.uploadId);
  view.setUint32(at.index, identity.index);
  view.setUint32(at.length, length);
  bytes.set(bucket, at.texts);
  bytes.set(name, at.texts + bucket.length);
  bytes.set(sums, at.texts + bucket.length + name.length);
  view.setBigUint64(at.checksum, xxh64(bytes.subarray(0, at.checksum)));
  return bytes;
}

/** Undefined when the bytes are no whole, sound header of this format. */
export function decodeHeader(bytes: Uint8Array): SegmentHeader | undefined {
  if (bytes.length < limits.fileHeaderBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getBigUint64(at.magic) !== magic || view.getUint16(at.version) !== formatVersion) return undefined;
  if (view.getBigUint64(at.checksum) !== xxh64(bytes.subarray(0, at.checksum))) return undefined;
  const length = view.getUint32(at.length);
  const nameAt = at.texts + view.getUint8(at.bucketBytes);
  const sumsAt = nameAt + view.getUint16(at.nameBytes);
  const sumsEnd = sumsAt + view.getUint16(at.blocks) * 8;
  if (sumsEnd > at.checksum || view.getUint16(at.blocks) !== blockCount(length)) return undefined;
  const identity: SegmentIdentity = {
    bucket: toText.decode(bytes.subarray(at.texts, nameAt)),
    name: toText.decode(bytes.subarray(nameAt, sumsAt)),
    uploadId: bytes.slice(at.uploadId, at.uploadId + timedIdBytes),
    index: view.getUint32(at.index),
  };
  return { identity, length, sums: bytes.slice(sumsAt, sumsEnd) };
}

/** Resolves when the file is durable under `id`. Throws what ByteStore.create throws. */
export async function writeSegment(
  store: ByteStore,
  id: FileId,
  identity: SegmentIdentity,
  bytes: Uint8Array,
  sums: Uint8Array,
): Promise<void> {
  await store.create(id, encodeHeader({ identity, length: bytes.length, sums }), bytes);
}

/**
 * Reads the blocks that hold bytes `start` … `end`−1; a range past the end is cut to it. The bytes are not hashed. A
 * range that begins near the start of the segment costs one read, another one two.
 */
export async function readSegment(
  store: ByteStore,
  id: FileId,
  expected: SegmentIdentity,
  range: { readonly start: number; readonly end: number },
): Promise<SegmentRead> {
  assert(range.start >= 0 && range.start <= range.end, 'A range begins before it ends');
  const wanted = wholeBlocks(range);
  const readsThrough = wanted.start <= readThroughBytesMax;
  const headerEnd = limits.fileHeaderBytes;
  // One byte more than a segment can have, so that a file that is too long is noticed.
  const head = { offset: 0, length: headerEnd + (readsThrough ? Math.min(wanted.end, limits.segmentBytesMax) + 1 : 0) };
  const tail = { offset: headerEnd + wanted.start, length: wanted.end - wanted.start };
  const [first, second] = await Promise.all([
    readOrDamaged(store, id, head),
    readsThrough ? undefined : readOrDamaged(store, id, tail),
  ]);
  for (const found of [first, second]) if (found !== undefined && !(found instanceof Uint8Array)) return found;
  const bytes = first as Uint8Array;
  const header = checkedHeader(bytes, expected);
  if ('state' in header) return header;
  const { length, sums } = header;
  if (readsThrough && wanted.end >= length && bytes.length > headerEnd + length) {
    return damaged(`it is longer than the ${length} bytes its header says`);
  }
  const start = Math.min(wanted.start, length);
  const end = Math.min(wanted.end, length);
  const body = readsThrough
    ? bytes.subarray(headerEnd + start, headerEnd + end)
    : (second as Uint8Array).subarray(0, end - start);
  if (body.length < end - start) return damaged(`it is shorter than the ${length} bytes its header says`);
  const sumsOf = sums.subarray((start / limits.blockBytes) * 8, blockCount(end) * 8);
  return { state: 'ok', bytes: body, offset: start, sums: start === end ? noSums : sumsOf };
}

/** What a file says of itself; undefined when there is none, or it has no sound header. */
export async function readHeader(store: ByteStore, id: FileId): Promise<SegmentHeader | undefined> {
  const bytes = await readOrDamaged(store, id, { offset: 0, length: limits.fileHeaderBytes });
  return bytes instanceof Uint8Array ? decodeHeader(bytes) : undefined;
}

/** Reads the whole segment and hashes it. */
export async function verifySegment(store: ByteStore, id: FileId, expected: SegmentIdentity): Promise<SegmentVerdict> {
  const read = await readSegment(store, id, expected, { start: 0, end: limits.segmentBytesMax });
  if (read.state !== 'ok') return read;
  const isSound = sameBytes(blockSums(read.bytes), read.sums);
  givePayloadMemory(read.bytes);
  return isSound ? { state: 'ok', length: read.bytes.length } : damaged('its bytes do not match their checksums');
}

const noSums = new Uint8Array(0);

function wholeBlocks(range: { readonly start: number; readonly end: number }): { start: number; end: number } {
  const { blockBytes, segmentBytesMax } = limits;
  const end = Math.min(segmentBytesMax, Math.ceil(range.end / blockBytes) * blockBytes);
  return { start: Math.min(end, Math.floor(range.start / blockBytes) * blockBytes), end };
}

function checkedHeader(bytes: Uint8Array, expected: SegmentIdentity): SegmentHeader | Damaged {
  const header = decodeHeader(bytes);
  if (header === undefined) return damaged('its header is unreadable');
  return isSame(header.identity, expected) ? header : damaged('its header names another segment');
}

export function isSame({ bucket, name, uploadId, index }: SegmentIdentity, other: SegmentIdentity): boolean {
  const isOfName = bucket === other.bucket && name === other.name;
  return isOfName && index === other.index && sameBytes(uploadId, other.uploadId);
}

/** What was read, or what is wrong. A file too short for the range answers fewer bytes. */
async function readOrDamaged(
  store: ByteStore,
  id: FileId,
  range: { offset: number; length: number },
): Promise<Uint8Array | Absent | Damaged> {
  try {
    const bytes = await store.read(id, range);
    return bytes ?? { state: 'missing', reason: 'no regular file has its id' };
  } catch (error) {
    if (isRefusal(error, 'integrity')) return damaged(error.message);
    throw error;
  }
}

function damaged(reason: string): Damaged {
  return { state: 'damaged', reason };
}
