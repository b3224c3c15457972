/**
 * A peer's index on LMDB (https://www.symas.com/lmdb): one environment, one named database a table.
 *
 * What a body writes is applied when it has returned, so one that throws leaves nothing behind. A commit is durable
 * before its callers hear of it, because `overlappingSync` is off: the library's default shows values before they are
 * synced, and after a failed sync too.
 */
import { constants, existsSync } from 'node:fs';
import { access, lstat, open, rename, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Database, type RangeOptions as LmdbRangeOptions, open as openLmdb, type RootDatabase } from 'lmdb';
import { assert } from '../core/assert.js';
import { DfsError, StorageFailure } from '../core/errors.js';
import type { SmallWork } from '../core/local-machine.js';
import {
  type IndexReader,
  type IndexStore,
  type IndexTable,
  type IndexTransaction,
  indexTables,
  type RangeOptions,
} from '../core/storage.js';
import { syncFolder } from './folder-sync.js';
import { GroupCommit, type Ran, WriteFault } from './group-commit.js';
import { checkIndexFile, noteSuspicion, suspicionPathOf } from './lmdb-check.js';
import { copyOf, plain, take } from './lmdb-rows.js';
import { isAbsence, toStorageFailure, toWriteError } from './system-errors.js';

export interface IndexOptions {
  /** With less than this free, a failed commit means a full disk: LMDB reports that as an I/O error. */
  readonly noSpaceBelowBytes: number;
}

/** What was found in an index's place. A lost index is never replaced silently: its store is gone with it. */
export type IndexFound =
  | { readonly state: 'open'; readonly index: IndexStore }
  | { readonly state: 'absent' }
  | { readonly state: 'lost'; readonly reason: string };

type Table = Database<Buffer, Uint8Array>;
type Tables = Readonly<Record<IndexTable, Table>>;

const keyBytesMax = 1978; // LMDB's for pages of 4 KiB: two keys must fit a page
// MDB_PAGE_NOTFOUND, MDB_CORRUPTED, MDB_INVALID
const damageCodes: ReadonlySet<number> = new Set([-30797, -30796, -30793]);
const fullBelowBytes = 4 * 1024 * 1024; // a disk with less is full, whatever reserve was asked for
const alike = {
  noSubdir: true,
  overlappingSync: false,
  // Batching by turns makes a promise of its own, whose rejection nobody could handle.
  eventTurnBatching: false,
  // So many free pages are kept in memory, where each commit goes through all of them: the library's 50,000 and 75,000
  // make a commit of a few entries cost several times what it writes.
  maxFreeSpaceToLoad: 1000,
  maxFreeSpaceToRetain: 4000,
} as const;
const mapBytes = 2 ** 40; // reserved addresses only: bounds the index, costs nothing until used

/** Makes a new index at `path`, in whose place nothing is. Resolves when it is durable. */
export async function createIndex(path: string, options: IndexOptions): Promise<IndexStore> {
  await access(path, constants.F_OK).then(
    () => Promise.reject(new StorageFailure(`There is something at ${path} already`)),
    (error: unknown) => {
      if (!isAbsence(error)) throw toStorageFailure(error, `Looking for ${path}`);
    },
  );
  await rm(lockPathOf(path), { force: true });
  try {
    const index = openEnvironment(path, options);
    await syncFolder(dirname(path));
    return index;
  } catch (error) {
    throw toWriteError(error, `Creating the index ${path}`);
  }
}

/** Opens the index at `path` after checking, with plain reads, that mapping it cannot end the process. */
export async function openIndex(path: string, options: IndexOptions): Promise<IndexFound> {
  const stat = await lstat(path).catch((error: unknown) => {
    if (isAbsence(error)) return undefined;
    throw toStorageFailure(error, `Looking for ${path}`);
  });
  if (stat === undefined) return { state: 'absent' };
  if (!stat.isFile()) return { state: 'lost', reason: `${path} is not a regular file` };
  const fault = checkIndexFile(path, { isSuspect: existsSync(suspicionPathOf(path)) });
  if (fault !== undefined) return { state: 'lost', reason: fault };
  try {
    // Holds reader slots of processes that ended; nobody else has this folder, so it starts afresh.
    await rm(lockPathOf(path), { force: true });
    const index = openEnvironment(path, options);
    await rm(suspicionPathOf(path), { force: true });
    return { state: 'open', index };
  } catch (error) {
    // Anything else (memory, rights, descriptors) says nothing about the index and must not cost its store.
    if (isDamage(error)) return { state: 'lost', reason: error.message };
    throw toStorageFailure(error, `Opening the index ${path}`);
  }
}

/**
 * Copies one durable state of an index that is open here into a new file, while writes go on (mdb_env_copy2). Resolves
 * when the content is durable; its name is not. Throws DfsError `no-space` or StorageFailure.
 */
export async function copyIndex(index: IndexStore, path: string): Promise<void> {
  assert(index instanceof LmdbIndex, 'Only an index made here is copied');
  try {
    await index.copyTo(path);
    const file = await open(path, 'r+');
    await file.sync().finally(() => file.close());
  } catch (error) {
    throw toWriteError(error, `Copying the index to ${path}`);
  }
}

