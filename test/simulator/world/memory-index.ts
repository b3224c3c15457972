/**
 * An index in memory as LMDB with group commit behaves: bodies run in order, those given while a commit is under way
 * share the next one, and nobody outside sees a write before its commit is durable.
 *
 * A commit that a crash interrupts is there or not, as a whole. When only the process was killed, the system may have
 * taken the commit though the disk has not: the next process sees it, and a power cut before the next commit may take
 * it back, but never without those after it.
 */
import { Bug } from '../../../src/core/assert.js';
import { DfsError, StorageFailure } from '../../../src/core/errors.js';
import {
  type IndexReader,
  type IndexStore,
  type IndexTable,
  type IndexTransaction,
  indexTables,
  type RangeOptions,
} from '../../../src/core/storage.js';
import type { DiskWorld } from './disk-world.js';
import type { DiskFault, SkippedSteps } from './memory-disk.js';
import { type CrashReport, writeBackMs } from './memory-files.js';
import { Rows } from './sorted-rows.js';

/** One change of a row. */
export interface IndexWrite {
  readonly table: IndexTable;
  readonly key: Uint8Array;
  /** Undefined: deleted. */
  readonly value: Uint8Array | undefined;
}

interface Body {
  run(transaction: IndexTransaction): unknown;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

type Tables = Readonly<Record<IndexTable, Rows>>;

/** A commit that readers see and the disk may not have; `undo` in the order in which it is to be applied. */
interface Unsynced {
  readonly writes: readonly IndexWrite[];
  readonly undo: readonly IndexWrite[];
  readonly atMs: number;
}

const emptyTables = (): Tables =>
  Object.fromEntries(indexTables.map((table) => [table, new Rows()])) as unknown as Tables;

export class MemoryIndex {
  /** As readers outside transactions see it. */
  #durable: Tables = emptyTables();
  /** With the writes of the commit under way. */
  #working: Tables = emptyTables();
  #durableReader = new TableReader(this.#durable);
  #workingReader = new TableReader(this.#working);
  #underWay: { readonly writes: IndexWrite[]; readonly undo: IndexWrite[]; readonly atMs: number } | undefined;
  #unsynced: Unsynced[] = [];
  #openings = 0;
  /** A value of it was bad for a while. */
  hasRotted = false;
  /** Hears what is on the disk from now on. */
  onDurable: (writes: readonly IndexWrite[]) => void = () => undefined;

