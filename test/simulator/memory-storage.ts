/**
 * Disks in memory that forget what was not synced.
 *
 * A disk outlives the processes that use it. What is asked of it ends after a virtual delay; a crash before that loses
 * it or keeps it, as chance has it, but never half of a transaction and never a later one without an earlier one.
 * Faults can be asked for: a full disk, a failed sync, a flipped bit.
 */
import { DfsError, StorageFailure } from '../../src/core/errors.js';
import type { ByteStore, FileId, IndexStore, SmallFiles } from '../../src/core/storage.js';
import { MemoryIndex } from './memory-index.js';

/** The world as a disk sees it. */
export interface DiskWorld {
  /** Ends what a process waits for; never when the process has died meanwhile. */
  after(delayMs: number, onEnd: () => void): void;
  syncMs(): number;
  /** In [0, 1). */
  fraction(): number;
  wallMs(): number;
}

export type DiskFault = 'no-space' | 'failure';

const emptyDiskBytes = 100 * 2 ** 30;

export class MemoryDisk {
  totalBytes = emptyDiskBytes;
  freeBytes = emptyDiskBytes;
  /** What the next commit of the index meets. */
  commitFault: DiskFault | undefined;
  /** What the next file made meets. */
  fileFault: DiskFault | undefined;
  readonly index = new MemoryIndex();
  readonly files = new Map<FileId, { bytes: Uint8Array; modifiedAtMs: number }>();
  readonly #smallFiles = new Map<string, Uint8Array>();
  /** Files that are being made. */
  readonly #unsynced = new Map<FileId, { bytes: Uint8Array; modifiedAtMs: number }>();
  readonly #replacing = new Map<string, Uint8Array>();

  hasIndex = false;

  openIndex(world: DiskWorld): IndexStore {
    this.hasIndex = true;
    return this.index.open(world, () => this.#takeFault('commitFault'));
  }

  openBytes(world: DiskWorld): ByteStore {
    return {
      create: (id, header, bytes) => this.#create(world, id, new Uint8Array(Buffer.concat([header, bytes]))),
      read: async (id, { offset, length }) => {
        await pause(world, 0.05);
        return this.files.get(id)?.bytes.slice(offset, offset + length);
      },
      sizeOf: async (id) => this.files.get(id)?.bytes.length,
      remove: async (id) => {
        await pause(world, 0.05);
        this.files.delete(id);
      },
      list: async (after, limit) => {
        const ids = [...this.files.keys()].sort().filter((id) => after === undefined || id > after);
        return ids.slice(0, limit).map((id) => ({ id, modifiedAtMs: this.files.get(id)?.modifiedAtMs ?? 0 }));
      },
      space: async () => ({ freeBytes: this.freeBytes, totalBytes: this.totalBytes }),
    };
  }

  openSmallFiles(world: DiskWorld): SmallFiles {
    let last: Promise<void> = Promise.resolve();
    return {
      read: async (name) => {
        await pause(world, 0.05);
        const content = this.#smallFiles.get(name);
        return content === undefined ? undefined : new Uint8Array(content);
      },
      replace: (name, content) => {
        const copy = new Uint8Array(content);
        const replaced = last.then(async () => {
          this.#replacing.set(name, copy);
          await pause(world, world.syncMs());
          this.#replacing.delete(name);
          this.#smallFiles.set(name, copy);
        });
        last = replaced;
        return replaced;
      },
    };
  }

  /** The process, or the machine, stopped in the middle of what it did. */
  crash(fraction: () => number): void {
    this.index.crash(fraction);
    for (const [id, file] of this.#unsynced) {
      const chance = fraction();
      if (chance < 0.4) continue;
      const bytes = chance < 0.7 ? file.bytes.slice(0, Math.floor(file.bytes.length * fraction())) : file.bytes;
      this.files.set(id, { bytes, modifiedAtMs: file.modifiedAtMs });
    }
    this.#unsynced.clear();
    for (const [name, content] of this.#replacing) if (fraction() < 0.5) this.#smallFiles.set(name, content);
    this.#replacing.clear();
  }

  /** Remembers the small files as they are now; returns how to put them back, as from a backup. */
  backUpSmallFiles(): () => void {
    const saved = new Map(this.#smallFiles);
    return () => {
      this.#smallFiles.clear();
      for (const [name, content] of saved) this.#smallFiles.set(name, content);
    };
  }

  /** A new, empty folder. */
  wipe(): void {
    this.index.wipe();
    this.hasIndex = false;
    this.files.clear();
    this.#unsynced.clear();
    this.#smallFiles.clear();
  }

  /** Flips a bit of a stored file. Returns what makes it good again, if the same bytes are still there. */
  rotFile(id: FileId, at: number): () => void {
    const before = this.files.get(id);
    if (before === undefined || before.bytes.length === 0) return () => undefined;
    const bytes = new Uint8Array(before.bytes);
    const index = at % bytes.length;
    bytes[index] = (bytes[index] ?? 0) ^ 1;
    const rotten = { ...before, bytes };
    this.files.set(id, rotten);
    return () => {
      if (this.files.get(id) === rotten) this.files.set(id, before);
    };
  }

  async #create(world: DiskWorld, id: FileId, bytes: Uint8Array): Promise<void> {
    if (this.files.has(id) || this.#unsynced.has(id))
      throw new StorageFailure(`File ${id} exists: ids are never reused`);
    const fault = this.#takeFault('fileFault');
    if (fault === 'failure') throw new StorageFailure('The file could not be synced');
    if (fault === 'no-space') throw new DfsError('no-space', 'The disk is full');
    const file = { bytes, modifiedAtMs: world.wallMs() };
    this.#unsynced.set(id, file);
    await pause(world, world.syncMs());
    this.#unsynced.delete(id);
    this.files.set(id, file);
  }

  #takeFault(name: 'commitFault' | 'fileFault'): DiskFault | undefined {
    const fault = this[name];
    this[name] = undefined;
    return fault;
  }
}

function pause(world: DiskWorld, delayMs: number): Promise<void> {
  return new Promise((resolve) => world.after(delayMs, resolve));
}
