/**
 * The cluster's time on this host: what the master last said, carried on by this host's steady clock.
 *
 * Ages of request ids and graces are measured by it, so that a host with a wrong wall clock, or one that runs fast,
 * does no harm. Before the master has spoken it is a guess, this host's wall clock; from then on it never goes back.
 */
import type { Clock } from '../core/environment.js';

export class ClusterClock {
  readonly #clock: Clock;
  #aheadOfMonotonicMs: number;
  #isTold = false;
  #latestMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#aheadOfMonotonicMs = clock.wallMs() - clock.monotonicMs();
  }

  /** False while the time is a guess: nothing is removed by it. */
  get isTold(): boolean {
    return this.#isTold;
  }

  /** Milliseconds since 1970, whole. */
  nowMs(): number {
    this.#latestMs = Math.max(this.#latestMs, Math.floor(this.#clock.monotonicMs() + this.#aheadOfMonotonicMs));
    return this.#latestMs;
  }

  onTold(clusterMs: number): void {
    // What was guessed before may be hours ahead; kept, it would make every request id too old.
    if (!this.#isTold) this.#latestMs = 0;
    this.#isTold = true;
    this.#aheadOfMonotonicMs = clusterMs - this.#clock.monotonicMs();
  }
}
