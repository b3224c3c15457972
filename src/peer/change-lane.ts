/**
 * Changes of the map that this peer asks the master for, one request after another.
 *
 * What is asked in the same moment travels together. A request whose answer was lost is asked again, which is harmless
 * because each change names the slotEpoch it acts on (F17, F18).
 */
import { type Deferred, defer } from '../core/deferred.js';
import { type Clock, sleep } from '../core/environment.js';
import { timing } from '../core/timing.js';
import type { RequestOf } from '../protocol/messages.js';

export type Change = RequestOf<'change'>['changes'][number];

/** As many of the largest changes as fit in a message (limits.msgpackEntriesMax). */
const changesAtOnce = 500;

export interface ChangeLaneParts {
  readonly clock: Clock;
  /** What nobody hurries waits so long for others. */
  readonly gatherMs: number;
  /** Resolves with whether the master has answered and the map of its answer was taken. */
  send(changes: readonly Change[]): Promise<boolean>;
  onFailure(error: unknown): void;
}

export class ChangeLane {
  readonly #parts: ChangeLaneParts;
  #queued: { readonly change: Change; readonly isHurried: boolean; readonly done: Deferred<void> }[] = [];
  #isSending = false;
  /** Resolves when somebody hurries. */
  #hurry: Deferred<void> = defer();
  #isClosed = false;

  constructor(parts: ChangeLaneParts) {
    this.#parts = parts;
  }

  /** Whoever waits need not ask again. */
  close(): void {
    this.#isClosed = true;
    for (const { done } of this.#queued) done.resolve();
    this.#queued = [];
  }

  /** Resolves when the master has answered; what it says is in the map. */
  async ask(changes: readonly Change[], isHurried: boolean): Promise<void> {
    const asked = changes.map((change) => ({ change, isHurried, done: defer<void>() }));
    this.#queued.push(...asked);
    if (isHurried) this.#hurry.resolve();
    if (!this.#isSending) {
      this.#isSending = true;
      this.#sendAll().catch((error: unknown) => this.#parts.onFailure(error));
    }
    await Promise.all(asked.map(({ done }) => done.promise));
  }

  async #sendAll(): Promise<void> {
    const { clock, gatherMs } = this.#parts;
    // Let the changes of this moment gather: a dead backup concerns hundreds of slots at once.
    await Promise.resolve();
    while (this.#queued.length > 0 && !this.#isClosed) {
      this.#hurry = defer();
      if (!this.#queued.some(({ isHurried }) => isHurried)) {
        await Promise.race([sleep(clock, gatherMs), this.#hurry.promise]);
      }
      const batch = this.#queued.slice(0, changesAtOnce);
      if (!(await this.#parts.send(batch.map(({ change }) => change)))) {
        await sleep(clock, timing.changeRetryMs);
        continue;
      }
      this.#queued.splice(0, batch.length);
      for (const { done } of batch) done.resolve();
    }
    // In the same breath as the last look at the queue: what is queued from now on starts the next round.
    this.#isSending = false;
  }
}
