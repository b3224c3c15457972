/**
 * The request ids of an entry: how they are read, and the digests that stand for them.
 *
 * A name that is overwritten without a pause has thousands of ids, of which two replicas lack each other's newest few.
 * So each key has a row of digests, one for every table its ids stand in: whoever compares looks at the ids of a table
 * only where those differ, and from the newest backwards. No id speaks of a version above that of the entry beside it.
 */
import { readU32, readU64, writeU32, writeU64 } from '../core/big-endian.js';
import { xxh64 } from '../core/checksum.js';
import { compareVersions, type TimedId, timedIdBytes, type Version } from '../core/ids.js';
import type { IndexReader } from '../core/storage.js';
import type { IdDigest, IdRow } from '../protocol/rows.js';
import { decodeVersion, type EntryKey, encodeVersion } from './entry.js';
import { idKeyPrefix, justAfter, type KeyRange, tableOfIdKey, unseal } from './index-layout.js';

/** hash(key, id, version): what an id adds to its digests. */
export function hashOfId(key: EntryKey, row: IdRow): bigint {
  return xxh64(Buffer.concat([key, row.id, encodeVersion(row.version)]));
}

/** Undefined when it does not verify. */
export function toIdRow(rowKey: Uint8Array, value: Uint8Array): IdRow | undefined {
  const content = unseal(rowKey, value);
  if (content === undefined) return undefined;
  const id = rowKey.slice(rowKey.length - timedIdBytes);
  return { id, version: decodeVersion(content.subarray(0, 16)), contentHash: content.slice(16, 24) };
}

/** All request ids of a key, in order. */
export function listIds(reader: IndexReader, key: EntryKey): readonly IdRow[] {
  return [...idTables(reader)].flatMap((table) => [...idsInTable(reader, key, { table })]);
}

/** The tables of ids there are, of whatever key. */
export function* idTables(reader: IndexReader): Generator<number> {
  for (let next = 0; ; ) {
    const [first] = reader.keys('ids', { from: idKeyPrefix(next, new Uint8Array(0)), limit: 1 });
    if (first === undefined) return;
    const table = tableOfIdKey(first);
    yield table;
    next = table + 1;
  }
}

/** The rows of a table whose keys lie in `range`. */
export function rangeInTable(table: number, range: KeyRange): { readonly from: Uint8Array; readonly to: Uint8Array } {
  const to = range.to === undefined ? idKeyPrefix(table + 1, new Uint8Array(0)) : idKeyPrefix(table, range.to);
  return { from: idKeyPrefix(table, range.from), to };
}

/** Whether keys in `range` have ids in tables below `below`. */
export function hasIdsBelow(reader: IndexReader, range: KeyRange, below: number): boolean {
  for (const table of idTables(reader)) {
    if (table >= below) return false;
    if (reader.keys('ids', { ...rangeInTable(table, range), limit: 1 }).length > 0) return true;
  }
  return false;
}

const rowsReadAtOnce = 128;

/** The ids of a key in one table, in order or against it; those after `after`. Reads only as far as it is followed. */
export function* idsInTable(
  reader: IndexReader,
  key: EntryKey,
  place: { readonly table: number; readonly after?: TimedId | undefined; readonly reverse?: boolean },
): Generator<IdRow> {
  const prefix = idKeyPrefix(place.table, key);
  let from: Uint8Array = place.after === undefined ? prefix : justAfter(Buffer.concat([prefix, place.after]));
  let to = pastPrefix(prefix);
  const reverse = place.reverse ?? false;
  for (;;) {
    const page = reader.range('ids', { from, to, limit: rowsReadAtOnce, reverse });
    for (const [rowKey, value] of page) {
      // A longer one belongs to a key that begins with this one.
      const row = rowKey.length === prefix.length + timedIdBytes ? toIdRow(rowKey, value) : undefined;
      if (row !== undefined) yield row;
    }
    const last = page.at(-1);
    if (last === undefined || page.length < rowsReadAtOnce) return;
    if (reverse) to = last[0];
    else from = justAfter(last[0]);
  }
}

