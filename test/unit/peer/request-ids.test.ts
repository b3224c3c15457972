import { expect, it } from 'vitest';
import type { SlotRecord } from '../../../src/cluster/map.js';
import { toTimedId, type Version } from '../../../src/core/ids.js';
import type { IndexReader, IndexStore, IndexTransaction, RangeOptions } from '../../../src/core/storage.js';
import { timing } from '../../../src/core/timing.js';
import { Comparison } from '../../../src/peer/comparison.js';
import type { Copies } from '../../../src/peer/copies.js';
import { keyOfName, type StoredEntry, toEntry } from '../../../src/peer/entry.js';
import { EntryIndex } from '../../../src/peer/entry-index.js';
import type { GiveWay } from '../../../src/peer/give-way.js';
import { Grants } from '../../../src/peer/grants.js';
import type { Identity } from '../../../src/peer/identity.js';
import { LedSlot } from '../../../src/peer/led-slot.js';
import type { Pace } from '../../../src/peer/pace.js';
import type { Repair } from '../../../src/peer/repair.js';
import { Replica, type ReplicaParts } from '../../../src/peer/replica.js';
import type { ReplicaLink } from '../../../src/peer/replica-link.js';
import { countIds, idDigestsOf } from '../../../src/peer/request-ids.js';
import { MemoryDisk } from '../../simulator/world/memory-disk.js';
import { promptWorld } from '../prompt-world.js';

const key = keyOfName({ bucket: 'files', name: 'a' });
const atMs = 1_750_000_190_000;
const fence = { slot: 0, slotEpoch: 5 };
const version = (counter: number): Version => ({ epoch: 5, counter });

/** An index that counts the rows of `ids` it reads. */
function open() {
  const reads = { rows: 0 };
  const count = <T>(table: string, rows: readonly T[]): readonly T[] => {
    if (table === 'ids') reads.rows += rows.length;
    return rows;
  };
  const counting = (reader: IndexReader): IndexReader => ({
    get: (table, rowKey) => reader.get(table, rowKey),
    range: (table, options: RangeOptions) => count(table, reader.range(table, options)),
    keys: (table, options: RangeOptions) => count(table, reader.keys(table, options)),
  });
  const world = { ...promptWorld, wallMs: () => atMs };
  const disk = new MemoryDisk();
  const store = disk.openIndex(world);
  const counted: IndexStore = {
    ...counting(store),
    transact: (body) =>
      store.transact((transaction: IndexTransaction) =>
        body({
          ...counting(transaction),
          put: (table, rowKey, value) => transaction.put(table, rowKey, value),
          delete: (table, rowKey) => transaction.delete(table, rowKey),
        }),
      ),
    close: () => store.close(),
  };
  const delays = { nowMs: atMs, replacedGraceMs: 1000, sweepAfterMs: 1000 };
  return { disk, store, reads, index: new EntryIndex(counted, 1, () => delays) };
}

function entry(counter: number): StoredEntry {
  const body = { bucket: 'files', name: 'a', deletedAtMs: counter };
  return { ...toEntry(key, 'tombstone', version(counter), body), placed: { where: 'none' } };
}

/** The request that made a version: one every 20 ms, so that the first few hundred stand in an older table. */
function mark(counter: number, more: { atMs?: number } = {}) {
  const random = new Uint8Array(10);
  new DataView(random.buffer).setUint32(0, counter);
  const id = toTimedId({ atMs: more.atMs ?? atMs + counter * 20, random });
  return { id, contentHash: new Uint8Array(8).fill(counter) };
}

async function write(index: EntryIndex, from: number, to: number): Promise<void> {
  const counters = Array.from({ length: to - from }, (_, at) => from + at);
  await Promise.all(counters.map((counter) => index.write(fence, [entry(counter)], mark(counter))));
}

