/**
 * What one change of an entry does to the index, inside a transaction.
 *
 * The entry, its place in the list of names, the digest of its bucket, the references to files and the list of what
 * must be looked at later move together. A replaced file is not removed at once: a reader may still be at it.
 */
import { xxh64 } from '../core/checksum.js';
import { compareVersions, fromHex, type SlotNumber, type TimedId, type Version } from '../core/ids.js';
import type { FileId, IndexReader, IndexTransaction, RangeOptions } from '../core/storage.js';
import { timing } from '../core/timing.js';
import { encodeListRows, type IdRow } from '../protocol/rows.js';
import {
  bodyOf,
  decodeValue,
  decodeVersion,
  type Entry,
  type EntryKey,
  encodeValue,
  encodeVersion,
  isNameKey,
  type Lookup,
  nameBytesOfKey,
  placedSize,
  type StoredEntry,
} from './entry.js';
import {
  type DigestRow,
  decodeDigest,
  digestKey,
  dueKey,
  emptyDigest,
  encodeDigest,
  encodeNumber,
  idKey,
  idKeyPrefix,
  type Place,
  partsOfIdKey,
  placeOfKey,
  rangeOfBucket,
  rangeOfSlot,
  seal,
  tableOfIdKey,
  unseal,
  unsealOrFail,
} from './index-layout.js';

/** How long things stay before they are looked at, and the cluster's time to count from. */
export interface Delays {
  readonly nowMs: number;
  readonly replacedGraceMs: number;
  readonly sweepAfterMs: number;
}

/** What a slot holds on this peer; also a difference of two such. */
export interface Amounts {
  readonly entries: number;
  readonly files: number;
  readonly logicalBytes: number;
  readonly storedBytes: number;
}

export const noAmounts: Amounts = { entries: 0, files: 0, logicalBytes: 0, storedBytes: 0 };

export function addAmounts(a: Amounts, b: Amounts, sign = 1): Amounts {
  return {
    entries: a.entries + sign * b.entries,
    files: a.files + sign * b.files,
    logicalBytes: a.logicalBytes + sign * b.logicalBytes,
    storedBytes: a.storedBytes + sign * b.storedBytes,
  };
}

function amountsOf(entry: StoredEntry | undefined): Amounts {
  if (entry === undefined) return noAmounts;
  const isFile = entry.kind === 'record';
  return {
    entries: 1,
    files: isFile ? 1 : 0,
    logicalBytes: isFile ? bodyOf(entry, 'record').size : 0,
    storedBytes: placedSize(entry.placed),
  };
}

/** hash(key, version): what an entry adds to the digest of its bucket. */
export function hashOfEntry(entry: Entry): bigint {
  return xxh64(Buffer.concat([entry.key, encodeVersion(entry.version)]));
}

export function hashOfId(key: EntryKey, row: IdRow): bigint {
  return xxh64(Buffer.concat([key, row.id, encodeVersion(row.version)]));
}

export function toIdRow(rowKey: Uint8Array, value: Uint8Array, id: TimedId): IdRow | undefined {
  const content = unseal(rowKey, value);
  if (content === undefined) return undefined;
  return { id, version: decodeVersion(content.subarray(0, 16)), contentHash: content.slice(16, 24) };
}

/** All request ids of a key: one short range in each table there is. */
export function listIds(reader: IndexReader, key: EntryKey): readonly IdRow[] {
  const rows: IdRow[] = [];
  let table = firstTableFrom(reader, 0);
  while (table !== undefined) {
    const from = idKeyPrefix(table, key);
    for (const [rowKey, value] of reader.range('ids', { from, to: pastPrefix(from) })) {
      const parts = partsOfIdKey(rowKey);
      const row = parts.entryKey.length === key.length ? toIdRow(rowKey, value, parts.id) : undefined;
      if (row !== undefined) rows.push(row);
    }
    table = firstTableFrom(reader, table + 1);
  }
  return rows;
}

function firstTableFrom(reader: IndexReader, table: number): number | undefined {
  const [first] = reader.keys('ids', { from: idKeyPrefix(table, new Uint8Array(0)), limit: 1 });
  return first === undefined ? undefined : tableOfIdKey(first);
}