  open(world: DiskWorld, disk: { takeFault(): DiskFault | undefined; readonly skips: SkippedSteps }): IndexStore {
    const opening = ++this.#openings;
    const { takeFault, skips } = disk;
    return new OpenedIndex(this, { world, takeFault, skips, isCurrent: () => opening === this.#openings });
  }

  get durable(): IndexReader {
    return this.#durableReader;
  }

  /** What readers see now, as an index of its own. */
  copy(): MemoryIndex {
    const copy = new MemoryIndex();
    for (const table of indexTables) {
      copy.#durable[table].replaceBy(this.#durable[table]);
      copy.#working[table].replaceBy(this.#durable[table]);
    }
    return copy;
  }

  /** For the bodies of the commit under way. */
  get working(): IndexReader {
    return this.#workingReader;
  }

  begin(atMs: number): void {
    this.#underWay = { writes: [], undo: [], atMs };
  }

  /** Applies a body's writes for the bodies after it. */
  write(writes: readonly IndexWrite[]): void {
    for (const write of writes) {
      this.#underWay?.undo.push({ ...write, value: this.#working[write.table].get(write.key) });
      this.#underWay?.writes.push(write);
    }
    apply(this.#working, writes);
  }

  /** Shows readers what is under way. Not `isSynced`: the disk may not have it. */
  commit(isSynced: boolean): void {
    const underWay = this.#underWay;
    this.#underWay = undefined;
    if (underWay === undefined) return;
    const { writes, undo, atMs } = underWay;
    apply(this.#durable, writes);
    if (writes.length > 0) this.#unsynced.push({ writes, undo: undo.toReversed(), atMs });
    if (isSynced) this.#onSynced(this.#unsynced.splice(0));
  }

  #onSynced(commits: readonly Unsynced[]): void {
    for (const { writes } of commits) this.onDurable(writes);
  }

  abandon(): void {
    apply(this.#working, this.#underWay?.undo.toReversed() ?? []);
    this.#underWay = undefined;
  }

  onProcessDied(fraction: () => number): CrashReport {
    this.#openings++;
    const atRisk = (this.#underWay?.writes.length ?? 0) > 0;
    const isLost = atRisk && fraction() < 0.5;
    if (isLost) this.abandon();
    else this.commit(false);
    return { atRisk, isLost };
  }

  /** Of the commits that the disk may not have, the one under way included, it has some first ones. */
  onPowerCut(fraction: () => number, nowMs: number): CrashReport {
    this.#openings++;
    this.commit(false);
    const commits = this.#unsynced.splice(0);
    const oldCount = commits.filter(({ atMs }) => nowMs - atMs >= writeBackMs).length;
    const kept = oldCount + Math.floor(fraction() * (commits.length - oldCount + 1));
    for (const { undo } of commits.slice(kept).toReversed()) {
      apply(this.#durable, undo);
      apply(this.#working, undo);
    }
    this.#onSynced(commits.slice(0, kept));
    return { atRisk: commits.length > oldCount, isLost: kept < commits.length };
  }

  wipe(): void {
    this.#openings++;
    this.#durable = emptyTables();
    this.#working = emptyTables();
    this.#durableReader = new TableReader(this.#durable);
    this.#workingReader = new TableReader(this.#working);
    this.#underWay = undefined;
    this.#unsynced = [];
  }

  /** Flips a bit of a stored value. Returns what makes it good again, if the same value is still there. */
  rot(table: IndexTable, key: Uint8Array): () => void {
    const before = this.#durable[table].get(key);
    const rotten = before === undefined ? undefined : new Uint8Array(before);
    if (before === undefined || rotten === undefined || rotten.length === 0) return () => undefined;
    this.hasRotted = true;
    rotten[rotten.length - 1] = (rotten.at(-1) ?? 0) ^ 1;
    const replace = (from: Uint8Array, to: Uint8Array): void => {
      for (const tables of [this.#durable, this.#working]) {
        if (tables[table].get(key) === from) tables[table].put(key, to);
      }
    };
    replace(before, rotten);
    return () => replace(rotten, before);
  }
}

function apply(tables: Tables, writes: readonly IndexWrite[]): void {
  for (const { table, key, value } of writes) {
    if (value === undefined) tables[table].delete(key);
    else tables[table].put(key, value);
  }
}

interface Opening {
  readonly world: DiskWorld;
  readonly skips: SkippedSteps;
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
    if (!this.#opening.isCurrent()) return new Promise(() => undefined);
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
    const { world, skips } = this.#opening;
    this.#index.begin(world.nowMs());
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
    if (!skips.indexSync) await new Promise<void>((resolve) => world.after(world.syncMs(), resolve));
    if (!this.#opening.isCurrent()) await new Promise(() => undefined);
    const fault = done.length > 0 ? this.#opening.takeFault() : undefined;
    if (fault === undefined) {
      this.#index.commit(!skips.indexSync);
      for (const resolve of done) resolve();
    } else this.#fail(fault, failed);
  }

  #fail(fault: DiskFault, callers: readonly ((error: unknown) => void)[]): void {
    if (fault === 'no-space') {
      this.#index.abandon();
      for (const reject of callers) reject(new DfsError('no-space', 'The index has no room to grow'));
      return;
    }
    // Nobody knows whether a commit whose sync failed is on the disk: it stays under way until the process has ended.
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
    const value = this.#rows(table).get(key);
    return value === undefined ? undefined : new Uint8Array(value);
  }

  range(table: IndexTable, { bytesMax = Infinity, ...options }: RangeOptions): ReturnType<IndexReader['range']> {
    const rows: (readonly [Uint8Array, Uint8Array])[] = [];
    let bytes = 0;
    for (const { key, value } of this.#rows(table).range(options)) {
      rows.push([new Uint8Array(key), new Uint8Array(value)]);
      bytes += key.length + value.length;
      if (bytes >= bytesMax) break;
    }
    return rows;
  }

  keys(table: IndexTable, options: RangeOptions): readonly Uint8Array[] {
    return this.#rows(table)
      .range(options)
      .map(({ key }) => new Uint8Array(key));
  }

  #rows(table: IndexTable): Rows {
    const rows = this.#tables[table];
    if (rows === undefined) throw new Bug(`There is no table ${table}`);
    return rows;
  }
}

/** One body's view: its writes wait until it returns or reads again. */
class Transaction implements IndexTransaction {
  readonly #index: MemoryIndex;
  #writes: IndexWrite[] = [];

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
    this.#writes.push({ table, key: new Uint8Array(key), value: new Uint8Array(value) });
  }

  delete(table: IndexTable, key: Uint8Array): void {
    this.#writes.push({ table, key: new Uint8Array(key), value: undefined });
  }

  apply(): void {
    if (this.#writes.length === 0) return;
    this.#index.write(this.#writes);
    this.#writes = [];
  }

  #reader(): IndexReader {
    this.apply();
    return this.#index.working;
  }
}