/** A primary that leads slot 0, joined to a replica by nothing but calls; both hold `shared` versions of the key. */
async function pair(shared: number) {
  const [primary, other] = [open(), open()];
  for (const { index } of [primary, other]) await write(index, 1, 1 + shared);
  const clock = { monotonicMs: () => 0, wallMs: () => atMs, after: () => ({ cancel: () => undefined }) };
  const copies = {
    stage: async () => ({ where: 'none' }),
    readVerified: async () => ({ bytes: new Uint8Array(0), sums: new Uint8Array(0) }),
    release: () => undefined,
    orDiscard: (_placed: unknown, step: unknown) => step,
    discard: async () => undefined,
  } as unknown as Copies;
  const replica = new Replica({
    me: {} as Identity,
    index: other.index,
    copies,
    grants: new Grants(clock),
    maps: {},
    admission: { admitSpace: () => undefined },
    salvage: { isOpen: false },
  } as unknown as ReplicaParts);
  const asked: string[] = [];
  const answers = {
    settle: replica.settle,
    'settle-ids': replica.settleIds,
    digests: replica.digests,
    'list-bucket': replica.listBucket,
    'id-digests': replica.idDigests,
    'list-ids': replica.listIds,
  } as unknown as Record<string, (request: object) => Promise<{ header?: object; payload?: Uint8Array }>>;
  const request = async (name: string, header: () => object, { payload }: { payload?: Uint8Array }) => {
    asked.push(name);
    const answer = await answers[name]?.call(replica, { header: header(), payload });
    return { header: answer?.header ?? {}, payload: answer?.payload };
  };
  const record: SlotRecord = { slotEpoch: 5, term: 5, primary: 'p1', inSync: ['p1', 'p2'], joining: [] };
  const linkTo = (): ReplicaLink => ({ request }) as unknown as ReplicaLink;
  const led = new LedSlot({ me: 'p1', nowMs: () => 0, linkTo, onNewerRecordSomewhere: () => undefined }, 0, record);
  for (let given = 0; given < shared + 2000; given++) led.nextVersion();
  const repair = {} as Repair;
  const pace = {} as Pace;
  const giveWay = {} as GiveWay;
  const noteDamage = async (): Promise<void> => undefined;
  const comparison = new Comparison({
    index: primary.index,
    copies,
    repair,
    pace,
    giveWay,
    minInSync: () => 1,
    noteDamage,
  });
  /** Resolves to how many keys were settled. */
  const compare = async (): Promise<number> => (await comparison.settleSlot(led, 'p2')).keys;
  const expectEqual = (): void => {
    expect(Buffer.compare(other.index.digests(0), primary.index.digests(0))).toBe(0);
    expect(other.index.listIds(key)).toEqual(primary.index.listIds(key));
  };
  const forget = (): void => {
    asked.length = 0;
    primary.reads.rows = 0;
    other.reads.rows = 0;
  };
  forget();
  return { primary, other, asked, compare, expectEqual, forget };
}

it('the digests of a key’s ids say what its ids are, whatever is put, put again, dropped and damaged', async () => {
  const { disk, store, index } = open();
  const check = (count: number): void => {
    expect(idDigestsOf(store, key)).toEqual(countIds(store, key));
    expect(index.listIds(key)).toHaveLength(count);
  };
  await write(index, 1, 21);
  check(20);
  const [first, second, ...others] = index.listIds(key);
  if (first === undefined || second === undefined) throw new Error('There are 20');
  await index.settleIds(fence, key, version(99), { puts: [first, { ...second, version: version(19) }], drops: [] });
  check(20);
  await index.settleIds(fence, key, version(99), { puts: [], drops: [first] });
  check(19);
  const [damaged] = store.keys('ids', { from: new Uint8Array(0), limit: 1 });
  if (damaged === undefined) throw new Error('There are 19');
  disk.index.rot('ids', damaged);
  await index.settleIds(fence, key, version(99), { puts: [], drops: [second] });
  check(18);
  disk.index.rot('id-digests', key);
  await index.settleIds(fence, key, version(99), { puts: [first], drops: others.slice(0, 1) });
  check(18);
  await index.settleIds(fence, key, version(99), { puts: [], drops: index.listIds(key) });
  check(0);
  expect(store.keys('id-digests', { from: new Uint8Array(0) })).toEqual([]);
});

