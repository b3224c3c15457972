/**
 * The peer's index of entries: typed reads of durable state, and the few ways in which entries change.
 *
 * Every change re-reads the slot's promise inside its transaction and aborts if it rose (rule F4); what a change does
 * to the tables is in entry-changes.ts. Serves S1, S4.
 */
import { u64Bytes, writeU64 } from '../core/big-endian.js';
import { refuse } from '../core/errors.js';
import { compareVersions, type Epoch, noVersion, type SlotNumber, type TimedId, type Version } from '../core/ids.js';
import { limits } from '../core/limits.js';
import type { IndexReader, IndexStore, IndexTransaction } from '../core/storage.js';
import type { AmountRow, IdDigest, IdRow, KeyRow } from '../protocol/rows.js';
import { decodeValue, type EntryKey, type Lookup, type StoredEntry } from './entry.js';
import { type Amounts, addAmounts, type Delays, EntryChanges, noAmounts } from './entry-changes.js';
import {
  decodeDigest,
  decodeNumber,
  digestKey,
  encodeNumber,
  idKey,
  justAfter,
  type Place,
  placeOfKey,
  rangeOfBucket,
  rangeOfSlot,
  seal,
  slotKey,
  slotOfSlotKey,
  unsealOrFail,
} from './index-layout.js';
import { hashOfIds, hasIdsBelow, idDigestsOf, idsInTable, listIds, newestIds, toIdRow } from './request-ids.js';

/** The writer's standing: refused when the slot's promise is higher. */
export interface Fence {
  readonly slot: SlotNumber;
  readonly slotEpoch: Epoch;
}

export interface RequestMark {
  readonly id: TimedId;
  /** Of what the request asked: the same id with other content is a client's bug (F5). */
  readonly contentHash: Uint8Array;
}

const idsDroppedAtOnce = 500;

interface WireMark {
  readonly requestId?: TimedId;
  readonly contentHash?: Uint8Array;
}

/** What a message says of the request behind an entry. */
export function markIn({ requestId, contentHash }: WireMark): RequestMark | undefined {
  return requestId === undefined || contentHash === undefined ? undefined : { id: requestId, contentHash };
}

export function toWireMark(mark: RequestMark | undefined): WireMark {
  return mark === undefined ? {} : { requestId: mark.id, contentHash: mark.contentHash };
}

export class EntryIndex {
  readonly #store: IndexStore;
  readonly #slotCount: number;
  readonly #delays: () => Delays;
  readonly #amounts = new Map<SlotNumber, Amounts>();
  /** Hears of each segment that was stored, before whoever stored it does. */
  onSegmentStored: (key: EntryKey) => void = () => undefined;

  constructor(store: IndexStore, slotCount: number, delays: () => Delays) {
    this.#store = store;
    this.#slotCount = slotCount;
    this.#delays = delays;
    for (const [key, value] of store.range('digests', { from: new Uint8Array(0) })) {
      this.#addAmounts(slotOfSlotKey(key), decodeDigest(unsealOrFail('digests', key, value)));
    }
  }

  get slotCount(): number {
    return this.#slotCount;
  }