/** The smallest key that does not begin with `prefix`. */
function pastPrefix(prefix: Uint8Array): Uint8Array {
  const next = prefix.slice();
  for (let index = next.length - 1; index >= 0; index--) {
    const byte = next[index] ?? 0;
    if (byte < 255) {
      next[index] = byte + 1;
      return next.subarray(0, index + 1);
    }
  }
  return Buffer.concat([prefix, Buffer.alloc(8, 255)]);
}

const fileRowLive = 0;
const fileRowTrash = 1;

export type FileRow =
  | { readonly state: 'live'; readonly key: EntryKey }
  | { readonly state: 'trash'; readonly dueMs: number };

export function decodeFileRow(rowKey: Uint8Array, value: Uint8Array): FileRow | undefined {
  const content = unseal(rowKey, value);
  if (content === undefined) return undefined;
  if (content[0] === fileRowLive) return { state: 'live', key: content.slice(1) };
  return { state: 'trash', dueMs: new DataView(content.buffer, content.byteOffset).getFloat64(1) };
}

/** One transaction's view of the index, with every change of an entry kept consistent. */
export class EntryChanges {
  readonly #slotCount: number;
  readonly #delays: Delays;
  readonly #transaction: IndexTransaction;
  /** What each slot gained, for the caller to add once it is durable. */
  readonly moved = new Map<SlotNumber, Amounts>();

  constructor(transaction: IndexTransaction, slotCount: number, delays: Delays) {
    this.#transaction = transaction;
    this.#slotCount = slotCount;
    this.#delays = delays;
  }

  lookup(key: EntryKey): Lookup {
    return decodeValue(key, this.#transaction.get('entries', key));
  }

  /** Replaces `before` by `after`, or removes the key. */
  change(key: EntryKey, before: Lookup, after: StoredEntry | undefined): void {
    const old = before.state === 'present' ? before.entry : undefined;
    const oldFile = old?.placed.where === 'file' ? old.placed.fileId : undefined;
    const newFile = after?.placed.where === 'file' ? after.placed.fileId : undefined;
    if (oldFile !== undefined && oldFile !== newFile) this.#trash(oldFile);
    if (newFile !== undefined && oldFile !== newFile) {
      this.#putSealed('files', fromHex(newFile), Buffer.concat([Buffer.of(fileRowLive), key]));
    }
    if (after === undefined) this.#transaction.delete('entries', key);
    else this.#transaction.put('entries', key, encodeValue(after));
    if (isNameKey(key)) this.#changeName(key, after);
    if (after !== undefined) this.#lookAtLater(after);
    const place = placeOfKey(key, this.#slotCount);
    if (before.state === 'damaged') this.#recount(place);
    else {
      const xor = (old === undefined ? 0n : hashOfEntry(old)) ^ (after === undefined ? 0n : hashOfEntry(after));
      this.#shift(place, xor, addAmounts(amountsOf(after), amountsOf(old), -1));
    }
  }

  #changeName(key: EntryKey, after: StoredEntry | undefined): void {
    const nameKey = nameBytesOfKey(key);
    if (after?.kind !== 'record') {
      this.#transaction.delete('names', nameKey);
      return;
    }
    const body = bodyOf(after, 'record');
    const row = encodeListRows([{ ...body, version: after.version }]);
    this.#putSealed('names', nameKey, Buffer.concat([key.subarray(0, 8), row]));
  }

  #trash(fileId: FileId): void {
    const due = encodeNumber(this.#delays.nowMs + this.#delays.replacedGraceMs);
    this.#putSealed('files', fromHex(fileId), Buffer.concat([Buffer.of(fileRowTrash), due]));
  }

  #lookAtLater(entry: StoredEntry): void {
    const afterMs = this.#looksAfterMs(entry);
    if (afterMs !== undefined) this.lookAt(this.#delays.nowMs + afterMs, entry.key);
  }

  #looksAfterMs(entry: StoredEntry): number | undefined {
    switch (entry.kind) {
      case 'record':
        return undefined;
      case 'tombstone':
        return timing.idKeepMs + timing.idTableMs;
      case 'void':
        return this.#delays.replacedGraceMs;
      case 'segment':
        return this.#delays.sweepAfterMs;
    }
  }

