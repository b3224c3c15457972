/**
 * How much of one transfer may be under way at once: a number of segments and of bytes, so that memory stays bounded
 * whatever the size of the file.
 */
import { limits } from '../core/limits.js';

export class TransferWindow {
  #segments = 0;
  #bytes = 0;
  #waiting: (() => void)[] = [];

  hasRoom(sizeBytes: number): boolean {
    if (this.#segments === 0) return true; // one segment always goes, whatever its size
    return this.#segments < limits.clientWindowSegments && this.#bytes + sizeBytes <= limits.clientWindowBytes;
  }

  take(sizeBytes: number): void {
    this.#segments += 1;
    this.#bytes += sizeBytes;
  }

  release(sizeBytes: number): void {
    this.#segments -= 1;
    this.#bytes -= sizeBytes;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** Resolves at the next release. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
