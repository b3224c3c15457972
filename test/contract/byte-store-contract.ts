/**
 * What every ByteStore does, real or simulated: compared with a map of contents through random operations.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ByteStore, FileId } from '../../src/core/storage.js';
import { Seeded } from './seeded.js';

export interface ByteHarness {
  /** The store of a folder that was empty at first; the same content when called again. */
  open(): Promise<ByteStore>;
  dispose(): Promise<void>;
}

function randomId(chance: Seeded): FileId {
  return Buffer.from(chance.bytes(16)).toString('hex');
}

async function listAll(store: ByteStore, pageSize: number): Promise<FileId[]> {
  const ids: FileId[] = [];
  for (;;) {
    const page = await store.list(ids.at(-1), pageSize);
    if (page.length === 0) return ids;
    expect(page.length).toBeLessThanOrEqual(pageSize);
    ids.push(...page.map(({ id }) => id));
  }
}

interface Opened {
  harness: ByteHarness;
  store: ByteStore;
}

const header = new Uint8Array(4096).fill(1);

export function byteStoreContract(name: string, makeHarness: () => Promise<ByteHarness>): void {
  describe(`${name} as a ByteStore`, () => {
    const at = {} as Opened;

    beforeEach(async () => {
      at.harness = await makeHarness();
      at.store = await at.harness.open();
    });

    afterEach(() => at.harness.dispose());

    keepsContents(at);
    answersForFiles(at);
    listsFiles(at);
  });
}

function keepsContents(at: Opened): void {
  it.each([1, 2, 3])('does what a map of contents does (seed %i)', async (seed) => {
    const chance = new Seeded(seed);
    const contents = new Map<FileId, Uint8Array>();
    for (let round = 0; round < 40; round++) {
      const made = Array.from({ length: chance.below(5) }, () => {
        const bytes = new Uint8Array(chance.pick([0, 1, 4095, 70_000, 300_000])).fill(chance.below(256));
        return { id: randomId(chance), header: chance.bytes(chance.pick([0, 8, 64])), bytes };
      });
      await Promise.all(made.map(({ id, header, bytes }) => at.store.create(id, header, bytes)));
      for (const { id, header, bytes } of made) contents.set(id, new Uint8Array(Buffer.concat([header, bytes])));
      const id = contents.size > 0 ? chance.pick([...contents.keys()]) : randomId(chance);
      const range = { offset: chance.below(100_000), length: chance.below(200_000) };
      const expected = contents.get(id)?.subarray(range.offset, range.offset + range.length);
      const found = await at.store.read(id, range);
      expect(found?.length).toBe(expected?.length);
      expect(Buffer.compare(found ?? header, expected ?? header)).toBe(0);
      expect(await at.store.sizeOf(id)).toBe(contents.get(id)?.length);
      if (chance.below(3) === 0) {
        await at.store.remove(id);
        contents.delete(id);
        expect(await at.store.read(id, range)).toBeUndefined();
      }
      if (chance.below(10) === 0) at.store = await at.harness.open();
    }
    const ids = [...contents.keys()].sort();
    for (const pageSize of [1, 7, 1000]) expect(await listAll(at.store, pageSize)).toEqual(ids);
  });
}

function answersForFiles(at: Opened): void {
  it('answers what is not there with undefined, and removes it without complaint', async () => {
    const id = 'f'.repeat(32);
    expect(await at.store.read(id, { offset: 0, length: 10 })).toBeUndefined();
    expect(await at.store.sizeOf(id)).toBeUndefined();
    await at.store.remove(id);
    expect(await at.store.list(undefined, 10)).toEqual([]);
  });

  it('never overwrites a file', async () => {
    const id = '0'.repeat(32);
    await at.store.create(id, header, new Uint8Array([1]));
    await expect(at.store.create(id, header, new Uint8Array([2]))).rejects.toThrow(/never reused/);
    expect((await at.store.read(id, { offset: header.length, length: 9 }))?.[0]).toBe(1);
  });

  it('syncs a file that is there, and refuses to when there is none', async () => {
    const id = 'cd'.repeat(16);
    await at.store.create(id, header, new Uint8Array(10));
    await at.store.sync(id);
    await at.store.remove(id);
    await expect(at.store.sync(id)).rejects.toMatchObject({ code: 'integrity' });
  });

  it('hands out bytes of which a slice is a copy', async () => {
    await at.store.create('ab'.repeat(16), header, new Uint8Array(10).fill(7));
    expect((await at.store.read('ab'.repeat(16), { offset: 0, length: 5000 }))?.constructor).toBe(Uint8Array);
  });

  it('answers reads past the end with what there is', async () => {
    const id = '1'.repeat(32);
    await at.store.create(id, header, new Uint8Array(10));
    expect((await at.store.read(id, { offset: 4090, length: 100 }))?.length).toBe(16);
    expect((await at.store.read(id, { offset: 9999, length: 100 }))?.length).toBe(0);
  });

  it('knows the space of its disk', async () => {
    const { freeBytes, totalBytes } = await at.store.space();
    expect(freeBytes).toBeGreaterThan(0);
    expect(totalBytes).toBeGreaterThanOrEqual(freeBytes);
  });
}

function listsFiles(at: Opened): void {
  it('lists files removed and made during the walk at most once, and the others exactly once', async () => {
    const chance = new Seeded(9);
    const ids = Array.from({ length: 40 }, () => randomId(chance)).sort();
    for (const id of ids) await at.store.create(id, new Uint8Array(0), new Uint8Array(1));
    const seen: FileId[] = [];
    const removed = new Set<FileId>();
    for (;;) {
      const page = await at.store.list(seen.at(-1), 3);
      if (page.length === 0) break;
      seen.push(...page.map(({ id }) => id));
      const victim = chance.pick(ids);
      removed.add(victim);
      await at.store.remove(victim);
      await at.store.create(randomId(chance), new Uint8Array(0), new Uint8Array(1));
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect([...seen].sort()).toEqual(seen);
    expect(ids.filter((id) => !removed.has(id)).every((id) => seen.includes(id))).toBe(true);
  });
}
