/**
 * How late this process's event loop runs: a peer that is alive but stuck must show.
 */
import type { Clock, Timer } from '../core/environment.js';

const intervalMs = 50;
const recentMs = 5000;

export class LoopLag {
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #worstMs = 0;
  /** Of the span before the one that runs, and of that one. */
  #recentWorstMs: readonly [number, number] = [0, 0];
  #spanEndMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#schedule();
  }

  #schedule(): void {
    const dueMs = this.#clock.monotonicMs() + intervalMs;
    this.#timer = this.#clock.after(intervalMs, () => {
      this.#note(this.#clock.monotonicMs(), dueMs);
      this.#schedule();
    });
  }

  #note(nowMs: number, dueMs: number): void {
    this.#worstMs = Math.max(this.#worstMs, nowMs - dueMs);
    const [before, now] = nowMs < this.#spanEndMs ? this.#recentWorstMs : [this.#recentWorstMs[1], 0];
    if (nowMs >= this.#spanEndMs) this.#spanEndMs = nowMs + recentMs;
    this.#recentWorstMs = [before, Math.max(now, nowMs - dueMs)];
  }

  /** The worst of the last seconds, in milliseconds. */
  get recentWorstMs(): number {
    return Math.max(...this.#recentWorstMs);
  }

  /** The worst since the last call, in milliseconds. */
  takeWorstMs(): number {
    const worstMs = this.#worstMs;
    this.#worstMs = 0;
    return worstMs;
  }

  stop(): void {
    this.#timer?.cancel();
  }
}