/** A new LMDB at `path` with nothing of ours around it: what an index on this disk can do at most. */
export function lmdbAlone(path: string): { put(work: SmallWork): Promise<void>; close(): Promise<void> } {
  const root = openLmdb<Buffer, Uint8Array>({ path, ...alike, encoding: 'binary', keyEncoding: 'binary' });
  return {
    /** Under random-looking keys; resolves when all are durable. */
    async put({ count, sizeBytes, inFlight }) {
      const value = Buffer.alloc(sizeBytes, 'dfs');
      let begun = 0;
      const putSome = async (): Promise<void> => {
        while (begun < count) {
          const key = Buffer.alloc(8);
          key.writeUInt32BE(Math.imul(begun, 0x9e3779b1) >>> 0, 0);
          key.writeUInt32BE(begun++, 4);
          await root.put(key, value);
        }
      };
      await Promise.all(Array.from({ length: inFlight }, putSome));
    },
    close: () => root.close(),
  };
}

/** Puts a lost index out of the way, so that a new one can be made; the last one put aside is kept for inspection. */
export async function setAsideIndex(path: string): Promise<void> {
  try {
    await rm(`${path}.lost`, { force: true, recursive: true });
    await rename(path, `${path}.lost`);
    await rm(suspicionPathOf(path), { force: true });
    await syncFolder(dirname(path));
  } catch (error) {
    throw toStorageFailure(error, `Putting aside the lost index ${path}`);
  }
}

function lockPathOf(path: string): string {
  return `${path}-lock`;
}

function isDamage(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && damageCodes.has(Number(error.code));
}

function openEnvironment(path: string, options: IndexOptions): LmdbIndex {
  const binary = { encoding: 'binary', keyEncoding: 'binary', cache: false } as const;
  const root: RootDatabase<Buffer, Uint8Array> = openLmdb({
    path,
    ...alike,
    mapSize: mapBytes,
    maxDbs: indexTables.length + 8,
    ...binary,
  });
  try {
    const opened = indexTables.map((table) => [table, root.openDB<Buffer, Uint8Array>(table, binary)] as const);
    return new LmdbIndex(path, root, Object.fromEntries(opened) as Record<IndexTable, Table>, options);
  } catch (error) {
    void root.close();
    throw error;
  }
}

/** Reads inside a transaction while one runs, of durable state otherwise: the library goes by what is under way. */
class TableReader implements IndexReader {
  readonly #path: string;
  readonly #tables: Tables;
  /** What the library reads single values into, again and again. */
  #target: Uint8Array = new Uint8Array(0);

  constructor(path: string, tables: Tables) {
    this.#path = path;
    this.#tables = tables;
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    checkKey(key);
    return this.#reading(() => {
      const found = this.#tables[table].getBinaryFast(key);
      return found && this.#copyOf(found);
    });
  }

  /** A small array of one's own lies on the engine's heap, which the library's own copy does not. */
  #copyOf({ buffer, byteOffset, length }: Uint8Array): Uint8Array {
    if (this.#target.buffer !== buffer || this.#target.byteOffset !== byteOffset || this.#target.length < length) {
      this.#target = new Uint8Array(buffer, byteOffset);
    }
    return this.#target.slice(0, length);
  }

  range(table: IndexTable, options: RangeOptions): readonly (readonly [key: Uint8Array, value: Uint8Array])[] {
    const toRow = ({ key, value }: { key: Uint8Array; value: Uint8Array }) => [plain(key), plain(value)] as const;
    return this.#reading(() => {
      const rows = this.#tables[table].getRange(toRange(options));
      return take(rows, { toItem: toRow, sizeOf: ({ key, value }) => key.length + value.length, ...options });
    });
  }

  keys(table: IndexTable, options: RangeOptions): readonly Uint8Array[] {
    return this.#reading(() => {
      const keys = this.#tables[table].getKeys(toRange(options));
      return take(keys, { toItem: plain, sizeOf: (key) => key.length, ...options });
    });
  }

  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw toStorageFailure(error, `Reading the index at ${this.#path}${noteSuspicion(this.#path)}`);
    }
  }
}

class LmdbIndex implements IndexStore {
  readonly #path: string;
  readonly #root: RootDatabase<Buffer, Uint8Array>;
  readonly #reader: TableReader;
  readonly #noSpaceBelowBytes: number;
  readonly #tables: Tables;
  readonly #commits: GroupCommit;
  #isClosed = false;

