/**
 * One round over the holders of a slot: each is asked once at most, the next one when one fails, is late (hedging.ts)
 * or has been silent for a while. The first good answer wins; whoever else was asked is told that it need not answer.
 */
import type { PeerRecord } from '../cluster/map.js';
import { type Deferred, defer } from '../core/deferred.js';
import type { Clock } from '../core/environment.js';
import type { DfsError } from '../core/errors.js';
import { timing } from '../core/timing.js';
import type { Hedging } from './hedging.js';

/** For `Attempt`. */
export interface AskWatch {
  readonly signal: AbortSignal;
  onSlow(quietMs: number): void;
}

export interface RoundParts<T> {
  readonly clock: Clock;
  readonly hedging: Hedging;
  readonly holders: readonly PeerRecord[];
  readonly tally: ReadTally;
  ask(peer: PeerRecord, watch: AskWatch): Promise<T>;
  /** Says what the failure is, and whether no other holder would better it. */
  onFailure(peer: PeerRecord, failed: unknown): { readonly error: DfsError; readonly isFinal: boolean };
}

/** How many requests a read took, counted while it runs. */
export interface ReadTally {
  requests: number;
  /** Those of them that asked a second holder because the first was late or silent. */
  hedges: number;
}

interface Ask {
  readonly controller: AbortController;
  readonly sinceMs: number;
  /** Another holder was asked because of this one. */
  isFollowed: boolean;
  /** Stops waiting for it to be late. */
  settle(): void;
}

export class HolderRound<T> {
  readonly failures: DfsError[] = [];
  readonly #parts: RoundParts<T>;
  readonly #underWay = new Set<Ask>();
  readonly #good: Deferred<{ readonly value: T } | undefined> = defer();
  #askedCount = 0;
  #isOver = false;

  constructor(parts: RoundParts<T>) {
    this.#parts = parts;
  }

  /** Undefined when every holder failed; a final failure ends the round early. */
  run(): Promise<{ readonly value: T } | undefined> {
    this.#parts.hedging.onRead();
    this.#askNext();
    return this.#good.promise;
  }

  #askNext(): void {
    const peer = this.#parts.holders[this.#askedCount];
    if (peer === undefined) {
      if (this.#underWay.size === 0) this.#end(undefined);
      return;
    }
    this.#askedCount += 1;
    this.#parts.tally.requests += 1;
    const asked = this.#begin();
    const watch = { signal: asked.controller.signal, onSlow: (quietMs: number) => this.#onQuiet(asked, peer, quietMs) };
    this.#parts.ask(peer, watch).then(
      (value) => this.#onGood(value),
      (error: unknown) => this.#onFailed(asked, peer, error),
    );
  }

  #begin(): Ask {
    const { clock, hedging } = this.#parts;
    const sinceMs = clock.monotonicMs();
    const late = clock.after(hedging.lateAfterMs(sinceMs), () => this.#onLate(asked));
    const asked: Ask = { controller: new AbortController(), sinceMs, isFollowed: false, settle: () => late.cancel() };
    this.#underWay.add(asked);
    return asked;
  }

  get #hasMore(): boolean {
    return this.#askedCount < this.#parts.holders.length;
  }

  #onLate(asked: Ask): void {
    if (!asked.isFollowed && this.#hasMore && this.#parts.hedging.take()) this.#follow(asked);
  }

  /** Whoever says nothing at all may be gone: that another one is asked then is no luxury, and costs no share. */
  #onQuiet(asked: Ask, peer: PeerRecord, quietMs: number): void {
    if (this.#isOver || asked.isFollowed || quietMs < timing.silentHolderMs) return;
    this.#parts.hedging.onSilent(peer.id, this.#parts.clock.monotonicMs());
    if (this.#hasMore) this.#follow(asked);
  }

  #follow(asked: Ask): void {
    asked.isFollowed = true;
    this.#parts.tally.hedges += 1;
    this.#askNext();
  }

  #onGood(value: T): void {
    if (!this.#isOver) this.#end({ value });
  }

  #onFailed(asked: Ask, peer: PeerRecord, failed: unknown): void {
    if (this.#isOver) return;
    asked.settle();
    this.#underWay.delete(asked);
    const { error, isFinal } = this.#parts.onFailure(peer, failed);
    this.failures.push(error);
    if (isFinal) this.#end(undefined);
    else this.#askNext();
  }

  #end(good: { readonly value: T } | undefined): void {
    this.#isOver = true;
    const nowMs = this.#parts.clock.monotonicMs();
    for (const asked of this.#underWay) {
      asked.settle();
      // Of those that were overtaken it is known that they took at least so long.
      this.#parts.hedging.onEnded(nowMs - asked.sinceMs, nowMs);
      asked.controller.abort();
    }
    this.#good.resolve(good);
  }
}
