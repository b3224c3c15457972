/**
 * The simulated disk: what a power cut takes, what a killed process leaves, and the faults it can be asked for.
 */
import { describe, expect, it } from 'vitest';
import { StorageFailure } from '../../../src/core/errors.js';
import type { DiskWorld } from '../../simulator/world/disk-world.js';
import { MemoryDisk, type SkippedSteps } from '../../simulator/world/memory-disk.js';
import { SimProcess, World } from '../../simulator/world/virtual-clock.js';

const id = 'a'.repeat(32);
const other = `a${'b'.repeat(31)}`;
const header = new Uint8Array(4096);
const bytes = new Uint8Array(20_000).fill(7);
const key = Buffer.from('key');

class Machine {
  readonly world: World;
  readonly disk = new MemoryDisk();
  process: SimProcess;

  constructor(seed = 1, skips: SkippedSteps = {}) {
    this.world = new World(seed);
    Object.assign(this.disk.skips, skips);
    this.process = this.#start();
  }

  get at(): DiskWorld {
    const { world, process } = this;
    return {
      after: (delayMs, onEnd) => void world.schedule(delayMs, onEnd, { process }),
      syncMs: () => world.chance.between(1, 5),
      fraction: () => world.chance.between(0, 1),
      wallMs: () => world.nowMs,
      nowMs: () => world.nowMs,
      isDead: () => process.isDead,
    };
  }

  crash(isPowerCut: boolean): void {
    this.process.die();
    this.disk.crash(() => this.world.chance.between(0, 1), { isPowerCut, nowMs: this.world.nowMs });
    this.process = this.#start();
  }

  #start(): SimProcess {
    return new SimProcess(this.world, { name: 'p', onFailed: () => undefined });
  }
}

/** In how many of many seeds something was so. */
async function countSeeds(skips: SkippedSteps, isSo: (machine: Machine) => Promise<boolean>): Promise<number> {
  let count = 0;
  for (let seed = 1; seed <= 100; seed++) if (await isSo(new Machine(seed, skips))) count++;
  return count;
}

async function losesFile(machine: Machine): Promise<boolean> {
  await machine.world.until(machine.disk.openBytes(machine.at).create(id, header, bytes));
  machine.crash(true);
  return machine.disk.files.get(id)?.bytes.length !== header.length + bytes.length;
}

async function tearsFile(machine: Machine): Promise<boolean> {
  await machine.world.until(machine.disk.openBytes(machine.at).create(id, header, bytes));
  machine.crash(true);
  const stored = machine.disk.files.get(id)?.bytes;
  return stored !== undefined && Buffer.compare(stored, Buffer.concat([header, bytes])) !== 0;
}

async function losesCommit(machine: Machine): Promise<boolean> {
  const index = machine.disk.openIndex(machine.at);
  await machine.world.until(index.transact((transaction) => transaction.put('meta', key, key)));
  machine.crash(true);
  return machine.disk.index.durable.get('meta', key) === undefined;
}

async function losesSmallFile(machine: Machine): Promise<boolean> {
  await machine.world.until(machine.disk.openSmallFiles(machine.at).replace('map', bytes));
  machine.crash(true);
  const found = await machine.world.until(machine.disk.openSmallFiles(machine.at).read('map'));
  return found === undefined || Buffer.compare(found, bytes) !== 0;
}