  lookAt(dueMs: number, key: EntryKey): void {
    this.#putSealed('sweeps', dueKey(dueMs, key), new Uint8Array(0));
  }

  putId(key: EntryKey, row: IdRow): void {
    this.dropId(key, row.id);
    const content = Buffer.concat([encodeVersion(row.version), row.contentHash]);
    this.#putSealed('ids', idKey(key, row.id), content);
    this.#shift(placeOfKey(key, this.#slotCount), hashOfId(key, row), noAmounts);
  }

  dropId(key: EntryKey, id: TimedId): void {
    const rowKey = idKey(key, id);
    const value = this.#transaction.get('ids', rowKey);
    if (value === undefined) return;
    this.#transaction.delete('ids', rowKey);
    const row = toIdRow(rowKey, value, id);
    const place = placeOfKey(key, this.#slotCount);
    if (row === undefined) this.#recount(place);
    else this.#shift(place, hashOfId(key, row), noAmounts);
  }

  /** Drops the ids of changes that were made after `version`: taken back with what they made (F1). */
  dropIdsAbove(key: EntryKey, version: Version): void {
    for (const row of listIds(this.#transaction, key)) {
      if (compareVersions(row.version, version) > 0) this.dropId(key, row.id);
    }
  }

  /** Drops up to `limit` ids of a slot in tables below `below`. */
  dropIdsOfSlot(slot: SlotNumber, below: number, limit: number): number {
    let dropped = 0;
    const range = rangeOfSlot(slot, this.#slotCount);
    let table = firstTableFrom(this.#transaction, 0);
    while (table !== undefined && table < below && dropped < limit) {
      const inTable: RangeOptions = {
        from: idKeyPrefix(table, range.from),
        to: range.to === undefined ? idKeyPrefix(table + 1, new Uint8Array(0)) : idKeyPrefix(table, range.to),
        limit: limit - dropped,
      };
      for (const rowKey of this.#transaction.keys('ids', inTable)) {
        const { entryKey, id } = partsOfIdKey(rowKey);
        this.dropId(entryKey, id);
        dropped++;
      }
      table = firstTableFrom(this.#transaction, table + 1);
    }
    return dropped;
  }

  /** Removes up to `limit` entries of a slot, with their ids, whatever they are. */
  forget(slot: SlotNumber, limit: number): number {
    const rows = this.#transaction.range('entries', { ...rangeOfSlot(slot, this.#slotCount), limit });
    for (const [key, value] of rows) {
      for (const row of listIds(this.#transaction, key)) this.dropId(key, row.id);
      this.change(key, decodeValue(key, value), undefined);
    }
    return rows.length;
  }

  #shift(place: Place, xor: bigint, amounts: Amounts): void {
    const before = this.#digest(place);
    this.#setDigest(place, { ...addAmounts(before, amounts), xor: before.xor ^ xor }, before);
  }

  /** Counts a bucket anew, after an entry whose hash is unknown has gone. */
  #recount(place: Place): void {
    let row = emptyDigest;
    for (const [key, value] of this.#transaction.range('entries', rangeOfBucket(place, this.#slotCount))) {
      const found = decodeValue(key, value);
      if (found.state === 'present') {
        const xor = row.xor ^ hashOfEntry(found.entry);
        row = { ...addAmounts(row, amountsOf(found.entry)), xor };
      }
      for (const id of listIds(this.#transaction, key)) row = { ...row, xor: row.xor ^ hashOfId(key, id) };
    }
    this.#setDigest(place, row, this.#digest(place));
  }

  #digest(place: Place): DigestRow {
    const key = digestKey(place);
    const value = this.#transaction.get('digests', key);
    return value === undefined ? emptyDigest : decodeDigest(unsealOrFail('digests', key, value));
  }

  #setDigest(place: Place, row: DigestRow, before: DigestRow): void {
    this.#putSealed('digests', digestKey(place), encodeDigest(row));
    const gained = addAmounts(row, before, -1);
    this.moved.set(place.slot, addAmounts(this.moved.get(place.slot) ?? noAmounts, gained));
  }

  #putSealed(table: 'names' | 'ids' | 'digests' | 'files' | 'sweeps', key: Uint8Array, content: Uint8Array): void {
    this.#transaction.put(table, key, seal(key, content));
  }
}