it('F1: an unreadable entry that is taken back takes its ids out of the digest with it', async () => {
  const { disk, index } = open();
  const empty = index.digests(0);
  await write(index, 1, 4);
  disk.index.rot('entries', key);
  await index.settle(fence, key, version(99), undefined);
  expect(index.listIds(key)).toEqual([]);
  expect(Buffer.compare(index.digests(0), empty)).toBe(0);
});

it('F1: ids of changes above an unreadable entry’s repair go with it', async () => {
  const { disk, index } = open();
  await write(index, 1, 4);
  disk.index.rot('entries', key);
  await index.replaceBytes(fence, entry(2));
  expect(index.listIds(key).map((row) => row.version.counter)).toEqual([1, 2]);
});

it('a write above what is held reads no ids of the key', async () => {
  const { index, reads } = open();
  await write(index, 1, 400);
  reads.rows = 0;
  await index.settle(fence, key, version(500), entry(500), mark(500));
  expect(reads.rows).toBe(0);
  expect(index.listIds(key)).toHaveLength(400);
});

it('a comparison of a name with thousands of request ids costs as much as what differs', async () => {
  const { primary, other, asked, compare, expectEqual, forget } = await pair(3000);
  expect(await compare()).toBe(0);
  expect([primary.reads.rows, other.reads.rows]).toEqual([0, 0]);
  await write(primary.index, 3001, 3101);
  forget();
  expect(await compare()).toBe(1);
  expect(asked).toEqual(['digests', 'list-bucket', 'settle', 'settle-ids', 'id-digests']);
  expect(primary.reads.rows).toBeLessThan(600);
  expect(other.reads.rows).toBe(0);
  expectEqual();
});

it('F1: ids that differ without a newer version are found, table by table', async () => {
  const { primary, other, asked, compare, expectEqual, forget } = await pair(3000);
  const [stray] = primary.index.listIds(key);
  if (stray === undefined) throw new Error('There are 3000');
  const late = mark(2999, { atMs: atMs - timing.idTableMs });
  await primary.index.settleIds(fence, key, version(3000), { puts: [{ ...late, version: version(2999) }], drops: [] });
  await other.index.settleIds(fence, key, version(3000), { puts: [], drops: [stray] });
  const strange = mark(2998, { atMs: atMs + timing.idTableMs });
  await other.index.settleIds(fence, key, version(3000), { puts: [{ ...strange, version: version(2998) }], drops: [] });
  forget();
  expect(await compare()).toBe(1);
  expectEqual();
  expect(asked.filter((name) => name === 'settle')).toEqual([]);
  expect(asked.filter((name) => name === 'settle-ids')).toHaveLength(3);
});

it('F2: a key of which the replica has nothing gets all its ids', async () => {
  const { primary, compare, expectEqual } = await pair(0);
  await write(primary.index, 1, 1201);
  expect(await compare()).toBe(1);
  expectEqual();
});

it('F2: a key of which the primary has nothing loses its ids', async () => {
  const { other, compare, expectEqual } = await pair(0);
  await write(other.index, 1, 1201);
  expect(await compare()).toBe(1);
  expectEqual();
  expect(other.index.listIds(key)).toEqual([]);
});

it('F1: a change that is taken back takes its id along, and keeps the others', async () => {
  const { other, compare, expectEqual } = await pair(700);
  await write(other.index, 701, 703);
  expect(await compare()).toBe(1);
  expectEqual();
  expect(other.index.listIds(key)).toHaveLength(700);
});
