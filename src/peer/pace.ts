/**
 * Holds a flow of bytes to a speed that may change at any time: whoever wants to send waits for its turn.
 */
import { type Clock, sleep } from '../core/environment.js';

/** So far the flow may run ahead of its speed: timers are coarse, and small pieces many. */
const aheadMs = 20;
/** A change of speed is felt after so long by who waits already. */
const longestNapMs = 200;

export class Pace {
  readonly #clock: Clock;
  readonly #bytesPerSecond: () => number;
  #lastTurn: Promise<void> = Promise.resolve();
  /** Let through and not paid for yet by time passed; in bytes, so that a change of speed counts for them too. */
  #owedBytes = 0;
  #paidAtMs = 0;

  /** A speed of 0 is none: nobody waits. */
  constructor(clock: Clock, bytesPerSecond: () => number) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
  }

  get isSet(): boolean {
    return this.#bytesPerSecond() > 0;
  }

  /** Resolves when so many bytes may go, in the order of asking; what is not wanted any more takes nobody's time. */
  take(bytes: number, isWanted: () => boolean = () => true): Promise<void> {
    if (this.#bytesPerSecond() === 0) return Promise.resolve();
    this.#lastTurn = this.#lastTurn.then(() => this.#turn(bytes, isWanted));
    return this.#lastTurn;
  }

  async #turn(bytes: number, isWanted: () => boolean): Promise<void> {
    for (;;) {
      const speed = this.#bytesPerSecond();
      if (speed === 0 || !isWanted()) return;
      const nowMs = this.#clock.monotonicMs();
      this.#owedBytes = Math.max(0, this.#owedBytes - ((nowMs - this.#paidAtMs) / 1000) * speed);
      this.#paidAtMs = nowMs;
      const waitMs = (this.#owedBytes / speed) * 1000;
      if (waitMs <= aheadMs) {
        this.#owedBytes += bytes;
        return;
      }
      await sleep(this.#clock, Math.min(longestNapMs, waitMs));
    }
  }
}
