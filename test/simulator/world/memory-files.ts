/**
 * Files behind a write-back cache: what processes see at once, and what of it is on the disk.
 *
 * The operating system keeps what a killed process wrote. When the power is cut, each creation, renaming and removal
 * whose folder was not synced is kept or lost on its own, and a file whose content was not synced is whole, cut short,
 * empty or has garbage in it.
 */

export interface StoredFile {
  /** Written once; only damage changes it. */
  bytes: Uint8Array;
  readonly modifiedAtMs: number;
}

type Fraction = () => number;

interface Change {
  readonly name: string;
  readonly before: StoredFile | undefined;
  readonly after: StoredFile | undefined;
}

/** Changes that are kept or lost together. */
interface FolderOperation {
  readonly number: number;
  readonly atMs: number;
  readonly changes: readonly Change[];
}

/** What a crash met: anything not synced, and whether some of that is lost. */
export interface CrashReport {
  readonly atRisk: boolean;
  readonly isLost: boolean;
}

/** The system writes on its own what nobody synced, after so long. */
export const writeBackMs = 30_000;
const blockBytes = 4096;

/** The names in one folder; several may share one map of what is visible. */
export class CachedFolder {
  readonly #visible: Map<string, StoredFile>;
  #unsynced: FolderOperation[] = [];
  #made = 0;

  constructor(visible: Map<string, StoredFile>) {
    this.#visible = visible;
  }

  link(name: string, file: StoredFile, nowMs: number): void {
    this.#do(nowMs, [{ name, before: this.#visible.get(name), after: file }]);
  }

  unlink(name: string, nowMs: number): void {
    const before = this.#visible.get(name);
    if (before !== undefined) this.#do(nowMs, [{ name, before, after: undefined }]);
  }

  /** In one step: `to` is the old file or the new one. */
  rename(from: string, to: string, nowMs: number): void {
    const file = this.#visible.get(from);
    this.#do(nowMs, [
      { name: to, before: this.#visible.get(to), after: file },
      { name: from, before: file, after: undefined },
    ]);
  }

  /** To be called when a sync begins; what it answers is to be called when that has ended. */
  beginSync(): () => void {
    const upTo = this.#made;
    return () => {
      this.#unsynced = this.#unsynced.filter(({ number }) => number > upTo);
    };
  }

  onPowerCut(fraction: Fraction, nowMs: number): CrashReport {
    const atRisk = this.#unsynced.filter(({ atMs }) => nowMs - atMs < writeBackMs);
    const lost = new Set(atRisk.filter(() => fraction() < 0.5));
    if (lost.size > 0) {
      // Back to what the disk had, then forward with what it kept.
      for (const { changes } of this.#unsynced.toReversed())
        for (const { name, before } of changes) this.#set(name, before);
      for (const operation of this.#unsynced) {
        if (lost.has(operation)) continue;
        for (const { name, after } of operation.changes) this.#set(name, after);
      }
    }
    this.#unsynced = [];
    return { atRisk: atRisk.length > 0, isLost: lost.size > 0 };
  }

  #do(atMs: number, changes: readonly Change[]): void {
    this.#unsynced.push({ number: ++this.#made, atMs, changes });
    for (const { name, after } of changes) this.#set(name, after);
  }

  #set(name: string, file: StoredFile | undefined): void {
    if (file === undefined) this.#visible.delete(name);
    else this.#visible.set(name, file);
  }
}

/** The files whose content the disk may not have. */
export class CachedContents {
  readonly #unsynced = new Map<StoredFile, { readonly atMs: number; isWritten: boolean }>();

  /** A process begins to write. */
  begin(file: StoredFile, atMs: number): void {
    this.#unsynced.set(file, { atMs, isWritten: false });
  }

  /** It has written all of it. */
  written(file: StoredFile): void {
    const state = this.#unsynced.get(file);
    if (state !== undefined) state.isWritten = true;
  }

  synced(file: StoredFile): void {
    this.#unsynced.delete(file);
  }

  onProcessDied(fraction: Fraction): CrashReport {
    let isLost = false;
    for (const [file, state] of this.#unsynced) {
      if (state.isWritten) continue;
      state.isWritten = true;
      if (fraction() < 0.5) continue;
      file.bytes = file.bytes.slice(0, Math.floor(file.bytes.length * fraction()));
      isLost = true;
    }
    return { atRisk: this.#unsynced.size > 0, isLost };
  }

  onPowerCut(fraction: Fraction, nowMs: number): CrashReport {
    let atRisk = false;
    let isLost = false;
    for (const [file, { atMs }] of this.#unsynced) {
      if (nowMs - atMs >= writeBackMs) continue;
      atRisk = true;
      const kept = tear(file.bytes, fraction);
      if (kept !== file.bytes) isLost = true;
      file.bytes = kept;
    }
    this.#unsynced.clear();
    return { atRisk, isLost };
  }

  clear(): void {
    this.#unsynced.clear();
  }
}

/** What a power cut leaves of bytes that were written and not synced. */
function tear(bytes: Uint8Array, fraction: Fraction): Uint8Array {
  const chance = fraction();
  if (chance < 0.25) return bytes;
  if (chance < 0.5) return bytes.slice(0, 0);
  if (chance < 0.75) return bytes.slice(0, Math.floor(bytes.length * fraction()));
  const torn = new Uint8Array(bytes);
  const start = Math.floor((bytes.length * fraction()) / blockBytes) * blockBytes;
  torn.subarray(start, start + blockBytes).fill(fraction() < 0.5 ? 0 : 0xa5);
  return torn;
}