/** The ids of a key by the time they carry, newest first. Reads only as far as it is followed. */
export function* newestIds(reader: IndexReader, key: EntryKey): Generator<IdRow> {
  for (const { table } of idDigestsOf(reader, key).toReversed()) {
    yield* idsInTable(reader, key, { table, reverse: true });
  }
}

/** Retries carry older times than their versions: so many ids in a row that are no newer, and there are hardly more. */
const outOfOrderMax = 32;

/** Of ids that come newest first, those of versions above `version`: nearly all of them. */
export function* idsAbove(ids: Iterable<IdRow>, version: Version): Generator<IdRow> {
  let notAbove = 0;
  for (const row of ids) {
    if (compareVersions(row.version, version) > 0) {
      notAbove = 0;
      yield row;
    } else if (++notAbove === outOfOrderMax) return;
  }
}

/** Rows in groups of up to `size`, each made when it is asked for: so that a long list never holds the event loop. */
export function* pagesOf<Row>(rows: Iterable<Row>, size: number): Generator<readonly Row[]> {
  let page: Row[] = [];
  for (const row of rows) {
    page.push(row);
    if (page.length < size) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

// --- Digests ---------------------------------------------------------------------------------------------------------

const digestBytes = 16;

/** In order of tables; a table of which the key has no ids is not listed. */
export function idDigestsOf(reader: IndexReader, key: EntryKey): readonly IdDigest[] {
  const value = reader.get('id-digests', key);
  if (value === undefined) return [];
  const content = unseal(key, value);
  return content === undefined ? countIds(reader, key) : decodeIdDigests(content);
}

/** The digests counted anew, from the ids. */
export function countIds(reader: IndexReader, key: EntryKey): readonly IdDigest[] {
  return [...idTables(reader)].flatMap((table) => {
    const hashes = [...idsInTable(reader, key, { table })].map((row) => hashOfId(key, row));
    return hashes.length === 0 ? [] : { table, count: hashes.length, xor: xorOf(hashes) };
  });
}

/** Adds ids to a table's digest, or takes them out with a negative `count`. */
export function withIds(digests: readonly IdDigest[], change: IdDigest): readonly IdDigest[] {
  const before = digests.find(({ table }) => table === change.table);
  const count = (before?.count ?? 0) + change.count;
  const others = digests.filter(({ table }) => table !== change.table);
  if (count <= 0) return others;
  const after = { table: change.table, count, xor: (before?.xor ?? 0n) ^ change.xor };
  return [...others, after].sort((a, b) => a.table - b.table);
}

/** Stands for all ids of the key. */
export function hashOfIds(digests: readonly IdDigest[]): bigint {
  return xorOf(digests.map(({ xor }) => xor));
}

/** The tables in which the ids of two replicas differ. */
export function differingTables(mine: readonly IdDigest[], theirs: readonly IdDigest[]): readonly number[] {
  const all = new Set([...mine, ...theirs].map(({ table }) => table));
  const digestIn = (digests: readonly IdDigest[], table: number): IdDigest | undefined =>
    digests.find((digest) => digest.table === table);
  return [...all].filter((table) => {
    const [a, b] = [digestIn(mine, table), digestIn(theirs, table)];
    return a?.count !== b?.count || a?.xor !== b?.xor;
  });
}

export function encodeIdDigests(digests: readonly IdDigest[]): Uint8Array {
  const bytes = new Uint8Array(digests.length * digestBytes);
  digests.forEach(({ table, count, xor }, index) => {
    writeU32(bytes, index * digestBytes, table);
    writeU32(bytes, index * digestBytes + 4, count);
    writeU64(bytes, index * digestBytes + 8, xor);
  });
  return bytes;
}

function decodeIdDigests(bytes: Uint8Array): readonly IdDigest[] {
  return Array.from({ length: Math.floor(bytes.length / digestBytes) }, (_, index) => ({
    table: readU32(bytes, index * digestBytes),
    count: readU32(bytes, index * digestBytes + 4),
    xor: readU64(bytes, index * digestBytes + 8),
  }));
}

function xorOf(hashes: readonly bigint[]): bigint {
  return hashes.reduce((xor, hash) => xor ^ hash, 0n);
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
