import { describe, expect, it } from 'vitest';
import { blockSums } from '../../../src/core/checksum.js';
import { Copies } from '../../../src/peer/copies.js';
import { keyOfSegment, toEntry } from '../../../src/peer/entry.js';
import { deepComplaints } from '../../simulator/checks/deep-check.js';
import { bucket, Scenario } from '../../simulator/scenario.js';
import { MemoryDisk } from '../../simulator/world/memory-disk.js';
import type { SimHost } from '../../simulator/world/sim-host.js';
import { promptWorld } from '../prompt-world.js';

const megabyte = 1024 * 1024;
const names = Array.from({ length: 10 }, (_, at) => `name-${at}`);
const quarantineMs = 20_000;
const strayAgeMs = 2 * 3_600_000;

/** Of ten files with two segments each the backup has lost its index, and does not run. */
async function withLostIndex(): Promise<{ scenario: Scenario; loser: SimHost; files: readonly string[] }> {
  const scenario = await Scenario.start({ slots: 1, quarantineMs });
  for (const name of names) {
    await scenario.put(name, new Uint8Array(2 * megabyte).fill(name.charCodeAt(5)), { segmentBytes: megabyte });
  }
  await scenario.put('small', 'in the index');
  const [loser] = scenario.backupsOf('small');
  if (loser === undefined) throw new Error('A slot with two copies has a backup');
  loser.crash({ isHost: true });
  await scenario.world.runUntil(() => scenario.recordOf('small').inSync.length === 1, 3000);
  loser.disk.loseIndex();
  return { scenario, loser, files: filesOf(loser) };
}

/** What nobody wants is swept once it is this old. */
function agePast({ cluster }: Scenario, ageMs: number): void {
  for (const host of [cluster.master, ...cluster.peers]) host.wallAheadMs += ageMs;
}

const filesOf = ({ disk }: SimHost): readonly string[] => [...disk.files.keys()].sort();

async function copiedBytes({ world, client }: Scenario): Promise<number> {
  await world.runFor(3000);
  const events = await world.until(client.events({}));
  const made = events.filter(({ kind }) => kind === 'copies-made').map(({ data }) => Number(data.copiedBytes));
  return made.reduce((sum, bytes) => sum + bytes, 0);
}

describe('files of a lost index', () => {
  it('S7: are adopted: the store is whole again and next to nothing was sent', async () => {
    const { scenario, loser, files } = await withLostIndex();
    loser.start();
    await scenario.cluster.untilWhole();
    expect(await copiedBytes(scenario)).toBeLessThan(1000);
    expect(filesOf(loser)).toEqual(files);
    expect(deepComplaints(scenario.cluster)).toEqual([]);
    scenario.primaryOf('small').crash();
    expect(await scenario.get('small')).toBe('in the index');
    expect(await scenario.get('name-3')).toBe('3'.repeat(2 * megabyte));
  });

  it('S5: are read first: one with a flipped bit is copied, and goes only after the quarantine', async () => {
    const { scenario, loser, files } = await withLostIndex();
    const [rotten = ''] = files;
    loser.disk.rotFile(rotten, 100_000);
    loser.start();
    await scenario.cluster.untilWhole();
    expect(await copiedBytes(scenario)).toBeGreaterThan(megabyte);
    expect(await copiedBytes(scenario)).toBeLessThan(1.1 * megabyte);
    expect(filesOf(loser)).toHaveLength(files.length + 1);
    expect(deepComplaints(scenario.cluster)).toEqual([]);
    // Not even the bad one before the quarantine.
    agePast(scenario, strayAgeMs);
    await scenario.world.runFor(quarantineMs / 2);
    expect(filesOf(loser)).toContain(rotten);
    await scenario.world.runFor(quarantineMs);
    expect(filesOf(loser)).not.toContain(rotten);
    expect(filesOf(loser)).toHaveLength(files.length);
    expect(deepComplaints(scenario.cluster)).toEqual([]);
  });

  it('S7: are of use also after a crash in the middle', async () => {
    const { scenario, loser, files } = await withLostIndex();
    const { cluster, world } = scenario;
    cluster.points.arm({ point: 'settled', skip: 12, act: (host) => host.crash({ isHost: true }) });
    loser.start();
    await world.runUntil(() => !loser.isRunning, 20_000);
    loser.start();
    await cluster.untilWhole();
    expect(await copiedBytes(scenario)).toBeLessThan(1000);
    expect(filesOf(loser)).toEqual(files);
    expect(deepComplaints(cluster)).toEqual([]);
  });

  it('S4: are not adopted for what was replaced or deleted meanwhile, and go after the quarantine', async () => {
    const { scenario, loser, files } = await withLostIndex();
    const { cluster, world, client } = scenario;
    await world.until(client.delete('name-0'));
    await scenario.put('name-1', 'replaced');
    loser.start();
    await cluster.untilWhole();
    expect(await scenario.get('name-0')).toBeUndefined();
    expect(filesOf(loser)).toEqual(files);
    agePast(scenario, strayAgeMs);
    await world.runFor(quarantineMs + 3000);
    // The second segments stay until their uploads are swept.
    expect(filesOf(loser)).toHaveLength(files.length - 2);
    expect(deepComplaints(cluster)).toEqual([]);
  });
});

describe('a file that is adopted', () => {
  const uploadId = new Uint8Array(16).fill(1);
  const bytes = new Uint8Array(100_000).fill(65);
  const sums = blockSums(bytes);
  const body = { bucket, name: 'a', uploadId, index: 1, storedAtMs: 0 };
  const entry = toEntry(keyOfSegment(uploadId, 1), 'segment', { epoch: 1, counter: 1 }, body);

  /** A file whose writer was killed before its syncs. */
  async function unsynced(): Promise<{ disk: MemoryDisk; copies: Copies; file: string }> {
    const disk = new MemoryDisk();
    disk.skips.fileSync = true;
    disk.skips.folderSync = true;
    const random = { bytes: (count: number) => new Uint8Array(count).fill(2), fraction: () => 0 };
    const copies = new Copies(disk.openBytes(promptWorld), random);
    const placed = await copies.stage(entry, bytes, sums);
    copies.release(placed);
    disk.skips.fileSync = false;
    disk.skips.folderSync = false;
    return { disk, copies, file: placed.where === 'file' ? placed.fileId : '' };
  }

  it('S1: is made durable first, for its writer perhaps died before it was', async () => {
    const { disk, copies, file } = await unsynced();
    expect(await copies.adopt(entry, file, sums)).toEqual({ where: 'file', fileId: file, size: bytes.length });
    disk.crash(() => 0.3, { isPowerCut: true, nowMs: 1 });
    expect(disk.files.get(file)?.bytes).toHaveLength(4096 + bytes.length);
  });

  it('S7: stays where it was when no entry comes to name it', async () => {
    const { disk, copies, file } = await unsynced();
    const placed = await copies.adopt(entry, file, sums);
    if (placed !== undefined) await copies.discard(placed);
    expect(disk.files.has(file)).toBe(true);
    expect(copies.isStaged(file)).toBe(false);
  });

  it('S5: has the header, the bytes and the checksums that its primary knows', async () => {
    const { copies, file } = await unsynced();
    const other = { ...entry, body: toEntry(entry.key, 'segment', entry.version, { ...body, index: 2 }).body };
    expect(await copies.adopt(other, file, sums)).toBeUndefined();
    expect(await copies.adopt(entry, file, blockSums(new Uint8Array(100_000).fill(66)))).toBeUndefined();
    expect(await copies.adopt(entry, 'f'.repeat(32), sums)).toBeUndefined();
  });
});