describe('a power cut', () => {
  it.each([
    ['a file', losesFile],
    ['a commit of the index', losesCommit],
    ['a small file', losesSmallFile],
  ])('takes nothing of %s that was acknowledged', async (_, loses) => {
    expect(await countSeeds({}, loses)).toBe(0);
  });

  it.each([
    ['a file whose folder was not synced', { folderSync: true }, losesFile],
    ['the content of a file that was not synced', { fileSync: true }, tearsFile],
    ['a commit that was not synced', { indexSync: true }, losesCommit],
    ['a small file whose folder was not synced', { folderSync: true }, losesSmallFile],
    ['the content of a small file that was not synced', { fileSync: true }, losesSmallFile],
  ])('often takes %s', async (_, skips, loses) => {
    const count = await countSeeds(skips, loses);
    expect(count).toBeGreaterThan(20);
    expect(count).toBeLessThan(95);
  });

  it('may bring back a removed file, as long as its folder was not synced since', async () => {
    const returns = (laterSyncs: boolean) => async (machine: Machine) => {
      const store = machine.disk.openBytes(machine.at);
      await machine.world.until(store.create(id, header, bytes));
      await machine.world.until(store.remove(id));
      if (laterSyncs) await machine.world.until(store.create(other, header, bytes));
      machine.crash(true);
      return machine.disk.files.has(id);
    };
    expect(await countSeeds({}, returns(false))).toBeGreaterThan(20);
    expect(await countSeeds({}, returns(true))).toBe(0);
  });

  it('leaves of a file being made nothing, or any part of it', async () => {
    const lengths = new Set<number | undefined>();
    await countSeeds({}, async (machine) => {
      void machine.disk.openBytes(machine.at).create(id, header, bytes);
      await machine.world.runFor(machine.world.chance.between(0, 8));
      machine.crash(true);
      lengths.add(machine.disk.files.get(id)?.bytes.length);
      return true;
    });
    expect(lengths).toContain(undefined);
    expect(lengths).toContain(0);
    expect(lengths).toContain(header.length + bytes.length);
    expect(lengths.size).toBeGreaterThan(5);
  });

  it('may take back what a killed process had written and its successor has seen', async () => {
    const isTakenBack = async (machine: Machine): Promise<boolean> => {
      void machine.disk.openIndex(machine.at).transact((transaction) => transaction.put('meta', key, key));
      await machine.world.runFor(0.5);
      machine.crash(false);
      const wasSeen = machine.disk.openIndex(machine.at).get('meta', key) !== undefined;
      machine.crash(true);
      return wasSeen && machine.disk.index.durable.get('meta', key) === undefined;
    };
    expect(await countSeeds({}, isTakenBack)).toBeGreaterThan(10);
  });

  it('counts as one with unsynced data only when there was some', async () => {
    const machine = new Machine();
    await losesFile(machine);
    expect([machine.disk.unsyncedCrashes, machine.disk.lossyCrashes]).toEqual([0, 0]);
    const careless = new Machine(1, { fileSync: true, folderSync: true });
    await losesFile(careless);
    expect(careless.disk.unsyncedCrashes).toBe(1);
  });
});

describe('a killed process', () => {
  it.each([{}, { fileSync: true, folderSync: true, indexSync: true }])(
    'leaves all that it had written to the system (skipped: %j)',
    async (skips) => {
      const machine = new Machine(1, skips);
      const store = machine.disk.openBytes(machine.at);
      await machine.world.until(store.create(id, header, bytes));
      const index = machine.disk.openIndex(machine.at);
      await machine.world.until(index.transact((transaction) => transaction.put('meta', key, key)));
      machine.crash(false);
      expect(machine.disk.files.get(id)?.bytes).toHaveLength(header.length + bytes.length);
      expect(machine.disk.openIndex(machine.at).get('meta', key)).toEqual(new Uint8Array(key));
      expect(machine.disk.lossyCrashes).toBe(0);
    },
  );
});

describe('a disk', () => {
  it('that is full refuses files, and takes them again when something was removed', async () => {
    const { disk, world, at } = new Machine();
    const store = disk.openBytes(at);
    disk.freeBytes = 30_000;
    await world.until(store.create(id, header, bytes));
    await expect(world.until(store.create(other, header, bytes))).rejects.toMatchObject({ code: 'no-space' });
    expect(disk.files.has(other)).toBe(false);
    await world.until(store.remove(id));
    await world.until(store.create(other, header, bytes));
    expect((await store.space()).freeBytes).toBe(30_000 - header.length - bytes.length);
    disk.freeBytes = 10;
    await expect(world.until(disk.openSmallFiles(at).replace('map', bytes))).rejects.toMatchObject({
      code: 'no-space',
    });
  });

  it('that cannot read a file says so until it can again', async () => {
    const { disk, world, at } = new Machine();
    const store = disk.openBytes(at);
    await world.until(store.create(id, header, bytes));
    const restore = disk.makeUnreadable(id);
    await expect(world.until(store.read(id, { offset: 0, length: 1 }))).rejects.toMatchObject({ code: 'integrity' });
    restore();
    expect(await world.until(store.read(id, { offset: 0, length: 1 }))).toHaveLength(1);
  });

  it('that fails a sync is the end of the process', async () => {
    const { disk, world, at } = new Machine();
    disk.fileFault = 'failure';
    await expect(world.until(disk.openBytes(at).create(id, header, bytes))).rejects.toThrow(StorageFailure);
    disk.smallFileFault = 'failure';
    await expect(world.until(disk.openSmallFiles(at).replace('map', bytes))).rejects.toThrow(StorageFailure);
    disk.commitFault = 'failure';
    const index = disk.openIndex(at);
    const change = index.transact((transaction) => transaction.put('meta', key, key));
    await expect(world.until(change)).rejects.toThrow(StorageFailure);
    await expect(index.transact(() => undefined)).rejects.toThrow(StorageFailure);
  });

  it('whose index is lost has none until that is set aside', async () => {
    const { disk, world, at } = new Machine();
    const folder = disk.openFolder(at);
    await world.until(folder.createIndex());
    disk.loseIndex();
    expect(await world.until(folder.openIndex())).toMatchObject({ state: 'lost' });
    await world.until(folder.setAsideIndex());
    expect(await world.until(folder.openIndex())).toMatchObject({ state: 'absent' });
  });
});
