import { expect, it } from 'vitest';
import type { Version } from '../../../src/core/ids.js';
import { toTimedId } from '../../../src/core/ids.js';
import { keyOfName, type StoredEntry, toEntry } from '../../../src/peer/entry.js';
import { EntryIndex } from '../../../src/peer/entry-index.js';
import { idTableOf } from '../../../src/peer/index-layout.js';
import { MemoryDisk } from '../../simulator/world/memory-disk.js';
import { promptWorld } from '../prompt-world.js';

const slotCount = 1;
const file = { bucket: 'files', name: 'a' };
const key = keyOfName(file);
const atMs = 1_750_000_000_000;

function open(disk = new MemoryDisk()) {
  const world = { ...promptWorld, wallMs: () => atMs };
  const delays = { nowMs: atMs, replacedGraceMs: 1000, sweepAfterMs: 1000 };
  return { disk, index: new EntryIndex(disk.openIndex(world), slotCount, () => delays) };
}

function entry(version: Version, name = file.name): StoredEntry {
  const body = { ...file, name, deletedAtMs: version.counter };
  return { ...toEntry(keyOfName({ ...file, name }), 'tombstone', version, body), placed: { where: 'none' } };
}

function mark(fill: number) {
  const id = toTimedId({ atMs, random: new Uint8Array(10).fill(fill) });
  return { id, contentHash: new Uint8Array(8).fill(fill) };
}

const at = (epoch: number, counter: number): Version => ({ epoch, counter });
const fence = (slotEpoch: number) => ({ slot: 0, slotEpoch });

function versionOf(index: EntryIndex): Version | undefined {
  const found = index.lookup(key);
  return found.state === 'present' ? found.entry.version : undefined;
}

it('F4: a change is refused inside its transaction when the promise rose after it was asked for', async () => {
  const { index } = open();
  const [, late] = await Promise.allSettled([index.raisePromise(fence(7)), index.write(fence(6), [entry(at(6, 1))])]);
  expect(late).toMatchObject({ status: 'rejected', reason: { code: 'stale-epoch' } });
  expect(index.lookup(key).state).toBe('absent');
});

it('F4: the promise outlives the process, and every change raises it', async () => {
  const { disk, index } = open();
  await index.write(fence(6), [entry(at(6, 1))]);
  disk.crash(() => 0, { isPowerCut: true, nowMs: 0 });
  const again = open(disk).index;
  expect(again.promiseOf(0)).toBe(6);
  await expect(again.write(fence(5), [entry(at(5, 9))])).rejects.toMatchObject({ code: 'stale-epoch' });
});

it('F4: nothing is read that is not durable', async () => {
  const { index } = open();
  const write = index.write(fence(6), [entry(at(6, 1))]);
  expect(index.lookup(key).state).toBe('absent');
  await write;
  expect(versionOf(index)).toEqual(at(6, 1));
});

it('F3: an ordinary write below what is held is ignored, a tombstone too', async () => {
  const { index } = open();
  await index.write(fence(6), [entry(at(6, 2))]);
  expect(await index.write(fence(6), [entry(at(6, 1))], mark(1))).toEqual([false]);
  expect(versionOf(index)).toEqual(at(6, 2));
  expect(index.listIds(key)).toEqual([]);
});

it('F3: a copy, a drop and its ids are ignored where the key is newer than they are', async () => {
  const { index } = open();
  await index.write(fence(6), [entry(at(6, 5))], mark(1));
  expect(await index.settle(fence(6), key, at(6, 4), entry(at(6, 3)))).toBe(true);
  expect(await index.settle(fence(6), key, at(6, 4), undefined)).toBe(true);
  const drops = index.listIds(key);
  expect(await index.settleIds(fence(6), key, at(6, 4), { puts: [], drops })).toBe(true);
  expect(versionOf(index)).toEqual(at(6, 5));
  expect(index.listIds(key)).toHaveLength(1);
});

it('F2: settling replaces a newer stray by what the primary has, or drops it', async () => {
  const { index } = open();
  await index.write(fence(6), [entry(at(6, 5))]);
  await index.settle(fence(7), key, at(7, 0), entry(at(6, 3)));
  expect(versionOf(index)).toEqual(at(6, 3));
  await index.settle(fence(7), key, at(7, 0), undefined);
  expect(index.lookup(key).state).toBe('absent');
});

it('F1: request ids outlive their record and its overwriting, and count in the digests', async () => {
  const { index } = open();
  const empty = index.digests(0);
  await index.write(fence(6), [entry(at(6, 1))], mark(1));
  const withId = index.digests(0);
  await index.write(fence(6), [entry(at(6, 2))], mark(2));
  await index.remove(fence(6), key, at(6, 2));
  expect(index.listIds(key).map(({ version }) => version.counter)).toEqual([1, 2]);
  expect(Buffer.compare(index.digests(0), empty)).not.toBe(0);
  await index.settleIds(fence(6), key, at(6, 2), { puts: [], drops: index.listIds(key) });
  expect(Buffer.compare(index.digests(0), empty)).toBe(0);
  expect(Buffer.compare(withId, empty)).not.toBe(0);
});

it('F1: the id of a change goes in the step that takes the change back', async () => {
  const { index } = open();
  await index.write(fence(6), [entry(at(6, 1))], mark(1));
  await index.write(fence(6), [entry(at(6, 2))], mark(2));
  await index.settle(fence(7), key, at(7, 0), entry(at(6, 1)));
  expect(index.listIds(key).map(({ version }) => version.counter)).toEqual([1]);
  await index.settle(fence(7), key, at(7, 0), undefined);
  expect(index.listIds(key)).toEqual([]);
});

it('F1: ids are dropped a table at a time', async () => {
  const { index } = open();
  await index.write(fence(6), [entry(at(6, 1))], mark(1));
  const table = idTableOf(atMs);
  expect(await index.dropIds(fence(6), table)).toBe(0);
  expect(await index.dropIds(fence(6), table + 1)).toBe(1);
  expect(index.findId(key, mark(1).id)).toBeUndefined();
});

it('F19: a sweep removes exactly the version it was meant for', async () => {
  const { index } = open();
  await index.write(fence(6), [entry(at(6, 2))]);
  expect(await index.remove(fence(6), key, at(6, 1))).toBe(false);
  expect(await index.remove(fence(6), key, at(6, 2))).toBe(true);
});

it('F10: an unreadable entry is present with an unknown version, and its repair restores the digest', async () => {
  const { disk, index } = open();
  await index.write(fence(6), [entry(at(6, 1)), entry(at(6, 2), 'b')]);
  const digests = index.digests(0);
  disk.index.rot('entries', key);
  expect(index.lookup(key).state).toBe('damaged');
  const pages = Array.from({ length: 64 }, (_, bucket) => index.listBucket({ slot: 0, bucket }, new Uint8Array(0), 10));
  const rows = pages.flatMap((page) => page.rows);
  expect(rows.find((row) => Buffer.compare(row.key, key) === 0)?.version).toEqual(at(0, 0));
  expect(await index.replaceBytes(fence(6), entry(at(6, 1)))).toBe(true);
  expect(Buffer.compare(index.digests(0), digests)).toBe(0);
});

it('F15: a copy is forgotten only up to the slot’s promise', async () => {
  const { index } = open();
  await index.write(fence(6), [entry(at(6, 1))], mark(1));
  await index.raisePromise(fence(8));
  await expect(index.forget(fence(7), 10)).rejects.toMatchObject({ code: 'stale-epoch' });
  expect(await index.forget(fence(8), 10)).toBe(1);
  expect(index.slotsHeld()).toEqual([]);
});
