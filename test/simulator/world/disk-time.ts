/**
 * How a disk in memory takes its time, and what of it several callers share.
 */
import type { DiskWorld } from './memory-disk.js';
import type { CachedFolder } from './memory-files.js';

/** One sync of a folder serves everyone who asked before it began, as src/io/folder-sync.ts has it. */
export class SharedSync {
  readonly #world: DiskWorld;
  readonly #folder: CachedFolder;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(world: DiskWorld, folder: CachedFolder) {
    this.#world = world;
    this.#folder = folder;
  }

  run(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      return this.#start();
    });
    return this.#next;
  }

  #start(): Promise<void> {
    const onSynced = this.#folder.beginSync();
    this.#running = pause(this.#world, this.#world.syncMs()).then(() => {
      if (this.#world.isDead()) return never<void>();
      this.#running = undefined;
      onSynced();
      return undefined;
    });
    return this.#running;
  }
}

export function pause(world: DiskWorld, delayMs: number): Promise<void> {
  return new Promise((resolve) => world.after(delayMs, resolve));
}

/** What a dead process waits for. */
export function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}
