/**
 * Disks in memory that forget what was not synced.
 *
 * A disk outlives the processes that use it; what is asked of it ends after a virtual delay. The stores here take the
 * same steps as those of src/io: write, sync the content, rename, sync the folder. A killed process leaves what it has
 * written, a power cut leaves any part of what it had not synced (memory-files.ts, memory-index.ts). Faults come when
 * asked for: a full disk, a failed sync, a file that cannot be read, a flipped bit, a lost index.
 */
import { assert, Bug } from '../../../src/core/assert.js';
import { DfsError, StorageFailure } from '../../../src/core/errors.js';
import { KeyedQueue } from '../../../src/core/keyed-queue.js';
import type { ByteStore, FileId, IndexCopies, IndexStore, SmallFiles } from '../../../src/core/storage.js';
import { type DiskWorld, never, pause, SharedSync } from './disk-world.js';
import { MemoryCopies } from './memory-copies.js';
import { CachedContents, CachedFolder, type CrashReport, type StoredFile } from './memory-files.js';
import { type IndexWrite, MemoryIndex } from './memory-index.js';

/** Hears what a disk certainly holds. */
export interface DiskWatcher {
  /** Writes of the index that are on the disk from now on, in order. */
  onIndexDurable(writes: readonly IndexWrite[]): void;
  /** Content and name are on the disk; or a power cut left some of it under this name. */
  onFileCreated(id: FileId): void;
  /** By a program; a power cut may bring the file back. */
  onFileRemoved(id: FileId): void;
  /** Is there after a power cut, perhaps because that came before the disk had its removal. */
  onFileBack(id: FileId): void;
  /** The index is a new one, the files are those they were. */
  onIndexLost(): void;
  /** The folder is a new one. */
  onWiped(): void;
}

export type DiskFault = 'no-space' | 'failure';

/** Steps that the stores leave out: bugs put in on purpose, to see that they are found. */
export interface SkippedSteps {
  /** The content of segments' files and of small files. */
  fileSync?: boolean;
  /** The folders of both. */
  folderSync?: boolean;
  /** The commits of the index. */
  indexSync?: boolean;
}

/** As `openIndex` of src/io/lmdb-index.ts finds it. */
export type IndexState = 'absent' | 'whole' | 'lost';

export type IndexFound =
  | { readonly state: 'open'; readonly index: IndexStore }
  | { readonly state: 'absent' }
  | { readonly state: 'lost'; readonly reason: string };

/** What src/peer/data-folder.ts needs of a disk. */
export interface Folder {
  readonly files: SmallFiles;
  openIndex(): Promise<IndexFound>;
  createIndex(): Promise<IndexStore>;
  setAsideIndex(): Promise<void>;
}

const emptyDiskBytes = 100 * 2 ** 30;
const quickMs = 0.05;

export class MemoryDisk {
  readonly totalBytes = emptyDiskBytes;
  /** May be set: how full everything else makes the disk. Files take of it and give back. */
  freeBytes = emptyDiskBytes;
  /** What the next commit of the index meets. */
  commitFault: DiskFault | undefined;
  /** What the next file made meets. */
  fileFault: DiskFault | undefined;
  /** Of the files that are made meanwhile those that come out with a flipped bit, though nothing was told to fail. */
  spoils: ((bytes: Uint8Array) => boolean) | undefined;
  /** What the next small file replaced meets. */
  smallFileFault: DiskFault | undefined;
  readonly skips: SkippedSteps = {};
  readonly index = new MemoryIndex();
  readonly copies = new MemoryCopies();
  /** As processes see them. */
  readonly files = new Map<FileId, StoredFile>();
  /** Crashes, of a process or of the machine, that met something not synced yet. */
  unsyncedCrashes = 0;
  /** Crashes that lost some of it. */
  lossyCrashes = 0;
  #watcher: DiskWatcher | undefined;
  /** Files that the watcher knows of. */
  readonly #reported = new Set<FileId>();
  #indexState: IndexState | 'being-made' = 'absent';
  readonly #folders = new Map<string, CachedFolder>();
  readonly #smallFiles = new Map<string, StoredFile>();
  readonly #smallFolder = new CachedFolder(this.#smallFiles);
  readonly #contents = new CachedContents();
  readonly #unreadable = new Set<FileId>();
  /** Some of its files could not be read for a while. */
  hasRotted = false;

