/**
 * What every IndexCopies does, real or simulated.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { IndexCopies, IndexReader, IndexStore } from '../../src/core/storage.js';

export interface CopiesHarness {
  /** The index of a folder that was empty at first, and its copies; after a `restart` the same ones again. */
  open(): Promise<{ index: IndexStore; copies: IndexCopies }>;
  /** As after a kill of the process; everything that is open was closed. */
  restart(): Promise<void>;
  dispose(): Promise<void>;
}

interface Opened {
  readonly index: IndexStore;
  readonly copies: IndexCopies;
}

const key = (number: number): Uint8Array => Uint8Array.of(number >> 8, number & 255);
const numberIn = (reader: IndexReader, table: 'meta' | 'names'): number => {
  const value = reader.get(table, key(1));
  return value === undefined ? 0 : ((value[0] ?? 0) << 8) | (value[1] ?? 0);
};

/** Each transaction writes its number in two tables, and as a row of its own. */
function write(index: IndexStore, number: number): Promise<void> {
  return index.transact((transaction) => {
    transaction.put('meta', key(1), key(number));
    transaction.put('entries', key(number), new Uint8Array(3000));
    transaction.put('names', key(1), key(number));
  });
}

async function copyWhileWritesGoOn({ index, copies }: Opened): Promise<void> {
  for (let number = 1; number <= 50; number++) await write(index, number);
  let isOver = false;
  let last = 50;
  const writing = (async () => {
    while (!isOver) await write(index, ++last);
  })();
  for (let round = 0; round < 5; round++) {
    const before = numberIn(index, 'meta');
    const copy = await copies.make(`copy-${round}`);
    const at = numberIn(copy, 'meta');
    expect(at).toBeGreaterThanOrEqual(before);
    expect(at).toBeLessThanOrEqual(last);
    expect(numberIn(copy, 'names')).toBe(at);
    expect(copy.keys('entries', { from: new Uint8Array(0) })).toHaveLength(at);
    await copy.close();
  }
  isOver = true;
  await writing;
}

export function indexCopiesContract(name: string, makeHarness: () => Promise<CopiesHarness>): void {
  describe(`${name} copies an index`, () => {
    let harness: CopiesHarness;
    let opened: Opened;

    beforeEach(async () => {
      harness = await makeHarness();
      opened = await harness.open();
    });
    afterEach(async () => {
      await opened.index.close();
      await harness.dispose();
    });

    async function restart(): Promise<void> {
      await opened.index.close();
      await harness.restart();
      opened = await harness.open();
    }

    it('as it was at one moment, while writes go on', () => copyWhileWritesGoOn(opened));

    it('so that the copy goes its own way', async () => {
      await write(opened.index, 1);
      const copy = await opened.copies.make('own');
      await copy.transact((transaction) => transaction.put('meta', key(2), key(7)));
      await write(opened.index, 9);
      expect(opened.index.get('meta', key(2))).toBeUndefined();
      expect(numberIn(copy, 'meta')).toBe(1);
      await copy.close();
      await opened.copies.finish('own');
      await restart();
      const again = await opened.copies.open('own');
      expect(again?.get('meta', key(2))).toEqual(key(7));
      expect(again === undefined ? 0 : numberIn(again, 'meta')).toBe(1);
      await again?.close();
    });

    it('and only finished copies outlive a restart', async () => {
      await write(opened.index, 1);
      for (const each of ['b', 'a', 'c']) await (await opened.copies.make(each)).close();
      for (const each of ['b', 'a']) await opened.copies.finish(each);
      expect(await opened.copies.list()).toEqual(['a', 'b']);
      await restart();
      expect(await opened.copies.list()).toEqual(['a', 'b']);
      expect(await opened.copies.open('c')).toBeUndefined();
      expect(await opened.copies.sizeOf('a')).toBeGreaterThan(0);
      for (const each of ['a', 'absent']) await opened.copies.remove(each);
      await restart();
      expect(await opened.copies.list()).toEqual(['b']);
      expect(await opened.copies.sizeOf('a')).toBe(0);
    });
  });
}
