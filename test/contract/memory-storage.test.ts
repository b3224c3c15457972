/**
 * Holds the simulator's storage to the contracts, so that what a simulation shows is true of the real one.
 */
import { MemoryDisk } from '../simulator/memory-storage.js';
import { byteStoreContract } from './byte-store-contract.js';
import { indexStoreContract } from './index-store-contract.js';
import { Seeded } from './seeded.js';
import { smallFilesContract } from './small-files-contract.js';

const chance = new Seeded(1);
const world = {
  after: (_delayMs: number, onEnd: () => void) => void setImmediate(onEnd),
  syncMs: () => 1,
  fraction: () => chance.below(1000) / 1000,
  wallMs: () => 0,
};

indexStoreContract('Memory', async () => {
  const disk = new MemoryDisk();
  return { open: async () => disk.openIndex(world), dispose: async () => undefined };
});

byteStoreContract('Memory', async () => {
  const disk = new MemoryDisk();
  return { open: async () => disk.openBytes(world), dispose: async () => undefined };
});

smallFilesContract('Memory', async () => {
  const disk = new MemoryDisk();
  return { open: async () => disk.openSmallFiles(world), dispose: async () => undefined };
});
