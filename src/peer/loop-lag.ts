/**
 * How late this process's event loop runs: a peer that is alive but stuck must show.
 */
import type { Clock, Timer } from '../core/environment.js';

const intervalMs = 50;

export class LoopLag {
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #worstMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#schedule();
  }

  #schedule(): void {
    const dueMs = this.#clock.monotonicMs() + intervalMs;
    this.#timer = this.#clock.after(intervalMs, () => {
      this.#worstMs = Math.max(this.#worstMs, this.#clock.monotonicMs() - dueMs);
      this.#schedule();
    });
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