  get watcher(): DiskWatcher | undefined {
    return this.#watcher;
  }

  set watcher(watcher: DiskWatcher | undefined) {
    this.#watcher = watcher;
    this.index.onDurable = (writes) => watcher?.onIndexDurable(writes);
  }

  /** What is to be written down next may meet an obstacle. */
  get isHindered(): boolean {
    return this.commitFault !== undefined || this.fileFault !== undefined || this.freeBytes < this.totalBytes / 2;
  }

  get hasIndex(): boolean {
    return this.#indexState !== 'absent';
  }

  get indexState(): IndexState {
    return this.#indexState === 'being-made' ? 'whole' : this.#indexState;
  }

  /** All that a peer's data folder holds. */
  openFolder(world: DiskWorld): Folder {
    return {
      files: this.openSmallFiles(world),
      openIndex: async () => {
        await pause(world, quickMs);
        if (this.indexState === 'lost') return { state: 'lost', reason: 'Its pages make no sense' };
        return this.hasIndex ? { state: 'open', index: this.openIndex(world) } : { state: 'absent' };
      },
      createIndex: async () => {
        assert(!this.hasIndex, 'There is no index yet');
        this.#indexState = 'being-made';
        await pause(world, world.syncMs());
        if (world.isDead()) return never();
        return this.openIndex(world);
      },
      setAsideIndex: async () => {
        await pause(world, world.syncMs());
        if (world.isDead()) return never();
        this.#indexState = 'absent';
        this.index.wipe();
        this.#watcher?.onIndexLost();
      },
    };
  }

