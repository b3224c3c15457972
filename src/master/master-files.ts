/**
 * What a master remembers beside the map: how often it was started, and how far the cluster's clock had come.
 *
 * The incarnation is durable before anyone hears of it, so that no two starts of a master share one. The clock's mark
 * is written now and then: after a restart on a machine whose clock went back, request ids keep their order (S6).
 */

import type { Clock } from '../core/environment.js';
import { DaemonStop, exitCodes } from '../core/errors.js';
import type { SmallFiles } from '../core/storage.js';
import { readSealed, replaceSealed } from './sealed-file.js';

const incarnationFile = 'incarnation';
const clockFile = 'clock';
const markIntervalMs = 10_000;

/** The number of this start: one more than the last, durable. `atLeast`: the one the stored map was written by. */
export async function nextIncarnation(files: SmallFiles, atLeast: number): Promise<number> {
  const stored = await readNumber(files, incarnationFile);
  const incarnation = Math.max(stored ?? 0, atLeast) + 1;
  await replaceSealed(files, incarnationFile, Buffer.from(JSON.stringify(incarnation)));
  return incarnation;
}

/** The cluster's clock: this machine's wall clock that never goes back. */
export class ClusterClock {
  readonly #clock: Clock;
  readonly #files: SmallFiles;
  #lastMs: number;
  #lastAtMs: number;
  #markedMs: number;

  private constructor(clock: Clock, files: SmallFiles, startMs: number) {
    this.#clock = clock;
    this.#files = files;
    this.#lastMs = startMs;
    this.#lastAtMs = clock.monotonicMs();
    this.#markedMs = 0;
  }

  static async load(clock: Clock, files: SmallFiles): Promise<ClusterClock> {
    const marked = (await readNumber(files, clockFile)) ?? 0;
    const wallMs = clock.wallMs();
    // Up to one interval may have passed after the last mark; only a clock that went back needs that added.
    return new ClusterClock(clock, files, wallMs >= marked ? wallMs : marked + markIntervalMs);
  }

  nowMs(): number {
    const atMs = this.#clock.monotonicMs();
    this.#lastMs = Math.max(this.#clock.wallMs(), this.#lastMs + (atMs - this.#lastAtMs));
    this.#lastAtMs = atMs;
    return Math.floor(this.#lastMs);
  }

  /** It had come so far before this machine had anything to do with it. Resolves when that is durable. */
  async startFrom(ms: number): Promise<void> {
    this.#lastMs = Math.max(this.nowMs(), ms);
    this.#markedMs = 0;
    await this.mark();
  }

  /** Writes the mark when it is due. */
  async mark(): Promise<void> {
    const nowMs = this.nowMs();
    if (nowMs - this.#markedMs < markIntervalMs) return;
    this.#markedMs = nowMs;
    await replaceSealed(this.#files, clockFile, Buffer.from(JSON.stringify(nowMs)));
  }
}

async function readNumber(files: SmallFiles, name: string): Promise<number | undefined> {
  const content = await readSealed(files, name);
  if (content === undefined) return undefined;
  const value: unknown = JSON.parse(Buffer.from(content).toString());
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw new DaemonStop(exitCodes.storage, `The file ${name} in the data folder holds no number`);
}