  slotOf(key: EntryKey): SlotNumber {
    return placeOfKey(key, this.#slotCount).slot;
  }

  lookup(key: EntryKey): Lookup {
    return decodeValue(key, this.#store.get('entries', key));
  }

  promiseOf(slot: SlotNumber): Epoch {
    return readPromise(this.#store, slot);
  }

  amountsOf(slot: SlotNumber): Amounts {
    return this.#amounts.get(slot) ?? noAmounts;
  }

  /** Content of every role on this disk. */
  storedBytes(): number {
    let total = 0;
    for (const amounts of this.#amounts.values()) total += amounts.storedBytes;
    return total;
  }

  /** What is stored here of each slot, whatever this peer's role in it. */
  amounts(): readonly AmountRow[] {
    return [...this.#amounts].map(([slot, { files, storedBytes }]) => ({ slot, files, bytes: storedBytes }));
  }

  /** The slots of which anything is stored here. */
  slotsHeld(): readonly SlotNumber[] {
    return [...this.#amounts].filter(([, amounts]) => amounts.entries > 0).map(([slot]) => slot);
  }

  /** 64 digests of 8 bytes. */
  digests(slot: SlotNumber): Uint8Array {
    const digests = new Uint8Array(limits.digestBuckets * 8);
    const from = digestKey({ slot, bucket: 0 });
    const to = justAfter(digestKey({ slot, bucket: limits.digestBuckets - 1 }));
    for (const [key, value] of this.#store.range('digests', { from, to })) {
      writeU64(digests, (key[2] ?? 0) * 8, decodeDigest(unsealOrFail('digests', key, value)).xor);
    }
    return digests;
  }

  /** The entries of a digest bucket after a key, in order: a page. An unreadable one has no version (F10). */
  listBucket(place: Place, after: EntryKey, limit: number): { rows: readonly KeyRow[]; more: boolean } {
    const range = rangeOfBucket(place, this.#slotCount);
    const from = after.length === 0 ? range.from : justAfter(after);
    const bytesMax = limits.comparePageBytesMax;
    const rows = this.#store.range('entries', { ...range, from, limit, bytesMax }).map(([key, value]) => {
      const found = decodeValue(key, value);
      return { key, version: found.state === 'present' ? found.entry.version : noVersion, idsHash: this.#idsHash(key) };
    });
    const last = rows.at(-1)?.key;
    const rest = last === undefined ? [] : this.#store.keys('entries', { ...range, from: justAfter(last), limit: 1 });
    return { rows, more: rest.length > 0 };
  }

  #idsHash(key: EntryKey): Uint8Array {
    return u64Bytes(hashOfIds(this.idDigests(key)));
  }

  /** Refuses `unknown-outcome` for an id that is there and cannot be read: the request must not run again (S6). */
  findId(key: EntryKey, id: TimedId): IdRow | undefined {
    const rowKey = idKey(key, id);
    const value = this.#store.get('ids', rowKey);
    if (value === undefined) return undefined;
    return toIdRow(rowKey, value) ?? refuse('unknown-outcome', 'What came of the request cannot be read any more');
  }

  /** All request ids of a key. */
  listIds(key: EntryKey): readonly IdRow[] {
    return listIds(this.#store, key);
  }

  /** What stands for the key's request ids, table by table; empty when it has none. */
  idDigests(key: EntryKey): readonly IdDigest[] {
    return idDigestsOf(this.#store, key);
  }

  /** The ids of a key in one table, after one of them, in order; reads only as far as it is followed. */
  idsInTable(key: EntryKey, place: { readonly table: number; readonly after?: TimedId }): Iterable<IdRow> {
    return idsInTable(this.#store, key, place);
  }

  /** The request ids of a key, newest first; reads only as far as it is followed. */
  newestIds(key: EntryKey): Iterable<IdRow> {
    return newestIds(this.#store, key);
  }

  /** The request that wrote a version of the key, while its id is remembered. */
  markOf(key: EntryKey, version: Version): RequestMark | undefined {
    for (const row of this.newestIds(key)) {
      if (compareVersions(row.version, version) === 0) return { id: row.id, contentHash: row.contentHash };
    }
    return undefined;
  }

  /** Stores entries newer than what is there, and the request's id; older ones are ignored, one by one (F3). */
  write(fence: Fence, entries: readonly StoredEntry[], mark?: RequestMark): Promise<readonly boolean[]> {
    return this.#change(fence, (changes) => {
      const stored = entries.map((entry) => {
        const before = changes.lookup(entry.key);
        if (before.state === 'present' && compareVersions(before.entry.version, entry.version) >= 0) return false;
        changes.change(entry.key, before, entry);
        return true;
      });
      const [first] = entries;
      // Also when the very version was here already: a repair may have brought it without its id (F1).
      const isHeld = first !== undefined && (stored[0] === true || holds(changes.lookup(first.key), first.version));
      if (first !== undefined && isHeld && mark !== undefined) {
        changes.putId(first.key, { id: mark.id, version: first.version, contentHash: mark.contentHash });
      }
      return stored;
    });
  }

  /**
   * Makes a key equal to the primary's, unless it is newer than `asOf`. Resolves to whether it was ignored. The ids of
   * what it takes back go in the same step: a promotion in between would answer their retries with "done".
   */
  settle(
    fence: Fence,
    key: EntryKey,
    asOf: Version,
    entry: StoredEntry | undefined,
    mark?: RequestMark,
  ): Promise<boolean> {
    return this.#change(fence, (changes) => {
      const before = changes.lookup(key);
      if (before.state === 'present' && compareVersions(before.entry.version, asOf) > 0) return true;
      changes.change(key, before, entry);
      if (!rises(before, entry)) {
        changes.dropIdsAbove(key, entry?.version ?? noVersion);
      }
      // The entry's own id comes with it: without it a late retry would run again (S6).
      if (entry !== undefined && mark !== undefined) {
        changes.putId(key, { id: mark.id, version: entry.version, contentHash: mark.contentHash });
      }
      return false;
    });
  }

  settleIds(
    fence: Fence,
    key: EntryKey,
    asOf: Version,
    rows: { readonly puts: readonly IdRow[]; readonly drops: readonly IdRow[] },
  ): Promise<boolean> {
    return this.#change(fence, (changes) => {
      const before = changes.lookup(key);
      if (before.state === 'present' && compareVersions(before.entry.version, asOf) > 0) return true;
      for (const row of rows.drops) changes.dropId(key, row.id);
      for (const row of rows.puts) changes.putId(key, row);
      return false;
    });
  }

  /** Removes an entry that still has exactly this version: the last step of a sweep (F19). */
  remove(fence: Fence, key: EntryKey, version: Version): Promise<boolean> {
    return this.#change(fence, (changes) => {
      const before = changes.lookup(key);
      if (before.state !== 'present' || compareVersions(before.entry.version, version) !== 0) return false;
      changes.change(key, before, undefined);
      return true;
    });
  }

  /**
   * Puts other bytes behind an unchanged or unreadable entry: a repair. False when the key has changed meanwhile. What
   * comes in place of an unreadable one may be newer than that was, and then brings its request's id (F1).
   */
  replaceBytes(fence: Fence, entry: StoredEntry, mark?: RequestMark): Promise<boolean> {
    return this.#change(fence, (changes) => {
      const before = changes.lookup(entry.key);
      const same = before.state === 'present' && compareVersions(before.entry.version, entry.version) === 0;
      if (!same && before.state !== 'damaged') return false;
      if (!same) changes.dropIdsAbove(entry.key, entry.version);
      changes.change(entry.key, before, entry);
      if (!same && mark !== undefined) {
        changes.putId(entry.key, { id: mark.id, version: entry.version, contentHash: mark.contentHash });
      }
      return true;
    });
  }

  /** Drops the slot's ids of all tables below `below`, a few at a time; resolves to how many. */
  async dropIds(fence: Fence, below: number): Promise<number> {
    await this.raisePromise(fence);
    let count = 0;
    while (hasIdsBelow(this.#store, rangeOfSlot(fence.slot, this.#slotCount), below)) {
      count += await this.#change(fence, (changes) => changes.dropIdsOfSlot(fence.slot, below, idsDroppedAtOnce));
    }
    return count;
  }

  /** Forgets up to `limit` entries of a slot this peer no longer holds (F15); resolves to how many. */
  forget(fence: Fence, limit: number): Promise<number> {
    return this.#change(fence, (changes) => changes.forget(fence.slot, limit));
  }

  /** Has an entry looked at by the sweeper at a later time. */
  lookAt(fence: Fence, dueMs: number, key: EntryKey): Promise<void> {
    return this.#change(fence, (changes) => changes.lookAt(dueMs, key));
  }

  /** Raises the slot's promise durably: from then on lower slotEpochs are refused, for ever. */
  async raisePromise(fence: Fence): Promise<void> {
    if (this.promiseOf(fence.slot) !== fence.slotEpoch) await this.#change(fence, () => undefined);
  }

  async #change<T>(fence: Fence, change: (changes: EntryChanges) => T): Promise<T> {
    const done = await this.#store.transact((transaction) => {
      const promised = checkFence(transaction, fence);
      const changes = new EntryChanges(transaction, this.#slotCount, this.#delays());
      const result = change(changes);
      if (promised < fence.slotEpoch) putPromise(transaction, fence);
      return { result, gained: changes.finish(), segments: changes.storedSegments };
    });
    for (const key of done.segments) this.onSegmentStored(key);
    for (const [slot, amounts] of done.gained) this.#addAmounts(slot, amounts);
    return done.result;
  }

  #addAmounts(slot: SlotNumber, moved: Amounts): void {
    this.#amounts.set(slot, addAmounts(this.amountsOf(slot), moved));
  }
}