  /** The index alone, made when there is none. */
  openIndex(world: DiskWorld): IndexStore {
    this.#indexState = 'whole';
    return this.index.open(world, { takeFault: () => this.#takeFault('commitFault'), skips: this.skips });
  }

  openBytes(world: DiskWorld): ByteStore {
    const syncs = new Map<CachedFolder, SharedSync>();
    return {
      create: (id, header, bytes) => this.#create(world, syncs, { id, parts: [header, bytes] }),
      sync: (id) => this.#sync(world, syncs, id),
      read: async (id, { offset, length }) => {
        await pause(world, world.readMs?.() ?? quickMs);
        if (this.#unreadable.has(id)) throw new DfsError('integrity', `Reading ${id} failed`);
        return this.files.get(id)?.bytes.slice(offset, offset + length);
      },
      sizeOf: async (id) => this.files.get(id)?.bytes.length,
      remove: async (id) => {
        await pause(world, quickMs);
        if (!world.isDead()) this.#remove(world, id);
      },
      list: async (after, limit) => {
        const ids = [...this.files.keys()].sort().filter((id) => after === undefined || id > after);
        return ids.slice(0, limit).map((id) => ({ id, modifiedAtMs: this.files.get(id)?.modifiedAtMs ?? 0 }));
      },
      space: async () => ({ freeBytes: this.freeBytes, totalBytes: this.totalBytes }),
    };
  }

  /** Of the index, as src/io/lmdb-copies.ts. */
  openCopies(world: DiskWorld): IndexCopies {
    return this.copies.open(this.index, world);
  }

  openSmallFiles(world: DiskWorld): SmallFiles {
    const queue = new KeyedQueue();
    return {
      read: async (name) => {
        await pause(world, quickMs);
        const file = this.#smallFiles.get(name);
        return file === undefined ? undefined : new Uint8Array(file.bytes);
      },
      replace: (name, content) => {
        const bytes = new Uint8Array(content);
        return queue.run(name, () => this.#replace(world, name, bytes));
      },
    };
  }

  /** The process, or with `isPowerCut` the machine, stopped in the middle of what it did. */
  crash(fraction: () => number, options: { isPowerCut: boolean; nowMs: number }): void {
    this.copies.onCrash(fraction);
    const reports = options.isPowerCut ? this.#onPowerCut(fraction, options.nowMs) : this.#onProcessDied(fraction);
    if (reports.some(({ atRisk }) => atRisk)) this.unsyncedCrashes++;
    if (reports.some(({ isLost }) => isLost)) this.lossyCrashes++;
  }

  #onPowerCut(fraction: () => number, nowMs: number): CrashReport[] {
    if (this.#indexState === 'being-made') this.#indexState = fraction() < 0.5 ? 'absent' : 'lost';
    const folders = [...this.#folders.values(), this.#smallFolder];
    const reports = [
      this.index.onPowerCut(fraction, nowMs),
      this.#contents.onPowerCut(fraction, nowMs),
      ...folders.map((folder) => folder.onPowerCut(fraction, nowMs)),
    ];
    for (const id of this.files.keys()) {
      if (this.#reported.has(id)) this.#watcher?.onFileBack(id);
      else this.#reportCreated(id);
    }
    return reports;
  }

  #onProcessDied(fraction: () => number): CrashReport[] {
    if (this.#indexState === 'being-made') this.#indexState = fraction() < 0.5 ? 'lost' : 'whole';
    return [this.index.onProcessDied(fraction), this.#contents.onProcessDied(fraction)];
  }

  /** Remembers the small files as they are now; returns how to put them back, as from a backup. */
  backUpSmallFiles(): () => void {
    const saved = [...this.#smallFiles].map(([name, file]) => [name, file.bytes, file.modifiedAtMs] as const);
    return () => {
      this.#smallFolder.beginSync()();
      this.#smallFiles.clear();
      for (const [name, bytes, modifiedAtMs] of saved) this.#smallFiles.set(name, { bytes, modifiedAtMs });
    };
  }

  /** A new, empty folder. */
  wipe(): void {
    this.index.wipe();
    this.copies.wipe();
    this.#indexState = 'absent';
    this.files.clear();
    this.#folders.clear();
    this.#smallFiles.clear();
    this.#smallFolder.beginSync()();
    this.#contents.clear();
    this.#unreadable.clear();
    this.#reported.clear();
    this.freeBytes = this.totalBytes;
    this.#watcher?.onWiped();
  }

  /** From now on the index is garbage; the process must not run. */
  loseIndex(): void {
    if (this.hasIndex) this.#indexState = 'lost';
  }

  /** From now on reading the file fails, as on a bad sector; returns how to end that. */
  makeUnreadable(id: FileId): () => void {
    this.hasRotted = true;
    this.#unreadable.add(id);
    return () => this.#unreadable.delete(id);
  }

  /** Flips a bit of a stored file. Returns what makes it good again, if the same bytes are still there. */
  rotFile(id: FileId, at: number): () => void {
    const file = this.files.get(id);
    if (file === undefined || file.bytes.length === 0) return () => undefined;
    this.hasRotted = true;
    const good = file.bytes;
    const rotten = new Uint8Array(good);
    const index = at % rotten.length;
    rotten[index] = (rotten[index] ?? 0) ^ 1;
    file.bytes = rotten;
    return () => {
      if (file.bytes === rotten) file.bytes = good;
    };
  }

  /** As src/io/byte-files.ts: create, write, sync the content, sync the folder. */
  async #create(
    world: DiskWorld,
    syncs: Map<CachedFolder, SharedSync>,
    { id, parts }: { id: FileId; parts: readonly Uint8Array[] },
  ): Promise<void> {
    if (world.isDead()) return never();
    if (this.files.has(id)) throw new Bug(`File ${id} exists already: ids are never reused`);
    const content = Buffer.concat(parts);
    const file = { bytes: new Uint8Array(content), modifiedAtMs: world.wallMs() };
    if (this.spoils?.(file.bytes) === true) file.bytes[file.bytes.length - 1] = (file.bytes.at(-1) ?? 0) ^ 1;
    const folder = this.#folderOf(id);
    const fault = this.#takeFault('fileFault');
    if (fault === 'no-space' || file.bytes.length > this.freeBytes) {
      await pause(world, quickMs);
      throw new DfsError('no-space', 'The disk is full');
    }
    this.freeBytes -= file.bytes.length;
    this.#contents.begin(file, world.nowMs());
    folder.link(id, file, world.nowMs());
    if (!this.skips.fileSync) await pause(world, (world.fileSyncMs ?? world.syncMs)());
    if (world.isDead()) return never();
    if (!content.equals(Buffer.concat(parts))) throw new Bug(`What is written to file ${id} changes meanwhile`);
    this.#contents.written(file);
    if (fault === 'failure') throw new StorageFailure('The file could not be synced');
    if (!this.skips.fileSync) this.#contents.synced(file);
    await this.#syncFolder(world, syncs, id);
  }

  async #sync(world: DiskWorld, syncs: Map<CachedFolder, SharedSync>, id: FileId): Promise<void> {
    const file = this.files.get(id);
    if (file === undefined) throw new DfsError('integrity', `There is no file ${id}`);
    if (!this.skips.fileSync) await pause(world, (world.fileSyncMs ?? world.syncMs)());
    if (world.isDead()) return never();
    if (!this.skips.fileSync) this.#contents.synced(file);
    await this.#syncFolder(world, syncs, id);
  }

  async #syncFolder(world: DiskWorld, syncs: Map<CachedFolder, SharedSync>, id: FileId): Promise<void> {
    if (this.skips.folderSync) return;
    const folder = this.#folderOf(id);
    const sync = syncs.get(folder) ?? new SharedSync(world, folder);
    syncs.set(folder, sync);
    await sync.run();
    if (world.isDead()) return never();
    if (!this.skips.fileSync) this.#reportCreated(id);
  }

  #reportCreated(id: FileId): void {
    if (this.#reported.has(id)) return;
    this.#reported.add(id);
    this.#watcher?.onFileCreated(id);
  }

  #remove(world: DiskWorld, id: FileId): void {
    const file = this.files.get(id);
    if (file === undefined) return;
    this.freeBytes = Math.min(this.totalBytes, this.freeBytes + file.bytes.length);
    this.#folderOf(id).unlink(id, world.nowMs());
    this.#watcher?.onFileRemoved(id);
  }

  /** As src/io/small-files.ts: write a new file, sync it, rename it, sync the folder. */
  async #replace(world: DiskWorld, name: string, bytes: Uint8Array): Promise<void> {
    const temporary = `${name}.new`;
    if (world.isDead()) return never();
    const fault = this.#takeFault('smallFileFault');
    if (fault === 'no-space' || bytes.length > this.freeBytes) {
      await pause(world, quickMs);
      throw new DfsError('no-space', 'The disk is full');
    }
    const file = { bytes, modifiedAtMs: world.wallMs() };
    this.#contents.begin(file, world.nowMs());
    this.#smallFolder.link(temporary, file, world.nowMs());
    if (!this.skips.fileSync) await pause(world, world.syncMs());
    if (world.isDead()) return never();
    this.#contents.written(file);
    if (fault === 'failure') throw new StorageFailure('The file could not be synced');
    if (!this.skips.fileSync) this.#contents.synced(file);
    this.#smallFolder.rename(temporary, name, world.nowMs());
    if (this.skips.folderSync) return;
    const onSynced = this.#smallFolder.beginSync();
    await pause(world, world.syncMs());
    if (world.isDead()) return never();
    onSynced();
  }

  #folderOf(id: FileId): CachedFolder {
    const digit = id.charAt(0);
    const folder = this.#folders.get(digit) ?? new CachedFolder(this.files);
    this.#folders.set(digit, folder);
    return folder;
  }

  #takeFault(name: 'commitFault' | 'fileFault' | 'smallFileFault'): DiskFault | undefined {
    const fault = this[name];
    this[name] = undefined;
    return fault;
  }
}
