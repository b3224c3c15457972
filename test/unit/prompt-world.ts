/** A world in which a simulated disk does at once what it is asked. */
import type { DiskWorld } from '../simulator/world/disk-world.js';

export const promptWorld: DiskWorld = {
  after: (_delayMs, onEnd) => void setImmediate(onEnd),
  syncMs: () => 1,
  fraction: () => 0,
  wallMs: () => 0,
  nowMs: () => 0,
  isDead: () => false,
};
