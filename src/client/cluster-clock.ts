/**
 * The cluster's clock as this process knows it: every hello tells it; before the first one, the offset that an earlier
 * process wrote down. Request and upload ids carry it (S6), so a wrong clock of this machine does no harm.
 */
import type { Clock } from '../core/environment.js';

export class ClusterClock {
  readonly #clock: Clock;
  #aheadOfMonotonicMs: number | undefined;
  #aheadOfWallMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True once a hello of this process has told the time. */
  get isSynced(): boolean {
    return this.#aheadOfMonotonicMs !== undefined;
  }

  /** What to write down for later processes. */
  get aheadOfWallMs(): number {
    return this.#aheadOfWallMs;
  }

  /** An offset that an earlier process wrote down. */
  recall(aheadOfWallMs: number): void {
    if (!this.isSynced) this.#aheadOfWallMs = aheadOfWallMs;
  }

  onTold(clusterMs: number): void {
    this.#aheadOfMonotonicMs = clusterMs - this.#clock.monotonicMs();
    this.#aheadOfWallMs = clusterMs - this.#clock.wallMs();
  }

  nowMs(): number {
    return this.#aheadOfMonotonicMs === undefined
      ? this.#clock.wallMs() + this.#aheadOfWallMs
      : this.#clock.monotonicMs() + this.#aheadOfMonotonicMs;
  }
}
