/**
 * The cluster's time on this host: what the master last said, carried on by this host's steady clock.
 *
 * Ages of request ids and graces are measured by it, so that a host with a wrong wall clock does no harm. It never goes
 * back. Before the master has spoken it is this host's wall clock.
 */
import type { Clock } from '../core/environment.js';

export class ClusterClock {
  readonly #clock: Clock;
  #toldMs: number;
  #toldAtMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#toldMs = clock.wallMs();
    this.#toldAtMs = clock.monotonicMs();
  }

  /** Milliseconds since 1970, whole. */
  nowMs(): number {
    return Math.floor(this.#toldMs + this.#clock.monotonicMs() - this.#toldAtMs);
  }

  onTold(clusterMs: number): void {
    this.#toldMs = Math.max(clusterMs, this.nowMs());
    this.#toldAtMs = this.#clock.monotonicMs();
  }
}
