/**
 * Holds the simulator's storage to the contracts, so that what a simulation shows is true of the real one.
 */
import type { DiskWorld } from '../simulator/world/disk-world.js';
import { MemoryDisk } from '../simulator/world/memory-disk.js';
import { SimProcess, World } from '../simulator/world/virtual-clock.js';
import { byteStoreContract } from './byte-store-contract.js';
import { type CrashHarness, crashContract } from './crash-contract.js';
import { type Report, runScript } from './crash-script.js';
import { indexCopiesContract } from './index-copies-contract.js';
import { indexStoreContract } from './index-store-contract.js';
import { Seeded } from './seeded.js';
import { smallFilesContract } from './small-files-contract.js';

const chance = new Seeded(1);
const world = {
  after: (_delayMs: number, onEnd: () => void) => void setImmediate(onEnd),
  syncMs: () => 1,
  fraction: () => chance.below(1000) / 1000,
  wallMs: () => 0,
  nowMs: () => 0,
  isDead: () => false,
};

indexStoreContract('Memory', async () => {
  const disk = new MemoryDisk();
  return { open: async () => disk.openIndex(world), dispose: async () => undefined };
});

indexCopiesContract('Memory', async () => {
  const disk = new MemoryDisk();
  return {
    open: async () => ({ index: disk.openIndex(world), copies: disk.openCopies(world) }),
    restart: async () => disk.crash(world.fraction, { isPowerCut: false, nowMs: 0 }),
    dispose: async () => undefined,
  };
});

byteStoreContract('Memory', async () => {
  const disk = new MemoryDisk();
  return { open: async () => disk.openBytes(world), dispose: async () => undefined };
});

smallFilesContract('Memory', async () => {
  const disk = new MemoryDisk();
  return { open: async () => disk.openSmallFiles(world), dispose: async () => undefined };
});

async function makeSimulatedHarness(seed: number): Promise<CrashHarness> {
  const simulated = new World(seed);
  const disk = new MemoryDisk();
  const fraction = (): number => simulated.chance.between(0, 1);
  const crash = (process: SimProcess, isPowerCut: boolean): void => {
    process.die();
    disk.crash(fraction, { isPowerCut, nowMs: simulated.nowMs });
  };
  const diskWorldOf = (process: SimProcess): DiskWorld => ({
    after: (delayMs, onEnd) => void simulated.schedule(delayMs, onEnd, { process }),
    syncMs: () => simulated.chance.between(0.3, 20),
    fraction,
    wallMs: () => simulated.nowMs,
    nowMs: () => simulated.nowMs,
    isDead: () => process.isDead,
  });
  const start = (name: string): SimProcess =>
    new SimProcess(simulated, {
      name,
      onFailed: (error) => {
        throw error;
      },
    });
  const storesOf = async (process: SimProcess) => {
    const at = diskWorldOf(process);
    const folder = disk.openFolder(at);
    const found = await folder.openIndex();
    if (found.state === 'lost') await folder.setAsideIndex();
    const index = found.state === 'open' ? found.index : await folder.createIndex();
    return { index, bytes: disk.openBytes(at), files: folder.files };
  };
  let looking = start('looking');
  return {
    async runAndCrash(script) {
      const process = start('working');
      const stores = await simulated.until(storesOf(process));
      const reports: Report[] = [];
      void runScript(stores, script, (report) => reports.push(report));
      await simulated.runFor(simulated.chance.between(0, 300));
      crash(process, simulated.chance.isLikely(0.6));
      return reports;
    },
    async open() {
      looking = start('looking');
      const { index, bytes, files } = await simulated.until(storesOf(looking));
      // Whoever waits for an answer must let time pass.
      return {
        index,
        bytes: { ...bytes, read: (id, range) => simulated.until(bytes.read(id, range)) },
        files: { ...files, read: (name) => simulated.until(files.read(name)) },
      };
    },
    async close() {
      crash(looking, false);
    },
    cutPower: () => crash(looking, true),
    dispose: async () => undefined,
  };
}

const seeds = Array.from({ length: 60 }, (_, at) => at + 1);
crashContract('Simulated storage', { makeHarness: makeSimulatedHarness, seeds, rounds: 12 });
