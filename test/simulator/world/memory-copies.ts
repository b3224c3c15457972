/**
 * Copies of an index in memory, as src/io/lmdb-copies.ts keeps them: one that was not finished is gone after a crash,
 * one that was being finished is there or not.
 */
import type { IndexCopies } from '../../../src/core/storage.js';
import type { DiskWorld } from './disk-world.js';
import type { MemoryIndex } from './memory-index.js';

interface Copy {
  readonly index: MemoryIndex;
  state: 'unfinished' | 'being-finished' | 'finished';
}

const rowBytes = 100;
/** An index takes its time, and not the same on every disk. */
const longestCopyMs = 500;

export class MemoryCopies {
  readonly #copies = new Map<string, Copy>();
  /** Copying is held back until it is resolved. */
  gate: Promise<void> | undefined;

  /** Of finished copies. */
  get names(): readonly string[] {
    return [...this.#copies].flatMap(([name, { state }]) => (state === 'finished' ? [name] : [])).sort();
  }

  open(source: MemoryIndex, world: DiskWorld): IndexCopies {
    const openCopy = (index: MemoryIndex) => index.open(world, { takeFault: () => undefined, skips: {} });
    return {
      list: async () => this.names,
      sizeOfNext: async () => sizeOf(source),
      make: async (name) => {
        await pause(world, world.fraction() * longestCopyMs);
        await this.gate;
        const index = source.copy();
        this.#copies.set(name, { index, state: 'unfinished' });
        await pause(world);
        return openCopy(index);
      },
      finish: async (name) => {
        const copy = this.#copies.get(name);
        if (copy === undefined) throw new Error(`There is no copy ${name}`);
        copy.state = 'being-finished';
        await pause(world);
        copy.state = 'finished';
      },
      open: async (name) => {
        await pause(world);
        const copy = this.#copies.get(name);
        return copy?.state === 'finished' ? openCopy(copy.index) : undefined;
      },
      sizeOf: async (name) => {
        const copy = this.#copies.get(name);
        return copy === undefined ? 0 : sizeOf(copy.index);
      },
      remove: async (name) => {
        await pause(world);
        this.#copies.delete(name);
      },
    };
  }

  onCrash(fraction: () => number): void {
    for (const [name, copy] of this.#copies) {
      if (copy.state === 'being-finished' && fraction() < 0.5) copy.state = 'finished';
      if (copy.state !== 'finished') this.#copies.delete(name);
    }
  }

  wipe(): void {
    this.#copies.clear();
  }
}

function sizeOf(index: MemoryIndex): number {
  return index.durable.keys('entries', { from: new Uint8Array(0) }).length * rowBytes;
}

/** As long as a sync takes, or longer; for ever when the process has died meanwhile. */
function pause(world: DiskWorld, moreMs = 0): Promise<void> {
  const delayMs = world.syncMs() + moreMs;
  return new Promise((resolve) => world.after(delayMs, () => (world.isDead() ? undefined : resolve())));
}
