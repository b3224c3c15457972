/**
 * One write on its way to the replicas: sent to whoever is required, settled when all of them hold it durably.
 *
 * The set may change under way: a replica that becomes required gets the write too; one that the map removes is no
 * longer waited for. PacificA (Lin et al., 2008), §2.2. Serves S1.
 */
import { type Deferred, defer } from '../core/deferred.js';
import { DfsError, isRefusal } from '../core/errors.js';
import type { PeerId } from '../core/ids.js';
import type { RequestOf } from '../protocol/messages.js';
import type { Fenced, LedSlot } from './led-slot.js';

export interface Replicated {
  readonly header: Omit<RequestOf<'replicate'>, keyof Fenced>;
  readonly payload: Uint8Array | undefined;
  readonly sums: Uint8Array | undefined;
}

export class Replication {
  readonly #slot: LedSlot;
  readonly #message: Replicated;
  readonly #sentTo = new Set<PeerId>();
  readonly #asking = new Map<PeerId, Promise<void>>();
  readonly #durableAt = new Set<PeerId>();
  readonly #replicated: Deferred<void> = defer();
  readonly #ended: Deferred<void> = defer();
  #isOver = false;

  constructor(slot: LedSlot, message: Replicated) {
    this.#slot = slot;
    this.#message = message;
    // Whoever stages the bytes meanwhile looks at it later: until then a refusal has no listener.
    this.#replicated.promise.catch((error: unknown) => error);
  }

  /** Resolves when all required replicas hold it; rejects when one says no or the term ends. */
  get replicated(): Promise<void> {
    return this.#replicated.promise;
  }

  /** Resolves when the write has ended, however. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Everyone it was ever sent to: who may have to roll back. */
  get sentTo(): ReadonlySet<PeerId> {
    return this.#sentTo;
  }

  get durableAt(): ReadonlySet<PeerId> {
    return this.#durableAt;
  }

  /** None of it is on its way any more. */
  get isHeldByAll(): boolean {
    return this.#durableAt.size === this.#sentTo.size;
  }

  /** Resolves when nothing of it is on its way to the replica any more: a roll-back sent then cannot be overtaken. */
  async answeredBy(peer: PeerId): Promise<void> {
    await this.#asking.get(peer);
  }

  /** Nobody gets it any more: whoever has rolled back must not hold it again (F8). */
  giveUp(): void {
    this.#isOver = true;
  }

  onEnded(): void {
    this.#isOver = true;
    this.#ended.resolve();
  }

  /** Looks again at who is required: on a new record, an answer, or the end of the term. */
  step(): void {
    if (this.#slot.isOver) {
      this.#replicated.reject(
        new DfsError('unknown-outcome', `Slot ${this.#slot.slot} got another primary while the write was under way`),
      );
      return;
    }
    if (this.#isOver) return;
    const required = this.#slot.required();
    for (const peer of required) if (!this.#asking.has(peer) && !this.#durableAt.has(peer)) this.#send(peer);
    if (required.every((peer) => this.#durableAt.has(peer))) this.#replicated.resolve();
  }

  #send(peer: PeerId): void {
    this.#sentTo.add(peer);
    const asking = this.#slot
      .ask(peer, 'replicate', (fenced) => ({ ...fenced, ...this.#message.header }), this.#message)
      .then(
        () => {
          this.#asking.delete(peer);
          this.#durableAt.add(peer);
          this.#slot.probe?.at({ point: 'replicated', slot: this.#slot.slot, term: this.#slot.term, peer });
          this.step();
        },
        (error: unknown) => this.#onRefused(peer, error),
      );
    this.#asking.set(peer, asking);
  }

  #onRefused(peer: PeerId, error: unknown): void {
    this.#asking.delete(peer);
    // Cancelled: the record no longer names the peer, or the term is over; step() knows which.
    if (isRefusal(error, 'cancelled')) this.step();
    else if (this.#slot.isRequired(peer)) {
      this.giveUp();
      this.#replicated.reject(error);
    } else this.step();
  }
}
