/**
 * A slot in one term of this peer as its primary: who must hold a write, which writes are under way, and whether it
 * may serve.
 *
 * *Required* are the in-sync members of the newest record and everyone this primary has asked the master to add. It is
 * evaluated when a write commits, not when it starts (rule F6). The same term adopts newer records and goes on; another
 * term ends this object for ever (F9). One counter gives all versions of the term (F27). Serves S1, S3, S4.
 */
import type { SlotRecord } from '../cluster/map.js';
import { assert } from '../core/assert.js';
import { type Deferred, defer } from '../core/deferred.js';
import { DfsError, isRefusal, refuse } from '../core/errors.js';
import type { Epoch, PeerId, SlotNumber, Version } from '../core/ids.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { Probe } from '../core/probe.js';
import { timing } from '../core/timing.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import type { Answer } from '../protocol/session.js';
import type { Fence } from './entry-index.js';
import type { ReplicaLink } from './replica-link.js';
import { type Replicated, Replication } from './replication.js';

export type Phase = 'levelling' | 'serving' | 'sealed' | 'over';

export interface LedSlotWorld {
  readonly me: PeerId;
  readonly probe?: Probe | undefined;
  nowMs(): number;
  linkTo(peer: PeerId): ReplicaLink;
  /** A replica acts on a newer record than ours: fetch the map. */
  onNewerRecordSomewhere(slot: SlotNumber): void;
}

export type Fenced = Pick<RequestOf<'digests'>, 'slot' | 'slotEpoch' | 'term'>;

export class LedSlot {
  readonly slot: SlotNumber;
  readonly term: Epoch;
  /** One key: one change at a time. Every change, copy and roll-back of a key runs inside it (F3, F5). */
  readonly queue = new KeyedQueue();
  readonly #world: LedSlotWorld;
  readonly #pending = new Set<PeerId>();
  readonly #writes = new Set<Replication>();
  readonly #running = new Set<Promise<unknown>>();
  #record: SlotRecord;
  #phase: Phase = 'levelling';
  #counter = 0;
  #serving: Deferred<void> = defer();
  #adopted: Deferred<void> = defer();

  constructor(world: LedSlotWorld, slot: SlotNumber, record: SlotRecord) {
    assert(record.primary === world.me, 'Only a slot that names this peer as primary is led');
    this.#world = world;
    this.slot = slot;
    this.term = record.term;
    this.#record = record;
  }

  get record(): SlotRecord {
    return this.#record;
  }

  get probe(): Probe | undefined {
    return this.#world.probe;
  }

  get phase(): Phase {
    return this.#phase;
  }

  get isOver(): boolean {
    return this.#phase === 'over';
  }

