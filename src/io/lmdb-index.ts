/**
 * A peer's index on LMDB (https://www.symas.com/lmdb): one environment, one named database a table.
 *
 * What a body writes is applied when it has returned, so one that throws leaves nothing behind. A commit is durable before its callers hear of it, because
 * `overlappingSync` is off: the library's default shows values before they are synced, and after a failed sync too.
 */
import { constants } from 'node:fs';
import { access, lstat, rename, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { assert } from '../core/assert.js';
import { DfsError, StorageFailure } from '../core/errors.js';
import {
  type IndexStore,
  type IndexTable,
  type IndexTransaction,
  indexTables,
  type RangeOptions,
} from '../core/storage.js';
import { syncFolder } from './folder-sync.js';
import { GroupCommit, type Ran, WriteFault } from './group-commit.js';
import { checkIndexFile } from './lmdb-check.js';
import { isAbsence, toStorageFailure, toWriteError } from './system-errors.js';

export interface IndexOptions {
  /** With less than this free, a failed commit means a full disk: LMDB reports that as an I/O error. */
  readonly noSpaceBelowBytes: number;
  /** Read the whole index before it is opened: an earlier read met damage. */
  readonly isSuspect?: boolean;
}

/** What was found in an index's place. A lost index is never replaced silently: its store is gone with it. */
export type IndexFound =
  | { readonly state: 'open'; readonly index: IndexStore }
  | { readonly state: 'absent' }
  | { readonly state: 'lost'; readonly reason: string };

type Table = Database<Buffer, Uint8Array>;
type Tables = Readonly<Record<IndexTable, Table>>;

const keyBytesMax = 1978; // LMDB's for pages of 4 KiB: two keys must fit a page
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
  const fault = checkIndexFile(path, { isSuspect: options.isSuspect ?? false });
  if (fault !== undefined) return { state: 'lost', reason: fault };
  // Holds reader slots of processes that ended; nobody else has this folder, so it starts afresh.
  await rm(lockPathOf(path), { force: true });
  try {
    return { state: 'open', index: openEnvironment(path, options) };
  } catch (error) {
    return { state: 'lost', reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Puts a lost index out of the way, so that a new one can be made; the last one put aside is kept for inspection. */
export async function setAsideIndex(path: string): Promise<void> {
  try {
    await rm(`${path}.lost`, { force: true, recursive: true });
    await rename(path, `${path}.lost`);
    await syncFolder(dirname(path));
  } catch (error) {
    throw toStorageFailure(error, `Putting aside the lost index ${path}`);
  }
}

function lockPathOf(path: string): string {
  return `${path}-lock`;
}

function openEnvironment(path: string, options: IndexOptions): LmdbIndex {
  const binary = { encoding: 'binary', keyEncoding: 'binary', cache: false } as const;
  const root: RootDatabase<Buffer, Uint8Array> = open({
    path,
    noSubdir: true,
    overlappingSync: false,
    mapSize: mapBytes,
    maxDbs: indexTables.length + 8,
    ...binary,
  });
  const opened = indexTables.map((table) => [table, root.openDB<Buffer, Uint8Array>(table, binary)] as const);
  return new LmdbIndex(path, root, Object.fromEntries(opened) as Record<IndexTable, Table>, options);
}

class LmdbIndex implements IndexStore {
  readonly #path: string;
  readonly #root: RootDatabase<Buffer, Uint8Array>;
  readonly #tables: Tables;
  readonly #noSpaceBelowBytes: number;
  readonly #commits: GroupCommit;
  #isClosed = false;

  constructor(path: string, root: RootDatabase<Buffer, Uint8Array>, tables: Tables, options: IndexOptions) {
    this.#path = path;
    this.#root = root;
    this.#tables = tables;
    this.#noSpaceBelowBytes = options.noSpaceBelowBytes;
    this.#commits = new GroupCommit({
      commit: (bodies) => root.transaction(bodies),
      judge: (fault) => this.#judge(fault),
    });
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    return readValue(this.#openTable(table), key);
  }

  range(table: IndexTable, options: RangeOptions): readonly (readonly [key: Uint8Array, value: Uint8Array])[] {
    return readRows(this.#openTable(table), options);
  }

  keys(table: IndexTable, options: RangeOptions): readonly Uint8Array[] {
    return readKeys(this.#openTable(table), options);
  }

  transact<T>(body: (transaction: IndexTransaction) => T): Promise<T> {
    return this.#commits.submit(() => runBody(this.#tables, body));
  }

  async close(): Promise<void> {
    await this.#commits.close();
    this.#isClosed = true;
    await this.#root.close();
  }

  #openTable(table: IndexTable): Table {
    assert(!this.#isClosed, 'A closed index is not read');
    return this.#tables[table];
  }

  /** A failed commit had no effect. Whether to go on depends on why it failed. */
  async #judge(fault: unknown): Promise<DfsError | StorageFailure> {
    try {
      const cause = await innermost(fault);
      const { bavail, bsize } = await statfs(dirname(this.#path));
      if (bavail * bsize >= this.#noSpaceBelowBytes) {
        return toStorageFailure(cause, `Committing to the index at ${this.#path}`);
      }
      return new DfsError('no-space', `The index at ${this.#path} has no room to grow`, { cause });
    } catch (error) {
      return toStorageFailure(error, `Asking for the space at ${this.#path}`);
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

function runBody<T>(tables: Tables, body: (transaction: IndexTransaction) => T): Ran<T> {
  const transaction = new BodyTransaction(tables);
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
  #writes: (() => void)[] = [];
  bytesWritten = 0;
  /** Set when LMDB refused a write. */
  fault: WriteFault | undefined;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    this.apply();
    return readValue(this.#tables[table], key);
  }

  range(table: IndexTable, options: RangeOptions): readonly (readonly [key: Uint8Array, value: Uint8Array])[] {
    this.apply();
    return readRows(this.#tables[table], options);
  }

  keys(table: IndexTable, options: RangeOptions): readonly Uint8Array[] {
    this.apply();
    return readKeys(this.#tables[table], options);
  }

  put(table: IndexTable, key: Uint8Array, value: Uint8Array): void {
    checkKey(key);
    const database = this.#tables[table];
    const [ownKey, ownValue] = [key.slice(), value.slice()]; // the caller may go on using its own
    this.#writes.push(() => void database.put(ownKey, ownValue as Buffer));
    this.bytesWritten += key.length + value.length;
  }

  delete(table: IndexTable, key: Uint8Array): void {
    checkKey(key);
    const database = this.#tables[table];
    const ownKey = key.slice();
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

function readValue(table: Table, key: Uint8Array): Uint8Array | undefined {
  checkKey(key);
  try {
    return table.getBinary(key);
  } catch (error) {
    throw toStorageFailure(error, 'Reading the index');
  }
}

function readRows(table: Table, options: RangeOptions): (readonly [Uint8Array, Uint8Array])[] {
  const rows: (readonly [Uint8Array, Uint8Array])[] = [];
  const bytesMax = options.bytesMax ?? Infinity;
  let bytes = 0;
  try {
    for (const { key, value } of table.getRange(toRange(options))) {
      rows.push([key, value]);
      bytes += key.length + value.length;
      if (bytes >= bytesMax) break;
    }
  } catch (error) {
    throw toStorageFailure(error, 'Reading the index');
  }
  return rows;
}

function readKeys(table: Table, options: RangeOptions): Uint8Array[] {
  const keys: Uint8Array[] = [];
  const bytesMax = options.bytesMax ?? Infinity;
  let bytes = 0;
  try {
    for (const key of table.getKeys(toRange(options))) {
      keys.push(key);
      bytes += key.length;
      if (bytes >= bytesMax) break;
    }
  } catch (error) {
    throw toStorageFailure(error, 'Reading the index');
  }
  return keys;
}

function toRange({ from, to, limit }: RangeOptions): { start?: Uint8Array; end?: Uint8Array; limit?: number } {
  return {
    ...(from.length > 0 && { start: from }), // LMDB knows no empty key; without one it starts at the first
    ...(to !== undefined && { end: to }),
    ...(limit !== undefined && { limit }),
  };
}
