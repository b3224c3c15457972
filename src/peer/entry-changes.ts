/**
 * What one change of an entry does to the index, inside a transaction.
 *
 * The entry, its place in the list of names, its request ids, the digests, the references to files and the list of what
 * must be looked at later move together. A replaced file is not removed at once: a reader may still be at it.
 */
import { readF64 } from '../core/big-endian.js';
import { xxh64 } from '../core/checksum.js';
import {
  compareVersions,
  fromHex,
  noVersion,
  type SlotNumber,
  type TimedId,
  timeOfId,
  type Version,
} from '../core/ids.js';
import { limits } from '../core/limits.js';
import type { FileId, IndexTransaction } from '../core/storage.js';
import { timing } from '../core/timing.js';
import { encodeListRows, type IdDigest, type IdRow } from '../protocol/rows.js';
import {
  bodyOf,
  decodeValue,
  type Entry,
  type EntryKey,
  encodeValue,
  encodeVersion,
  isNameKey,
  keyText,
  type Lookup,
  nameBytesOfKey,
  placedSize,
  type RecordBody,
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
  idTableOf,
  isInRange,
  type Place,
  partsOfIdKey,
  placeOfKey,
  rangeOfBucket,
  rangeOfSlot,
  seal,
  unseal,
  unsealOrFail,
} from './index-layout.js';
import {
  countIds,
  encodeIdDigests,
  hashOfId,
  hashOfIds,
  idDigestsOf,
  idTables,
  listIds,
  rangeInTable,
  toIdRow,
  withIds,
} from './request-ids.js';

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

/** `record`: the entry's body, when it is a record. */
function amountsOf(entry: StoredEntry | undefined, record = recordOf(entry)): Amounts {
  if (entry === undefined) return noAmounts;
  const [files, logicalBytes] = record === undefined ? [0, 0] : [1, record.size];
  return { entries: 1, files, logicalBytes, storedBytes: placedSize(entry.placed) };
}

function recordOf(entry: StoredEntry | undefined): RecordBody | undefined {
  return entry?.kind === 'record' ? bodyOf(entry, 'record') : undefined;
}

/** hash(key, version): what an entry adds to the digest of its bucket. */
export function hashOfEntry(entry: Entry): bigint {
  return xxh64(Buffer.concat([entry.key, encodeVersion(entry.version)]));
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
  return { state: 'trash', dueMs: readF64(content, 1) };
}

/** Counts all buckets of all slots. */
function numberOf({ slot, bucket }: Place): number {
  return slot * limits.digestBuckets + bucket;
}

type SealedTable = 'names' | 'ids' | 'id-digests' | 'digests' | 'files' | 'sweeps';

interface DigestChange {
  readonly place: Place;
  readonly before: DigestRow;
  now: DigestRow;
}

/** One transaction's view of the index, with every change of an entry kept consistent. */
export class EntryChanges {
  readonly #slotCount: number;
  readonly #delays: Delays;
  readonly #transaction: IndexTransaction;
  /** Digests that move and are not written yet. */
  readonly #digests = new Map<number, DigestChange>();
  readonly #idDigests = new Map<string, { readonly key: EntryKey; readonly digests: readonly IdDigest[] }>();

  /** Keys of the segments it has put. */
  readonly storedSegments: EntryKey[] = [];

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
    const record = recordOf(after);
    if (isNameKey(key)) this.#changeName(key, after, record);
    if (after?.kind === 'segment') this.storedSegments.push(key);
    if (after !== undefined) this.#lookAtLater(after);
    const place = placeOfKey(key, this.#slotCount);
    if (before.state === 'damaged') this.#recount(place);
    else {
      const xor = (old === undefined ? 0n : hashOfEntry(old)) ^ (after === undefined ? 0n : hashOfEntry(after));
      this.#shift(place, xor, addAmounts(amountsOf(after, record), amountsOf(old), -1));
    }
  }

