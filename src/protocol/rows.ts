/**
 * Lists that travel as payload: rows one after another until the bytes end, so that rows can be joined byte by byte.
 *
 * The fields of each row, in order, stand in docs/wire-format.md. Decoders refuse `invalid` whatever does not fit.
 */
import { ByteReader, ByteWriter } from '../core/byte-cursor.js';
import { type Epoch, type SlotNumber, type TimedId, timedIdBytes, type Version } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { keyBytesMax } from './message-fields.js';

const checksumBytes = 8;

export interface ListRow {
  readonly name: string;
  readonly version: Version;
  readonly size: number;
  readonly segments: number;
  /** 8 bytes: xxh64 of the whole content. */
  readonly checksum: Uint8Array;
  readonly modifiedAtMs: number;
  readonly contentType?: string | undefined;
}

export function encodeListRows(rows: readonly ListRow[]): Uint8Array {
  const writer = new ByteWriter();
  for (const row of rows) {
    writer.text(row.name);
    writeVersion(writer, row.version);
    writer.varint(row.size);
    writer.varint(row.segments);
    writer.raw(row.checksum);
    writer.varint(row.modifiedAtMs);
    writer.text(row.contentType ?? '');
  }
  return writer.finish();
}

export function decodeListRows(bytes: Uint8Array): readonly ListRow[] {
  return decodeRows(bytes, 'A listing', (reader) => {
    const row = {
      name: reader.text(limits.nameBytesMax),
      version: readVersion(reader),
      size: reader.varint(),
      segments: reader.varint(limits.segmentsMax),
      checksum: reader.raw(checksumBytes),
      modifiedAtMs: reader.varint(),
    };
    const contentType = reader.text(limits.contentTypeBytesMax);
    return contentType === '' ? row : { ...row, contentType };
  });
}

export interface KeyRow {
  readonly key: Uint8Array;
  readonly version: Version;
  /** 8 bytes: stands for the set of the key's request ids. */
  readonly idsHash: Uint8Array;
}

export function encodeKeyRows(rows: readonly KeyRow[]): Uint8Array {
  const writer = new ByteWriter();
  for (const row of rows) {
    writer.bytes(row.key);
    writeVersion(writer, row.version);
    writer.raw(row.idsHash);
  }
  return writer.finish();
}

export function decodeKeyRows(bytes: Uint8Array): readonly KeyRow[] {
  return decodeRows(bytes, 'A list of keys', (reader) => ({
    key: reader.bytes(keyBytesMax),
    version: readVersion(reader),
    idsHash: reader.raw(checksumBytes),
  }));
}

export interface IdRow {
  readonly id: TimedId;
  readonly version: Version;
  /** 8 bytes: tells a repeated request from another one under the same id. */
  readonly contentHash: Uint8Array;
}

export function encodeIdRows(rows: readonly IdRow[]): Uint8Array {
  const writer = new ByteWriter();
  for (const row of rows) {
    writer.raw(row.id);
    writeVersion(writer, row.version);
    writer.raw(row.contentHash);
  }
  return writer.finish();
}

export function decodeIdRows(bytes: Uint8Array): readonly IdRow[] {
  return decodeRows(bytes, 'A list of request ids', (reader) => ({
    id: reader.raw(timedIdBytes),
    version: readVersion(reader),
    contentHash: reader.raw(checksumBytes),
  }));
}

/** Stands for the request ids that one key has in one table: how many, and the XOR of their hashes. */
export interface IdDigest {
  readonly table: number;
  readonly count: number;
  readonly xor: bigint;
}

export function encodeIdDigestRows(rows: readonly IdDigest[]): Uint8Array {
  const writer = new ByteWriter();
  for (const row of rows) {
    writer.varint(row.table);
    writer.varint(row.count);
    writer.u64(row.xor);
  }
  return writer.finish();
}

export function decodeIdDigestRows(bytes: Uint8Array): readonly IdDigest[] {
  return decodeRows(bytes, 'A list of digests of request ids', (reader) => {
    return { table: reader.varint(), count: reader.varint(), xor: reader.u64() };
  });
}

/** What a peer holds of one slot. */
export interface AmountRow {
  readonly slot: SlotNumber;
  /** Files whose name is in the slot. */
  readonly files: number;
  /** Of all content in it, pieces of large files too. */
  readonly bytes: number;
}

export function encodeAmountRows(rows: readonly AmountRow[]): Uint8Array {
  const writer = new ByteWriter();
  for (const { slot, files, bytes } of rows) {
    writer.varint(slot);
    writer.varint(files);
    writer.varint(bytes);
  }
  return writer.finish();
}

export function decodeAmountRows(bytes: Uint8Array): readonly AmountRow[] {
  return decodeRows(bytes, 'A list of amounts', (reader) => ({
    slot: reader.varint(limits.slotsMax - 1),
    files: reader.varint(),
    bytes: reader.varint(),
  }));
}

/** A slot of which a copy of an index holds every acknowledged write, by the map in that copy. */
export interface VouchRow {
  readonly slot: SlotNumber;
  readonly slotEpoch: Epoch;
  readonly isPrimary: boolean;
}

export function encodeVouchRows(rows: readonly VouchRow[]): Uint8Array {
  const writer = new ByteWriter();
  for (const { slot, slotEpoch, isPrimary } of rows) {
    writer.varint(slot);
    writer.varint(slotEpoch);
    writer.u8(isPrimary ? 1 : 0);
  }
  return writer.finish();
}

export function decodeVouchRows(bytes: Uint8Array): readonly VouchRow[] {
  return decodeRows(bytes, 'A list of slots', (reader) => ({
    slot: reader.varint(limits.slotsMax - 1),
    slotEpoch: reader.varint(),
    isPrimary: reader.u8() === 1,
  }));
}

/** A file of a checkpoint. */
export interface FileRow {
  readonly bucket: string;
  readonly name: string;
  readonly size: number;
}

export function encodeFileRows(rows: readonly FileRow[]): Uint8Array {
  const writer = new ByteWriter();
  for (const { bucket, name, size } of rows) {
    writer.text(bucket);
    writer.text(name);
    writer.varint(size);
  }
  return writer.finish();
}

export function decodeFileRows(bytes: Uint8Array): readonly FileRow[] {
  return decodeRows(bytes, 'A list of files', (reader) => ({
    bucket: reader.text(limits.bucketLengthMax),
    name: reader.text(limits.nameBytesMax),
    size: reader.varint(),
  }));
}

function decodeRows<T>(bytes: Uint8Array, what: string, readRow: (reader: ByteReader) => T): readonly T[] {
  const reader = new ByteReader(bytes, what);
  const rows: T[] = [];
  while (reader.remaining > 0) rows.push(readRow(reader));
  return rows;
}

function writeVersion(writer: ByteWriter, version: Version): void {
  writer.varint(version.epoch);
  writer.varint(version.counter);
}

function readVersion(reader: ByteReader): Version {
  return { epoch: reader.varint(), counter: reader.varint() };
}