  fence(): Fence {
    return { slot: this.slot, slotEpoch: this.#record.slotEpoch };
  }

  fenced(): Fenced {
    return { ...this.fence(), term: this.term };
  }

  /** Everyone but this peer whose answer a write needs. */
  required(): readonly PeerId[] {
    const members = this.#record.inSync.filter((peer) => peer !== this.#world.me);
    return [...members, ...[...this.#pending].filter((peer) => !members.includes(peer))];
  }

  isAlone(): boolean {
    return this.required().length === 0;
  }

  isRequired(peer: PeerId): boolean {
    return this.#record.inSync.includes(peer) || this.#pending.has(peer);
  }

  isHeldBy(peer: PeerId): boolean {
    return !this.isOver && (this.isRequired(peer) || this.#record.joining.includes(peer));
  }

  isPending(peer: PeerId): boolean {
    return this.#pending.has(peer);
  }

  nextVersion(): Version {
    this.#counter++;
    return { epoch: this.#record.slotEpoch, counter: this.#counter };
  }

  /** The newest version given so far; whatever is above it at a replica was given later (F3). */
  asOf(): Version {
    return { epoch: this.#record.slotEpoch, counter: this.#counter };
  }

  /** Until when reads may be answered without asking: the oldest lease over all required replicas. */
  leaseUntilMs(): number {
    let oldest = Infinity;
    for (const peer of this.required()) {
      oldest = Math.min(oldest, this.#world.linkTo(peer).grantedAtMs(this.slot, this.term));
    }
    return oldest + timing.leaseMs;
  }

  // --- Life ----------------------------------------------------------------------------------------------------------

  startServing(): void {
    if (this.#phase !== 'levelling' && this.#phase !== 'sealed') return;
    this.#phase = 'serving';
    this.probe?.at({ point: 'serving', led: this });
    this.#serving.resolve();
  }

  /**
   * No new reads, writes or leases until the map answers (F20). False: it does not serve, or somebody else sealed it.
   */
  seal(): boolean {
    if (this.#phase !== 'serving') return false;
    this.#phase = 'sealed';
    this.probe?.at({ point: 'sealed', slot: this.slot, term: this.term });
    this.#serving = defer();
    return true;
  }

  /** Resolves when the slot serves; refuses when this term is over. Callers wait with a deadline of their own. */
  async whenServing(): Promise<void> {
    while (this.#phase === 'levelling' || this.#phase === 'sealed') await this.#serving.promise;
    if (this.isOver) this.#refuseOver();
  }

  #refuseOver(): never {
    refuse('stale-term', `Slot ${this.slot} is no longer served here in term ${this.term}`, {
      advice: 'Fetch a newer cluster map',
    });
  }

  /** Takes a newer record of the same term: goes on with its queues and sends again what is unanswered (F9). */
  adopt(record: SlotRecord): void {
    assert(record.term === this.term && record.primary === this.#world.me, 'A record of another term is not adopted');
    if (record.slotEpoch <= this.#record.slotEpoch) return;
    this.#record = record;
    for (const peer of this.#pending) {
      // A pending replica stays required until a record neither lists it as joining nor awaits it (F17).
      if (record.inSync.includes(peer) || !record.joining.includes(peer)) this.#pending.delete(peer);
    }
    this.#wakeAdopted();
    this.stepWrites();
  }

  /** Another term began: what is under way has an unknown outcome, what waits was never sent. */
  stepDown(): void {
    if (this.isOver) return;
    this.#phase = 'over';
    this.probe?.at({ point: 'steppedDown', slot: this.slot, term: this.term });
    this.#serving.resolve();
    this.#wakeAdopted();
    for (const write of this.#writes) write.step();
    this.#writes.clear();
  }

  #wakeAdopted(): void {
    const adopted = this.#adopted;
    this.#adopted = defer();
    adopted.resolve();
  }

  /** Resolves at the next newer record, or the end of the term. */
  untilNewerRecord(): Promise<void> {
    return this.#adopted.promise;
  }

  // --- Writes --------------------------------------------------------------------------------------------------------

  /** From now on every write needs this joining replica, also those under way (F6). */
  require(peer: PeerId): void {
    if (this.#record.inSync.includes(peer) || !this.#record.joining.includes(peer)) return;
    this.#pending.add(peer);
    this.probe?.at({ point: 'required', slot: this.slot, term: this.term, peer });
    this.stepWrites();
  }

  /** Sends a change to all who are required; the caller ends it when the write has ended, however. */
  replicate(message: Replicated): Replication {
    const write = new Replication(this, message);
    this.#writes.add(write);
    write.step();
    return write;
  }

  end(write: Replication): void {
    this.#writes.delete(write);
    write.onEnded();
  }

  stepWrites(): void {
    for (const write of this.#writes) write.step();
  }

  /** Counts a change that is no replicated write (a sweep) among those under way. */
  async during<T>(change: () => Promise<T>): Promise<T> {
    const running = change();
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  /** Resolves when every change that is under way now has ended. */
  async writesBegunBefore(): Promise<void> {
    await Promise.allSettled([...[...this.#writes].map((write) => write.ended), ...this.#running]);
  }

  /**
   * Asks a replica until it answers or is no longer of this slot (`cancelled`). A replica that acts on a newer record
   * is asked again when that record has been adopted.
   */
  async ask<N extends MessageName>(
    peer: PeerId,
    name: N,
    header: (fenced: Fenced) => RequestOf<N>,
    bytes: { readonly payload?: Uint8Array | undefined; readonly sums?: Uint8Array | undefined } = {},
  ): Promise<Answer<N>> {
    for (;;) {
      const sentEpoch = this.#record.slotEpoch;
      try {
        return await this.#world.linkTo(peer).request(name, () => header(this.fenced()), {
          ...bytes,
          wanted: () => this.isHeldBy(peer),
        });
      } catch (error) {
        // The link was replaced: the replica has another address or store.
        if (isRefusal(error, 'cancelled') && this.isHeldBy(peer)) continue;
        if (!isRefusal(error, 'stale-epoch', 'wrong-role')) throw error;
        await this.#awaitRecordAbove(sentEpoch, error);
      }
    }
  }

  async #awaitRecordAbove(slotEpoch: Epoch, refusal: DfsError): Promise<void> {
    this.#world.onNewerRecordSomewhere(this.slot);
    while (!this.isOver && this.#record.slotEpoch <= slotEpoch) await this.untilNewerRecord();
    if (this.isOver) throw new DfsError('cancelled', `Slot ${this.slot} is led by another term`, { cause: refusal });
  }

  /** In-sync members, this peer included, that are in `durable`: what a receipt may claim (F23). */
  countInSync(durable: ReadonlySet<PeerId>): number {
    return this.#record.inSync.filter((peer) => peer === this.#world.me || durable.has(peer)).length;
  }
}