  #changeName(key: EntryKey, after: StoredEntry | undefined, record: RecordBody | undefined): void {
    const nameKey = nameBytesOfKey(key);
    if (after === undefined || record === undefined) {
      this.#transaction.delete('names', nameKey);
      return;
    }
    const row = encodeListRows([{ ...record, version: after.version }]);
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
    const before = this.#idDigestsOf(key);
    const content = Buffer.concat([encodeVersion(row.version), row.contentHash]);
    this.#putSealed('ids', idKey(key, row.id), content);
    this.#countId(before, key, row, 1);
  }

  dropId(key: EntryKey, id: TimedId): void {
    const rowKey = idKey(key, id);
    const value = this.#transaction.get('ids', rowKey);
    if (value === undefined) return;
    const before = this.#idDigestsOf(key);
    this.#transaction.delete('ids', rowKey);
    const row = toIdRow(rowKey, value);
    if (row === undefined) this.#recountIds(key);
    else this.#countId(before, key, row, -1);
  }

  #countId(before: readonly IdDigest[], key: EntryKey, row: IdRow, count: 1 | -1): void {
    const xor = hashOfId(key, row);
    const table = idTableOf(timeOfId(row.id));
    this.#idDigests.set(keyText(key), { key, digests: withIds(before, { table, count, xor }) });
    this.#shift(placeOfKey(key, this.#slotCount), xor, noAmounts);
  }

  /** After an id whose hash is unknown has gone. */
  #recountIds(key: EntryKey): void {
    this.#idDigests.set(keyText(key), { key, digests: countIds(this.#transaction, key) });
    this.#recount(placeOfKey(key, this.#slotCount));
  }

  /** To be read before the ids change: an unreadable row is counted anew from them. */
  #idDigestsOf(key: EntryKey): readonly IdDigest[] {
    return this.#idDigests.get(keyText(key))?.digests ?? idDigestsOf(this.#transaction, key);
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
    for (const table of idTables(this.#transaction)) {
      if (table >= below || dropped >= limit) break;
      const inTable = { ...rangeInTable(table, range), limit: limit - dropped };
      for (const rowKey of this.#transaction.keys('ids', inTable)) {
        const { entryKey, id } = partsOfIdKey(rowKey);
        this.dropId(entryKey, id);
        dropped++;
      }
    }
    return dropped;
  }

  /** Removes up to `limit` entries of a slot, with their ids, whatever they are. */
  forget(slot: SlotNumber, limit: number): number {
    const rows = this.#transaction.range('entries', { ...rangeOfSlot(slot, this.#slotCount), limit });
    for (const [key, value] of rows) {
      this.dropIdsAbove(key, noVersion);
      this.change(key, decodeValue(key, value), undefined);
    }
    return rows.length;
  }

  #shift(place: Place, xor: bigint, amounts: Amounts): void {
    const digest = this.#digest(place);
    digest.now = { ...addAmounts(digest.now, amounts), xor: digest.now.xor ^ xor };
  }

  /** Counts a bucket anew, after an entry or id whose hash is unknown has gone. */
  #recount(place: Place): void {
    const range = rangeOfBucket(place, this.#slotCount);
    let row = emptyDigest;
    for (const [key, value] of this.#transaction.range('entries', range)) {
      const found = decodeValue(key, value);
      if (found.state !== 'present') continue;
      row = { ...addAmounts(row, amountsOf(found.entry)), xor: row.xor ^ hashOfEntry(found.entry) };
    }
    const keys = new Map(this.#transaction.keys('id-digests', range).map((key) => [keyText(key), key]));
    for (const [text, { key }] of this.#idDigests) if (isInRange(key, range)) keys.set(text, key);
    for (const key of keys.values()) row = { ...row, xor: row.xor ^ hashOfIds(this.#idDigestsOf(key)) };
    this.#digest(place).now = row;
  }

  #digest(place: Place): DigestChange {
    const known = this.#digests.get(numberOf(place));
    if (known !== undefined) return known;
    const key = digestKey(place);
    const value = this.#transaction.get('digests', key);
    const before = value === undefined ? emptyDigest : decodeDigest(unsealOrFail('digests', key, value));
    const digest = { place, before, now: before };
    this.#digests.set(numberOf(place), digest);
    return digest;
  }

  /** Writes the digests, once for everything that moved them, and returns what each slot gained. The last step. */
  finish(): ReadonlyMap<SlotNumber, Amounts> {
    const gained = new Map<SlotNumber, Amounts>();
    for (const { place, before, now } of this.#digests.values()) {
      this.#putSealed('digests', digestKey(place), encodeDigest(now));
      gained.set(place.slot, addAmounts(gained.get(place.slot) ?? noAmounts, addAmounts(now, before, -1)));
    }
    for (const { key, digests } of this.#idDigests.values()) {
      if (digests.length === 0) this.#transaction.delete('id-digests', key);
      else this.#putSealed('id-digests', key, encodeIdDigests(digests));
    }
    return gained;
  }

  #putSealed(table: SealedTable, key: Uint8Array, content: Uint8Array): void {
    this.#transaction.put(table, key, seal(key, content));
  }
}
