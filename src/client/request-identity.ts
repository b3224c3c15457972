/**
 * The id that all attempts of one change share, so that it takes effect at most once (S6). Stamped with the cluster's
 * clock as late as possible: at the first attempt, when a hello has told the time.
 */
import type { Random } from '../core/environment.js';
import { type TimedId, toHex, toTimedId } from '../core/ids.js';
import type { ClusterClock } from './cluster-clock.js';

export class RequestIdentity {
  readonly #clock: ClusterClock;
  readonly #random: Random;
  #id: TimedId | undefined;

  constructor(clock: ClusterClock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  get id(): TimedId {
    this.#id ??= toTimedId({ atMs: this.#clock.nowMs(), random: this.#random.bytes(10) });
    return this.#id;
  }

  /** As people see it; undefined while no attempt was made. */
  get hex(): string | undefined {
    return this.#id === undefined ? undefined : toHex(this.#id);
  }

  /** Only when nothing sent under the old id can take effect. */
  renew(): void {
    this.#id = undefined;
  }
}
