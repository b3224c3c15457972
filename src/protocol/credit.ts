/**
 * Bounds the bytes of one purpose held in memory at once: first come, first served, given back explicitly.
 *
 * Large payloads wait here *before* they are sent. Small ones come unasked, so they are only counted: while they are
 * above their limit, the sessions that use the pool stop reading.
 */
import { assert } from '../core/assert.js';
import { DfsError } from '../core/errors.js';
import { limits } from '../core/limits.js';

interface Waiting {
  readonly bytes: number;
  grant(): void;
}

export class CreditPool {
  readonly #capacityBytes: number;
  readonly #smallBytesMax: number;
  readonly #waiting = new Set<Waiting>();
  readonly #whenSmallRoom = new Set<() => void>();
  #usedBytes = 0;
  #smallBytes = 0;

  constructor(capacityBytes: number, smallBytesMax: number = limits.smallWritesBytesMax) {
    this.#capacityBytes = capacityBytes;
    this.#smallBytesMax = smallBytesMax;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get smallBytes(): number {
    return this.#smallBytes;
  }

  get isWaitedFor(): boolean {
    return this.#waiting.size > 0;
  }

  get isSmallFull(): boolean {
    return this.#smallBytes > this.#smallBytesMax;
  }

  /**
   * Resolves with the function that gives the bytes back (calling it again does nothing). More than the whole pool is
   * granted only while nothing else is held. Rejects with the signal's reason when that is aborted before.
   */
  acquire(bytes: number, signal?: AbortSignal): Promise<() => void> {
    if (signal?.aborted) return Promise.reject(reasonOf(signal));
    const taken = this.tryAcquire(bytes);
    if (taken !== undefined) return Promise.resolve(taken);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.delete(waiting);
        reject(reasonOf(signal));
        this.#grantNext();
      };
      const waiting: Waiting = {
        bytes,
        grant: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve(this.#take(bytes));
        },
      };
      this.#waiting.add(waiting);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** As `acquire`, when there is room at once and nobody waits; else undefined. */
  tryAcquire(bytes: number): (() => void) | undefined {
    return this.#waiting.size === 0 && this.#hasRoom(bytes) ? this.#take(bytes) : undefined;
  }

  /** Counts a payload that came unasked, until `releaseSmall`. */
  takeSmall(bytes: number): void {
    this.#smallBytes += bytes;
  }

  releaseSmall(bytes: number): void {
    this.#smallBytes -= bytes;
    assert(this.#smallBytes >= 0, 'More small bytes were given back than taken');
    if (this.isSmallFull || this.#whenSmallRoom.size === 0) return;
    const called = [...this.#whenSmallRoom];
    this.#whenSmallRoom.clear();
    for (const call of called) call();
  }

  /** Calls once, as soon as small payloads are below their limit again. */
  onSmallRoom(call: () => void): void {
    this.#whenSmallRoom.add(call);
  }

  offSmallRoom(call: () => void): void {
    this.#whenSmallRoom.delete(call);
  }

  #hasRoom(bytes: number): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + bytes <= this.#capacityBytes;
  }

  #take(bytes: number): () => void {
    this.#usedBytes += bytes;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#usedBytes -= bytes;
      this.#grantNext();
    };
  }

  #grantNext(): void {
    for (const waiting of this.#waiting) {
      if (!this.#hasRoom(waiting.bytes)) return;
      this.#waiting.delete(waiting);
      waiting.grant();
    }
  }
}

function reasonOf(signal: AbortSignal | undefined): unknown {
  return signal?.reason instanceof DfsError ? signal.reason : new DfsError('cancelled', 'The caller gave up');
}
