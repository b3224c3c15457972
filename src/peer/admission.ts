/**
 * What a peer takes in: nothing that the disk's reserve, the largest file or the number of uploads forbids.
 *
 * Deletes are always let in: a full disk on which nothing can be deleted is a trap. Uploads are remembered by their
 * last segment, so that one that is still going on is never swept.
 */
import { refuse } from '../core/errors.js';
import { limits } from '../core/limits.js';
import type { ByteStore } from '../core/storage.js';

export interface AdmissionLimits {
  readonly reserveBytes?: number;
  readonly maxFileBytes: number;
  readonly maxUploads: number;
  readonly sweepAfterMs: number;
}

/** An upload without a new segment for so long no longer counts as running. */
const uploadIdleMs = 60_000;

export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #uploads = new Map<string, number>();
  #space = { freeBytes: Infinity, totalBytes: Infinity };
  /** Let in since the last measurement, which cannot have seen it yet. */
  #takenBytes = 0;

  constructor(admissionLimits: AdmissionLimits) {
    this.#limits = admissionLimits;
  }

  get space(): { freeBytes: number; totalBytes: number } {
    return this.#space;
  }

  async measure(store: ByteStore): Promise<void> {
    const takenBefore = this.#takenBytes;
    this.#space = await store.space();
    this.#takenBytes -= takenBefore;
  }

  get reserveBytes(): number {
    const { reserveBytes } = this.#limits;
    return reserveBytes ?? Math.max(limits.reserveBytesMin, this.#space.totalBytes * limits.reserveFraction);
  }

  get isFull(): boolean {
    return this.#freeBytes < this.reserveBytes;
  }

  get #freeBytes(): number {
    return this.#space.freeBytes - this.#takenBytes;
  }

  /** `sizeBytes`: the file so far; `newBytes` of it come now. */
  admitBytes(sizeBytes: number, newBytes: number): void {
    this.admitSpace(newBytes);
    if (sizeBytes > this.#limits.maxFileBytes) {
      refuse('too-large', `A file may have at most ${this.#limits.maxFileBytes} bytes here`, {
        advice: 'Split it, or start the peers with a higher --max-file-size',
      });
    }
  }

  admitSpace(newBytes: number): void {
    if (!this.isFull) {
      this.#takenBytes += newBytes;
      return;
    }
    const free = Math.max(0, Math.round(this.#freeBytes / 2 ** 20));
    refuse(
      'no-space',
      `Only ${free} MiB are free, less than the reserve of ${Math.round(this.reserveBytes / 2 ** 20)} MiB`,
      {
        advice: 'Delete files, or add a peer',
      },
    );
  }

  /** A copy for a slot that this peer joins: it must leave clients some room above the reserve. */
  admitJoining(): void {
    if (this.#freeBytes >= limits.reservesForCopies * this.reserveBytes) return;
    refuse('no-space', 'Too little room is left here for further slots: clients need it', {
      advice: 'Add a peer, or give this one less weight: dfs peer set ID weight=N',
    });
  }

  admitUpload(uploadId: string, nowMs: number): void {
    if (!this.#uploads.has(uploadId)) {
      this.#forgetIdle(nowMs);
      const running = [...this.#uploads.values()].filter((lastMs) => nowMs - lastMs < uploadIdleMs).length;
      if (running >= this.#limits.maxUploads) {
        refuse('busy', `${running} uploads are under way here, as many as allowed`, {
          advice: 'Try again, or start the peers with a higher --max-uploads',
        });
      }
    }
    this.#uploads.set(uploadId, nowMs);
  }

  /** When the last segment of an upload came, as far as this process knows. */
  lastSegmentMs(uploadId: string): number | undefined {
    return this.#uploads.get(uploadId);
  }

  #forgetIdle(nowMs: number): void {
    for (const [uploadId, lastMs] of this.#uploads) {
      if (nowMs - lastMs > this.#limits.sweepAfterMs) this.#uploads.delete(uploadId);
    }
  }
}
