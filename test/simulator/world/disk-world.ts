/**
 * What a disk waits for: time that passes while its process lives, and syncs of folders that many share.
 */
import type { CachedFolder } from './memory-files.js';

/** The world as a disk sees it. */
export interface DiskWorld {
  /** Ends what a process waits for; never when the process has died meanwhile. */
  after(delayMs: number, onEnd: () => void): void;
  syncMs(): number;
  /** Of the bytes of a file; as everything else when absent. */
  fileSyncMs?(): number;
  /** How long a read of a file's bytes takes; a moment when absent. */
  readMs?(): number;
  /** In [0, 1). */
  fraction(): number;
  wallMs(): number;
  /** By a clock that never jumps. */
  nowMs(): number;
  /** What a dead process still does before its code stops has no effect on the disk. */
  isDead(): boolean;
}

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
