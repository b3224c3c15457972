/**
 * An index in memory as LMDB with group commit behaves: bodies run in order, those given while a commit is under way
 * share the next one, and nobody outside sees a write before its commit is durable.
 */
import { Bug } from '../../src/core/assert.js';
import { DfsError, StorageFailure } from '../../src/core/errors.js';
import {
  type IndexReader,
  type IndexStore,
  type IndexTable,
  type IndexTransaction,
  indexTables,
  type RangeOptions,
} from '../../src/core/storage.js';
import type { DiskFault, DiskWorld } from './memory-storage.js';

interface Write {
  readonly table: IndexTable;
  readonly key: string;
  /** Undefined: deleted. */
  readonly value: Uint8Array | undefined;
}

interface Body {
  run(transaction: IndexTransaction): unknown;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

/** Rows in order of their keys. */
class Rows {
  readonly values = new Map<string, Uint8Array>();
  #keys: string[] | undefined = [];

  put(key: string, value: Uint8Array): void {
    if (!this.values.has(key)) this.#keys = undefined;
    this.values.set(key, value);
  }

  delete(key: string): void {
    if (this.values.delete(key)) this.#keys = undefined;
  }

  /** Sorted; computed again only after a key came or went. */
  keys(): readonly string[] {
    this.#keys ??= [...this.values.keys()].sort();
    return this.#keys;
  }

  copy(): Rows {
    const copy = new Rows();
    for (const [key, value] of this.values) copy.put(key, value);
    return copy;
  }
}

type Tables = ReadonlyMap<IndexTable, Rows>;

const emptyTables = (): Tables => new Map(indexTables.map((table) => [table, new Rows()]));
const copyTables = (tables: Tables): Tables => new Map([...tables].map(([table, rows]) => [table, rows.copy()]));

export class MemoryIndex {
  #durable: Tables = emptyTables();
  /** With the writes of the commit under way. */
  #working: Tables = emptyTables();
  #underWay: Write[] | undefined;
  #openings = 0;

