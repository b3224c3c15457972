/**
 * Shows the other side that this one is alive, and notices when the other is not.
 *
 * A connection may die without a word (a host that lost power, a cut cable). Whoever says nothing for long, or takes
 * nothing of what is sent, is given up. A round that itself ran late gives no verdict: it was this side that slept.
 */
import type { Clock, Timer } from '../core/environment.js';
import type { Connection } from '../core/network.js';
import { timing } from '../core/timing.js';

const lateMs = 1000;

interface Watched {
  /** False while this side itself has stopped reading: silence then says nothing. */
  isReading(): boolean;
  lastHeardMs(): number;
  giveUp(reason: string): void;
}

export class Liveness {
  readonly #clock: Clock;
  readonly #connection: Connection;
  readonly #watched: Watched;
  #timer: Timer;
  #dueMs = 0;
  #aliveMs: number;
  #takenMs: number;
  #deliveredBytes = 0;
  #receivedBytes = 0;

  constructor(clock: Clock, connection: Connection, watched: Watched) {
    this.#clock = clock;
    this.#connection = connection;
    this.#watched = watched;
    this.#aliveMs = clock.monotonicMs();
    this.#takenMs = this.#aliveMs;
    this.#timer = this.#arm();
  }

  stop(): void {
    this.#timer.cancel();
  }

  #arm(): Timer {
    this.#dueMs = this.#clock.monotonicMs() + timing.keepAliveMs;
    return this.#clock.after(timing.keepAliveMs, () => {
      const reason = this.#look();
      if (reason === undefined) this.#timer = this.#arm();
      else this.#watched.giveUp(reason);
    });
  }

  /** The reason to give the connection up, if there is one. */
  #look(): string | undefined {
    const nowMs = this.#clock.monotonicMs();
    const { deliveredBytes, receivedPayloadBytes, queuedBytes } = this.#connection;
    const wasLate = nowMs - this.#dueMs > lateMs;
    const isHeard = receivedPayloadBytes !== this.#receivedBytes || !this.#watched.isReading();
    this.#aliveMs = wasLate || isHeard ? nowMs : Math.max(this.#aliveMs, this.#watched.lastHeardMs());
    const hasSent = deliveredBytes !== this.#deliveredBytes || queuedBytes > 0;
    if (wasLate || queuedBytes === 0 || deliveredBytes !== this.#deliveredBytes) this.#takenMs = nowMs;
    this.#deliveredBytes = deliveredBytes;
    this.#receivedBytes = receivedPayloadBytes;
    if (nowMs - this.#aliveMs > timing.halfOpenAfterMs) return `Nothing was heard for ${timing.halfOpenAfterMs} ms`;
    if (nowMs - this.#takenMs > timing.halfOpenAfterMs) return `Nothing was taken for ${timing.halfOpenAfterMs} ms`;
    if (!hasSent) {
      const empty = { header: {}, payload: undefined, sums: undefined };
      this.#connection.send({ type: 'keep-alive', kind: 0, requestId: 0, ...empty });
    }
    return undefined;
  }
}
