/**
 * What a process does to its storage until it is killed in the middle: random operations that follow from a seed, each
 * reported when it begins and when the storage said that it was done.
 */
import type { ByteStore, FileId, IndexStore, IndexTable, SmallFiles } from '../../src/core/storage.js';
import { Seeded } from './seeded.js';

export interface Stores {
  readonly index: IndexStore;
  readonly bytes: ByteStore;
  readonly files: SmallFiles;
}

export type Deed = 'commit' | 'create' | 'remove' | 'replace';

/** `what`: the number of a transaction or file, or a small file's name and version. */
export interface Report {
  readonly deed: Deed;
  readonly state: 'begun' | 'done';
  readonly what: string;
}

export interface Script {
  readonly seed: number;
  /** No number from here on was used before. */
  readonly firstNumber: number;
  /** Files that are there for certain and may be removed. */
  readonly removable: readonly number[];
}

export interface ScriptWrite {
  readonly table: IndexTable;
  readonly key: Uint8Array;
  /** Undefined: deleted. */
  readonly value: Uint8Array | undefined;
}

export const smallNames = ['map', 'identity'] as const;
/** Holds the number of the last transaction. */
export const counterKey = Buffer.from('counter');

export function writesOf(number: number): ScriptWrite[] {
  const chance = new Seeded(number);
  const writes = Array.from({ length: chance.below(5) }, () => ({
    table: chance.pick(['entries', 'names'] as const),
    key: Buffer.from(`key ${chance.below(12)}`),
    value: chance.isLikely(0.3) ? undefined : new Uint8Array(chance.pick([0, 10, 3000, 9000])).fill(number),
  }));
  return [...writes, { table: 'meta', key: counterKey, value: Buffer.from(String(number)) }];
}

export function idOf(number: number): FileId {
  return Buffer.from(new Seeded(number).bytes(16)).toString('hex');
}

export function contentOf(number: number): { header: Uint8Array; bytes: Uint8Array } {
  const chance = new Seeded(number);
  return {
    header: new Uint8Array(4096).fill(number),
    bytes: new Uint8Array(chance.pick([0, 100, 5000, 70_000])).fill(number + 1),
  };
}

export function smallContentOf(what: string): Uint8Array {
  return Buffer.from(`${what} ${'x'.repeat(new Seeded(what.length + Number(what.split(' ')[1])).below(9000))}`);
}

/** Never ends by itself within any test's patience. */
export async function runScript(stores: Stores, script: Script, report: (report: Report) => void): Promise<void> {
  let number = script.firstNumber;
  const take = (): number => number++;
  const perform = async (deed: Deed, what: string, operation: () => Promise<void>): Promise<void> => {
    report({ deed, state: 'begun', what });
    await operation();
    report({ deed, state: 'done', what });
  };
  const chance = new Seeded(script.seed);
  const repeat = async (act: () => Promise<void>): Promise<never> => {
    for (;;) await act();
  };
  const removable = [...script.removable];
  const commit = (): Promise<void> => {
    const mine = take();
    return perform('commit', String(mine), () =>
      stores.index.transact((transaction) => {
        for (const { table, key, value } of writesOf(mine)) {
          if (value === undefined) transaction.delete(table, key);
          else transaction.put(table, key, value);
        }
      }),
    );
  };
  const create = async (): Promise<void> => {
    const mine = take();
    const { header, bytes } = contentOf(mine);
    await perform('create', String(mine), () => stores.bytes.create(idOf(mine), header, bytes));
    removable.push(mine);
  };
  const remove = async (): Promise<void> => {
    const victim = removable.shift();
    if (victim !== undefined) await perform('remove', String(victim), () => stores.bytes.remove(idOf(victim)));
  };
  const replace = async (): Promise<void> => {
    const what = `${chance.pick(smallNames)} ${take()}`;
    await perform('replace', what, () => stores.files.replace(what.split(' ')[0] ?? '', smallContentOf(what)));
  };
  const createAndRemove = async (): Promise<void> => {
    await create();
    if (chance.isLikely(0.4)) await remove();
  };
  const many = (count: number, act: () => Promise<void>): Promise<never>[] =>
    Array.from({ length: count }, () => repeat(act));
  await Promise.all([...many(5, commit), ...many(3, createAndRemove), ...many(2, replace)]);
}