  open(world: DiskWorld, takeFault: () => DiskFault | undefined): IndexStore {
    const opening = ++this.#openings;
    return new OpenedIndex(this, { world, takeFault, isCurrent: () => opening === this.#openings });
  }

  get durable(): IndexReader {
    return new TableReader(this.#durable);
  }

  /** Applies a body's writes for the bodies after it. */
  get working(): Tables {
    return this.#working;
  }

  begin(): void {
    this.#underWay = [];
  }

  write(writes: readonly Write[]): void {
    apply(this.#working, writes);
    this.#underWay?.push(...writes);
  }

  commit(): void {
    apply(this.#durable, this.#underWay ?? []);
    this.#underWay = undefined;
  }

  abandon(): void {
    if ((this.#underWay?.length ?? 0) > 0) this.#working = copyTables(this.#durable);
    this.#underWay = undefined;
  }

  /** What was under way is durable, or gone. */
  crash(fraction: () => number): void {
    this.#openings++;
    if (this.#underWay === undefined) return;
    if (fraction() < 0.5) this.commit();
    else this.abandon();
  }

  wipe(): void {
    this.#openings++;
    this.#durable = emptyTables();
    this.#working = emptyTables();
    this.#underWay = undefined;
  }

  /** Flips a bit of a stored value. Returns what makes it good again, if the same value is still there. */
  rot(table: IndexTable, key: Uint8Array): () => void {
    const name = toText(key);
    const before = this.#durable.get(table)?.values.get(name);
    const rotten = before === undefined ? undefined : new Uint8Array(before);
    if (before === undefined || rotten === undefined || rotten.length === 0) return () => undefined;
    rotten[rotten.length - 1] = (rotten.at(-1) ?? 0) ^ 1;
    const replace = (from: Uint8Array, to: Uint8Array): void => {
      for (const tables of [this.#durable, this.#working]) {
        const rows = tables.get(table);
        if (rows?.values.get(name) === from) rows.put(name, to);
      }
    };
    replace(before, rotten);
    return () => replace(rotten, before);
  }
}

function apply(tables: Tables, writes: readonly Write[]): void {
  for (const { table, key, value } of writes) {
    const rows = tables.get(table);
    if (value === undefined) rows?.delete(key);
    else rows?.put(key, value);
  }
}

interface Opening {
  readonly world: DiskWorld;
  takeFault(): DiskFault | undefined;
  isCurrent(): boolean;
}

class OpenedIndex implements IndexStore {
  readonly #index: MemoryIndex;
  readonly #opening: Opening;
  #waiting: Body[] = [];
  #committing: Promise<void> | undefined;
  #failure: StorageFailure | undefined;

  constructor(index: MemoryIndex, opening: Opening) {
    this.#index = index;
    this.#opening = opening;
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    return this.#index.durable.get(table, key);
  }

  range(table: IndexTable, options: RangeOptions): ReturnType<IndexReader['range']> {
    return this.#index.durable.range(table, options);
  }

  keys(table: IndexTable, options: RangeOptions): readonly Uint8Array[] {
    return this.#index.durable.keys(table, options);
  }

  transact<T>(body: (transaction: IndexTransaction) => T): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ run: body, resolve: resolve as (result: unknown) => void, reject });
      this.#committing ??= this.#commitAll();
    });
  }

  async close(): Promise<void> {
    await this.#committing;
  }

  async #commitAll(): Promise<void> {
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#commitGroup();
    this.#committing = undefined;
  }

  async #commitGroup(): Promise<void> {
    // Its process has died meanwhile: nothing ever ends.
    if (!this.#opening.isCurrent()) await new Promise(() => undefined);
    this.#index.begin();
    const done: (() => void)[] = [];
    const failed: ((error: unknown) => void)[] = [];
    for (const body of this.#waiting.splice(0)) {
      const transaction = new Transaction(this.#index);
      try {
        const result = body.run(transaction);
        transaction.apply();
        done.push(() => body.resolve(result));
        failed.push((error) => body.reject(error));
      } catch (error) {
        body.reject(error);
      }
    }
    await new Promise<void>((resolve) => this.#opening.world.after(this.#opening.world.syncMs(), resolve));
    const fault = done.length > 0 ? this.#opening.takeFault() : undefined;
    if (fault === undefined) {
      this.#index.commit();
      for (const resolve of done) resolve();
    } else this.#fail(fault, failed);
  }

  #fail(fault: DiskFault, callers: readonly ((error: unknown) => void)[]): void {
    if (fault === 'no-space') {
      this.#index.abandon();
      for (const reject of callers) reject(new DfsError('no-space', 'The index has no room to grow'));
      return;
    }
    // Nobody knows whether a commit whose sync failed is on the disk.
    if (this.#opening.world.fraction() < 0.5) this.#index.commit();
    else this.#index.abandon();
    this.#failure = new StorageFailure('The index could not be synced');
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
    for (const reject of callers) reject(this.#failure);
  }
}

class TableReader implements IndexReader {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    const value = this.#rows(table).values.get(toText(key));
    return value === undefined ? undefined : new Uint8Array(value);
  }

  range(table: IndexTable, options: RangeOptions): ReturnType<IndexReader['range']> {
    const rows: (readonly [Uint8Array, Uint8Array])[] = [];
    let bytes = 0;
    for (const key of this.#keysIn(table, options)) {
      const value = this.#rows(table).values.get(key) ?? new Uint8Array(0);
      rows.push([toBytes(key), new Uint8Array(value)]);
      bytes += key.length + value.length;
      if (bytes >= (options.bytesMax ?? Infinity)) break;
    }
    return rows;
  }

  keys(table: IndexTable, options: RangeOptions): readonly Uint8Array[] {
    return this.#keysIn(table, options).map(toBytes);
  }

  #keysIn(table: IndexTable, { from, to, limit }: RangeOptions): readonly string[] {
    const keys = this.#rows(table).keys();
    const start = firstAtOrAfter(keys, toText(from));
    const end = to === undefined ? keys.length : firstAtOrAfter(keys, toText(to));
    return keys.slice(start, Math.max(start, Math.min(end, start + (limit ?? Infinity))));
  }

  #rows(table: IndexTable): Rows {
    const rows = this.#tables.get(table);
    if (rows === undefined) throw new Bug(`There is no table ${table}`);
    return rows;
  }
}

function firstAtOrAfter(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** One body's view: its writes wait until it returns or reads again. */
class Transaction implements IndexTransaction {
  readonly #index: MemoryIndex;
  #writes: Write[] = [];

  constructor(index: MemoryIndex) {
    this.#index = index;
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    return this.#reader().get(table, key);
  }

  range(table: IndexTable, options: RangeOptions): ReturnType<IndexReader['range']> {
    return this.#reader().range(table, options);
  }

  keys(table: IndexTable, options: RangeOptions): readonly Uint8Array[] {
    return this.#reader().keys(table, options);
  }

  put(table: IndexTable, key: Uint8Array, value: Uint8Array): void {
    this.#writes.push({ table, key: toText(key), value: new Uint8Array(value) });
  }

  delete(table: IndexTable, key: Uint8Array): void {
    this.#writes.push({ table, key: toText(key), value: undefined });
  }

  apply(): void {
    this.#index.write(this.#writes);
    this.#writes = [];
  }

  #reader(): TableReader {
    this.apply();
    return new TableReader(this.#index.working);
  }
}

/** Strings of latin1 compare as their bytes do. */
function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

function toBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}