function holds(found: Lookup, version: Version): boolean {
  return found.state === 'present' && compareVersions(found.entry.version, version) === 0;
}

/** No id speaks of a version above its entry's: only where that falls, or is not known, can one be too new. */
function rises(before: Lookup, after: StoredEntry | undefined): boolean {
  return before.state === 'present' && after !== undefined && compareVersions(before.entry.version, after.version) <= 0;
}

function readPromise(reader: IndexReader, slot: SlotNumber): Epoch {
  const key = slotKey(slot);
  const value = reader.get('promises', key);
  return value === undefined ? 0 : decodeNumber(unsealOrFail('promises', key, value));
}

function checkFence(transaction: IndexTransaction, fence: Fence): Epoch {
  const promised = readPromise(transaction, fence.slot);
  if (promised > fence.slotEpoch) {
    refuse('stale-epoch', `Slot ${fence.slot} has promised epoch ${promised}, above ${fence.slotEpoch}`);
  }
  return promised;
}

export function putPromise(transaction: IndexTransaction, fence: Fence): void {
  const key = slotKey(fence.slot);
  transaction.put('promises', key, seal(key, encodeNumber(fence.slotEpoch)));
}

/** Raises many promises in the caller's transaction; none is ever lowered. */
export function raisePromises(transaction: IndexTransaction, fences: readonly Fence[]): void {
  for (const fence of fences) {
    if (readPromise(transaction, fence.slot) < fence.slotEpoch) putPromise(transaction, fence);
  }
}