  constructor(path: string, root: RootDatabase<Buffer, Uint8Array>, tables: Tables, options: IndexOptions) {
    this.#path = path;
    this.#root = root;
    this.#reader = new TableReader(path, tables);
    this.#noSpaceBelowBytes = Math.max(options.noSpaceBelowBytes, fullBelowBytes);
    this.#tables = tables;
    this.#commits = new GroupCommit({
      commit: (bodies) => root.transaction(bodies),
      judge: (fault) => this.#judge(fault),
    });
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    return this.#openReader().get(table, key);
  }

  range(table: IndexTable, options: RangeOptions): readonly (readonly [key: Uint8Array, value: Uint8Array])[] {
    return this.#openReader().range(table, options);
  }

  keys(table: IndexTable, options: RangeOptions): readonly Uint8Array[] {
    return this.#openReader().keys(table, options);
  }

  transact<T>(body: (transaction: IndexTransaction) => T): Promise<T> {
    return this.#commits.submit(() => runBody(new BodyTransaction(this.#tables, this.#reader), body));
  }

  /** Without the free pages, so that it takes no more than what is in it. */
  copyTo(path: string): Promise<void> {
    assert(!this.#isClosed, 'A closed index is not copied');
    return this.#root.backup(path, true);
  }

  async close(): Promise<void> {
    await this.#commits.close();
    this.#isClosed = true;
    await this.#root.close();
  }

  #openReader(): TableReader {
    assert(!this.#isClosed, 'A closed index is not read');
    return this.#reader;
  }

  /** LMDB refuses everything, reads too, once it failed to write a meta page. Throws StorageFailure then. */
  #checkUsable(): void {
    this.#root.resetReadTxn();
    this.#reader.keys('meta', { from: new Uint8Array(0), limit: 1 });
  }

  /** A failed commit had no effect. Whether to go on depends on why it failed. */
  async #judge(fault: unknown): Promise<DfsError | StorageFailure> {
    try {
      const cause = await innermost(fault);
      const { bavail, bsize } = await statfs(dirname(this.#path));
      if (bavail * bsize >= this.#noSpaceBelowBytes) {
        return toStorageFailure(cause, `Committing to the index at ${this.#path}`);
      }
      this.#checkUsable();
      return new DfsError('no-space', `The index at ${this.#path} has no room to grow`, { cause });
    } catch (error) {
      return toStorageFailure(error, `Judging a failed commit to ${this.#path}`);
    }
  }
}

/** The library rejects with a general error that carries a second, rejected promise with the reason. */
async function innermost(fault: unknown): Promise<unknown> {
  const error = fault instanceof WriteFault ? fault.cause : fault;
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  return Promise.resolve(error.commitError).then(
    () => error,
    (reason: unknown) => reason ?? error,
  );
}

function runBody<T>(transaction: BodyTransaction, body: (transaction: IndexTransaction) => T): Ran<T> {
  try {
    const result = body(transaction);
    transaction.apply();
    return { result, bytesWritten: transaction.bytesWritten };
  } catch (error) {
    throw transaction.fault ?? error;
  }
}

/** One body's view: its writes wait until it returns or reads again. */
class BodyTransaction implements IndexTransaction {
  readonly #tables: Tables;
  readonly #reader: TableReader;
  #writes: (() => void)[] = [];
  bytesWritten = 0;
  /** Set when LMDB refused a write. */
  fault: WriteFault | undefined;

  constructor(tables: Tables, reader: TableReader) {
    this.#tables = tables;
    this.#reader = reader;
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    this.apply();
    return this.#reader.get(table, key);
  }

  range(table: IndexTable, options: RangeOptions): readonly (readonly [key: Uint8Array, value: Uint8Array])[] {
    this.apply();
    return this.#reader.range(table, options);
  }

  keys(table: IndexTable, options: RangeOptions): readonly Uint8Array[] {
    this.apply();
    return this.#reader.keys(table, options);
  }

  put(table: IndexTable, key: Uint8Array, value: Uint8Array): void {
    checkKey(key);
    const database = this.#tables[table];
    const [ownKey, ownValue] = [copyOf(key), copyOf(value)]; // the caller may go on using its own
    this.#writes.push(() => void database.put(ownKey, ownValue));
    this.bytesWritten += key.length + value.length;
  }

  delete(table: IndexTable, key: Uint8Array): void {
    checkKey(key);
    const database = this.#tables[table];
    const ownKey = copyOf(key);
    this.#writes.push(() => void database.remove(ownKey));
  }

  apply(): void {
    const writes = this.#writes;
    this.#writes = [];
    try {
      for (const write of writes) write();
    } catch (error) {
      this.fault = new WriteFault('The database refused a write', { cause: error });
      throw this.fault;
    }
  }
}

function checkKey(key: Uint8Array): void {
  assert(key.length > 0 && key.length <= keyBytesMax, `A key has 1 to ${keyBytesMax} bytes, not ${key.length}`);
}

function toRange({ from, to, limit, reverse = false }: RangeOptions): LmdbRangeOptions {
  const low = from.length > 0 ? from : undefined; // LMDB knows no empty key; without one it starts at the first
  const [start, end] = reverse ? [to, low] : [low, to];
  return {
    ...(start !== undefined && { start }),
    ...(end !== undefined && { end }),
    ...(limit !== undefined && { limit }),
    ...(reverse && { reverse, exclusiveStart: true, inclusiveEnd: true }),
  };
}
