/**
 * What every IndexStore does, real or simulated: compared with a plain sorted list through random operations.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type IndexReader,
  type IndexStore,
  type IndexTable,
  indexTables,
  type RangeOptions,
} from '../../src/core/storage.js';
import { Seeded } from './seeded.js';

export interface IndexHarness {
  /** The store of a folder that was empty at first; the same content again after a close. */
  open(): Promise<IndexStore>;
  dispose(): Promise<void>;
}

type Row = readonly [key: Uint8Array, value: Uint8Array];

/** The reference: rows in order, nothing clever. */
class Model {
  readonly #tables = new Map<IndexTable, Map<string, Row>>(indexTables.map((table) => [table, new Map()]));

  put(table: IndexTable, key: Uint8Array, value: Uint8Array): void {
    this.#rowsOf(table).set(Buffer.from(key).toString('hex'), [key, value]);
  }

  delete(table: IndexTable, key: Uint8Array): void {
    this.#rowsOf(table).delete(Buffer.from(key).toString('hex'));
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    return this.#rowsOf(table).get(Buffer.from(key).toString('hex'))?.[1];
  }

  range(table: IndexTable, { from, to, limit, bytesMax, reverse }: RangeOptions): Row[] {
    const inside = [...this.#rowsOf(table).values()]
      .filter(([key]) => Buffer.compare(key, from) >= 0 && (to === undefined || Buffer.compare(key, to) < 0))
      .sort(([a], [b]) => Buffer.compare(a, b) * (reverse === true ? -1 : 1))
      .slice(0, limit);
    let bytes = 0;
    const end = inside.findIndex(([key, value]) => {
      bytes += key.length + value.length;
      return bytes >= (bytesMax ?? Infinity);
    });
    return end < 0 ? inside : inside.slice(0, end + 1);
  }

  copy(): Model {
    const copy = new Model();
    for (const [table, rows] of this.#tables) for (const [key, value] of rows.values()) copy.put(table, key, value);
    return copy;
  }

  #rowsOf(table: IndexTable): Map<string, Row> {
    const rows = this.#tables.get(table);
    if (rows === undefined) throw new Error(`No table ${table}`);
    return rows;
  }
}

const everything: RangeOptions = { from: new Uint8Array(0) };

function same(found: readonly Row[], expected: readonly Row[]): boolean {
  return (
    found.length === expected.length &&
    found.every(([key, value], at) => {
      const row = expected[at];
      return row !== undefined && Buffer.compare(key, row[0]) === 0 && Buffer.compare(value, row[1]) === 0;
    })
  );
}

/** Few keys, so that they meet; lengths up to the longest an entry has; bytes at the edges of the order. */
function randomKey(chance: Seeded): Uint8Array {
  const length = chance.pick([1, 2, 3, 8, 9, 300, 1113]);
  const key = new Uint8Array(length).fill(chance.pick([0, 1, 127, 255]));
  key[length - 1] = chance.pick([0, 1, 2, 128, 254, 255]);
  return key;
}

function randomValue(chance: Seeded): Uint8Array {
  const length = chance.pick([0, 1, 40, 500, 2000, 4096, 9000, 32_768, 70_000]);
  return new Uint8Array(length).fill(chance.below(256));
}

function randomRange(chance: Seeded): RangeOptions {
  const [a, b] = [randomKey(chance), randomKey(chance)].sort(Buffer.compare) as [Uint8Array, Uint8Array];
  return {
    from: chance.below(4) === 0 ? new Uint8Array(0) : a,
    ...(chance.below(2) === 0 && { to: b }),
    ...(chance.below(2) === 0 && { limit: 1 + chance.below(12) }),
    ...(chance.below(3) === 0 && { bytesMax: chance.below(50_000) }),
    ...(chance.below(3) === 0 && { reverse: true }),
  };
}

const tables: readonly IndexTable[] = ['entries', 'names', 'meta'];

function expectSame(store: IndexReader, model: Model, chance: Seeded): void {
  const table = chance.pick(tables);
  const key = randomKey(chance);
  const expected = model.get(table, key);
  const found = store.get(table, key);
  expect(found?.length).toBe(expected?.length);
  expect(Buffer.compare(found ?? key, expected ?? key)).toBe(0);
  const options = randomRange(chance);
  const rows = model.range(table, options);
  expect(same(store.range(table, options), rows), `range of ${table}`).toBe(true);
  const { bytesMax: _, ...unbounded } = options;
  const keys = model.range(table, unbounded).map(([key]) => Buffer.from(key).toString('hex'));
  expect(store.keys(table, unbounded).map((key) => Buffer.from(key).toString('hex'))).toEqual(keys);
}

interface Opened {
  harness: IndexHarness;
  store: IndexStore;
}

const key = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

export function indexStoreContract(name: string, makeHarness: () => Promise<IndexHarness>): void {
  describe(`${name} as an IndexStore`, () => {
    const at = {} as Opened;

    beforeEach(async () => {
      at.harness = await makeHarness();
      at.store = await at.harness.open();
    });

    afterEach(async () => {
      await at.store.close();
      await at.harness.dispose();
    });

    keepsRows(at);
    keepsOrder(at);
    keepsCallersApart(at);
  });
}

function keepsRows(at: Opened): void {
  it.each([1, 2, 3, 4, 5, 6])('does what a sorted list does, over re-openings (seed %i)', async (seed) => {
    const chance = new Seeded(seed);
    const model = new Model();
    for (let round = 0; round < 40; round++) {
      const bodies = Array.from({ length: 1 + chance.below(8) }, () => {
        const writes = Array.from({ length: chance.below(6) }, () => {
          const write = { table: chance.pick(tables), key: randomKey(chance), value: randomValue(chance) };
          return { ...write, isDelete: chance.below(3) === 0 };
        });
        return at.store.transact((transaction) => {
          for (const { table, key, value, isDelete } of writes) {
            if (isDelete) transaction.delete(table, key);
            else transaction.put(table, key, value);
            if (isDelete) model.delete(table, key);
            else model.put(table, key, value);
            if (chance.below(4) === 0) expectSame(transaction, model, chance);
          }
        });
      });
      await Promise.all(bodies);
      for (let look = 0; look < 3; look++) expectSame(at.store, model, chance);
      if (chance.below(15) === 0) {
        await at.store.close();
        at.store = await at.harness.open();
      }
    }
    for (const table of tables)
      expect(same(at.store.range(table, everything), model.range(table, everything))).toBe(true);
  });

  it('hands out values that later writes and reads leave alone, and keeps what it was given', async () => {
    const value = new Uint8Array(3000).fill(7);
    const change = at.store.transact((transaction) => {
      transaction.put('entries', key('a'), value);
      transaction.put('entries', key('b'), new Uint8Array(3000).fill(8));
      value.fill(0);
    });
    await change;
    const found = at.store.get('entries', key('a'));
    const [row] = at.store.range('entries', everything);
    await at.store.transact((transaction) => transaction.put('entries', key('a'), new Uint8Array(3000).fill(9)));
    at.store.get('entries', key('b'));
    expect(found?.every((byte) => byte === 7)).toBe(true);
    expect(row?.[1].every((byte) => byte === 7)).toBe(true);
  });

  it('hands out keys and values of which a slice is a copy, as of any Uint8Array but a Buffer', async () => {
    const row = [Buffer.from('key'), Buffer.from('value')] as const;
    const read = (reader: IndexReader): Uint8Array[] => [
      reader.get('entries', row[0]) ?? row[1],
      ...reader.range('entries', { from: row[0] }).flat(),
      ...reader.keys('entries', { from: row[0] }),
    ];
    const inside = await at.store.transact((transaction) => {
      transaction.put('entries', ...row);
      return read(transaction);
    });
    for (const bytes of [...inside, ...read(at.store)]) {
      expect(bytes.constructor).toBe(Uint8Array);
      bytes.slice(0, 1).fill(0);
      expect(bytes[0]).not.toBe(0);
    }
  });

  it('deletes what is not there without complaint', async () => {
    await at.store.transact((transaction) => transaction.delete('names', key('nothing')));
    expect(at.store.keys('names', everything)).toEqual([]);
  });
}

function keepsOrder(at: Opened): void {
  it('shows nothing outside before the transaction resolves, and all of it then', async () => {
    await at.store.transact((transaction) => transaction.put('meta', key('a'), key('old')));
    let isDone = false;
    const change = at.store.transact((transaction) => {
      transaction.put('meta', key('a'), key('new'));
      transaction.put('meta', key('b'), key('new'));
    });
    const watched = change.then(() => {
      isDone = true;
    });
    while (!isDone) {
      const [a, b] = [at.store.get('meta', key('a')), at.store.get('meta', key('b'))];
      // Either way both keys tell the same story.
      expect([a && Buffer.from(a).toString(), b && Buffer.from(b).toString()]).toBeOneOf([
        ['old', undefined],
        ['new', 'new'],
      ]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await watched;
    expect(Buffer.from(at.store.get('meta', key('b')) ?? []).toString()).toBe('new');
  });

  it('runs bodies in the order they were given, each seeing the ones before', async () => {
    const seen = await Promise.all(
      Array.from({ length: 100 }, () =>
        at.store.transact((transaction) => {
          const before = transaction.get('meta', key('counter'))?.[0] ?? 0;
          transaction.put('meta', key('counter'), new Uint8Array([before + 1]));
          return before;
        }),
      ),
    );
    expect(seen).toEqual(Array.from({ length: 100 }, (_, at) => at));
  });
}

function keepsCallersApart(at: Opened): void {
  it('fails only the caller whose body throws, and keeps nothing of what it wrote last', async () => {
    const outcomes = await Promise.allSettled([
      at.store.transact((transaction) => transaction.put('meta', key('before'), key('1'))),
      at.store.transact((transaction) => {
        transaction.put('meta', key('mine'), key('1'));
        throw new Error('decided otherwise');
      }),
      at.store.transact((transaction) => transaction.put('meta', key('after'), key('1'))),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(at.store.keys('meta', everything).map((found) => Buffer.from(found).toString())).toEqual([
      'after',
      'before',
    ]);
  });

  it('finishes what was given to it before it closes', async () => {
    const changes = Array.from({ length: 30 }, (_, number) =>
      at.store.transact((transaction) => transaction.put('meta', key(`k${number}`), key('v'))),
    );
    await at.store.close();
    await Promise.all(changes);
    at.store = await at.harness.open();
    expect(at.store.keys('meta', everything)).toHaveLength(30);
  });
}
