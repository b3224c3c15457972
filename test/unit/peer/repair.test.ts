import { expect, it } from 'vitest';
import type { SlotRecord } from '../../../src/cluster/map.js';
import { blockSums } from '../../../src/core/checksum.js';
import { Copies } from '../../../src/peer/copies.js';
import { keyOfSegment, type Placed, toEntry } from '../../../src/peer/entry.js';
import { Repair, type RepairParts } from '../../../src/peer/repair.js';
import { deepComplaints } from '../../simulator/checks/deep-check.js';
import { Scenario } from '../../simulator/scenario.js';
import { MemoryDisk } from '../../simulator/world/memory-disk.js';
import { RecordingLog } from '../manual-clock.js';
import { promptWorld } from '../prompt-world.js';

const replacedGraceMs = 20_000;

it('S7: a bad copy lies there until a good one was read back, and for a while after', async () => {
  const scenario = await Scenario.start({ replacedGraceMs });
  const { cluster, world } = scenario;
  await scenario.put('a', 'A'.repeat(100_000));
  const { disk } = scenario.primaryOf('a');
  const [bad = ''] = disk.files.keys();
  disk.rotFile(bad, 50_000);
  expect(await scenario.get('a')).toBe('A'.repeat(100_000));
  expect(await world.runUntil(() => disk.files.size === 2, 5000)).toBe(true);
  await world.runFor(replacedGraceMs / 2);
  expect(disk.files.has(bad)).toBe(true);
  await world.runFor(replacedGraceMs);
  expect([...disk.files.keys()]).not.toContain(bad);
  expect(deepComplaints(cluster)).toEqual([]);
});

it('S7: what a repair has written does not take the place of the bad copy unless it can be read back', async () => {
  const disk = new MemoryDisk();
  const store = disk.openBytes(promptWorld);
  const random = { bytes: (count: number) => new Uint8Array(count).fill(disk.files.size + 1), fraction: () => 0 };
  const copies = new Copies(store, random);
  const uploadId = new Uint8Array(16);
  const body = { bucket: 'files', name: 'a', uploadId, index: 1, storedAtMs: 0 };
  const entry = toEntry(keyOfSegment(uploadId, 1), 'segment', { epoch: 1, counter: 1 }, body);
  const bytes = new Uint8Array(100_000).fill(65);
  const sums = blockSums(bytes);
  const placed = await copies.stage(entry, bytes, sums);
  copies.release(placed);
  const [bad = ''] = disk.files.keys();
  disk.rotFile(bad, 50_000);
  const replaced: Placed[] = [];
  let isDiskGood = false;
  const repair = new Repair({
    log: new RecordingLog(),
    index: {
      slotOf: () => 0,
      promiseOf: () => 1,
      lookup: () => ({ state: 'present', entry: { ...entry, placed } }),
      replaceBytes: async (_fence: unknown, stored: { placed: Placed }) => replaced.push(stored.placed) > 0,
    },
    copies: new Copies(
      {
        ...store,
        create: async (id, header, content) => {
          await store.create(id, header, content);
          if (!isDiskGood) disk.rotFile(id, 60_000);
        },
      },
      random,
    ),
    calls: { ask: async () => ({ header: { entry: { ...entry, sums } }, payload: bytes }) },
    onDamage: () => undefined,
    me: () => 'p1',
    currentMap: () => ({
      peers: [{ id: 'p2' }],
      slots: [{ inSync: ['p1', 'p2'], joining: [] } as Partial<SlotRecord>],
    }),
  } as unknown as RepairParts);
  await expect(repair.replica(entry.key)).rejects.toMatchObject({ code: 'integrity' });
  expect(replaced).toEqual([]);
  expect([...disk.files.keys()]).toEqual([bad]);
  isDiskGood = true;
  await repair.replica(entry.key);
  expect(replaced).toHaveLength(1);
  expect([...disk.files.keys()]).toContain(bad);
});
