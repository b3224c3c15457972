/**
 * How quick this peer's disk has been of late: every read of bytes and every commit of the index is timed.
 *
 * What is measured is what callers wait for, the queue before the disk and a late event loop included.
 */
import type { Clock } from '../core/environment.js';
import { LatencyWindow } from '../core/latency-window.js';
import { limits } from '../core/limits.js';
import type { ByteStore, IndexStore } from '../core/storage.js';
import { timing } from '../core/timing.js';

/** Absent while too little was done to tell. */
export interface DiskFigures {
  readonly readMedianMs?: number;
  readonly readP99Ms?: number;
  readonly syncMedianMs?: number;
  readonly syncP99Ms?: number;
}

export class DiskLatency {
  readonly #clock: Clock;
  readonly #reads = new LatencyWindow(timing.latencyWindowMs);
  readonly #syncs = new LatencyWindow(timing.latencyWindowMs);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  timedBytes(store: ByteStore): ByteStore {
    return {
      create: (id, header, bytes) => store.create(id, header, bytes),
      sync: (id) => store.sync(id),
      read: (id, range) => this.#timed(this.#reads, store.read(id, range)),
      sizeOf: (id) => store.sizeOf(id),
      remove: (id) => store.remove(id),
      list: (after, limit) => store.list(after, limit),
      space: () => store.space(),
    };
  }

  timedIndex(store: IndexStore): IndexStore {
    return {
      get: (table, key) => store.get(table, key),
      range: (table, options) => store.range(table, options),
      keys: (table, options) => store.keys(table, options),
      transact: (body) => this.#timed(this.#syncs, store.transact(body)),
      close: () => store.close(),
    };
  }

  figures(): DiskFigures {
    const [reads, syncs] = [this.#figuresOf(this.#reads), this.#figuresOf(this.#syncs)];
    return {
      ...(reads && { readMedianMs: reads.medianMs, readP99Ms: reads.p99Ms }),
      ...(syncs && { syncMedianMs: syncs.medianMs, syncP99Ms: syncs.p99Ms }),
    };
  }

  #figuresOf(window: LatencyWindow): { medianMs: number; p99Ms: number } | undefined {
    const on = { atLeast: limits.latencySamplesMin, nowMs: this.#clock.monotonicMs() };
    const [medianMs, p99Ms] = [window.quantileMs(0.5, on), window.quantileMs(0.99, on)];
    return medianMs === undefined || p99Ms === undefined ? undefined : { medianMs, p99Ms };
  }

  /** The same promise, so that nobody waits for the measuring. What failed says nothing about the disk's pace. */
  #timed<T>(window: LatencyWindow, work: Promise<T>): Promise<T> {
    const beganMs = this.#clock.monotonicMs();
    const note = (): void => {
      const nowMs = this.#clock.monotonicMs();
      window.note(nowMs - beganMs, nowMs);
    };
    work.then(note, () => undefined);
    return work;
  }
}
