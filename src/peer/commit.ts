/**
 * One change of a slot, from its version to its visibility: replicate, stage, commit, count; or roll back.
 *
 * The primary's index holds committed writes only. The order is the promise: bytes and entries are durable on every
 * required replica before the primary's own entry makes the change visible, and that before anyone is told (S1, S2).
 */
import { DfsError, isRefusal, StorageFailure } from '../core/errors.js';
import { compareVersions, type PeerId, type TimedId } from '../core/ids.js';
import { givePayloadMemory } from '../core/payload-memory.js';
import type { ReplyOf } from '../protocol/messages.js';
import type { Comparison } from './comparison.js';
import type { Copies } from './copies.js';
import { type Entry, type EntryKey, type Placed, queueKeyOf } from './entry.js';
import { type EntryIndex, type RequestMark, toWireMark } from './entry-index.js';
import type { LedSlot } from './led-slot.js';
import type { Replication } from './replication.js';

export interface CommitParts {
  readonly index: EntryIndex;
  readonly copies: Copies;
  readonly comparison: Comparison;
  me(): PeerId;
  replicasWanted(): number;
  minInSync(): number;
  /** Resolves when the newest map is durable here. */
  mapDurable(): Promise<void>;
}

export interface Content {
  readonly bytes: Uint8Array;
  readonly sums: Uint8Array;
  /** Where the bytes are already on this disk, when they are. */
  readonly placed?: Placed;
}

export const noContent: Content = { bytes: new Uint8Array(0), sums: new Uint8Array(0) };

export type Acknowledged = ReplyOf<'put'>;

type Committed = Pick<Entry, 'key' | 'version'>;

export class Commits {
  readonly #parts: CommitParts;

  constructor(parts: CommitParts) {
    this.#parts = parts;
  }

  /**
   * Commits one entry with its bytes, and with it entries that belong to the change. The caller holds the key's queue
   * and has seen the slot serving in this very turn. The memory of the content is no longer the caller's. Refuses
   * `unknown-outcome`, or what a replica refused after every one has rolled back (F8).
   */
  async commit(
    led: LedSlot,
    entries: readonly [Entry, ...Entry[]],
    content: Content,
    mark?: RequestMark,
  ): Promise<Acknowledged> {
    const { index, copies } = this.#parts;
    const [first, ...others] = entries;
    const facts = { slot: led.slot, term: led.term, key: first.key, version: first.version };
    led.probe?.at({ point: 'versionGiven', ...facts });
    const replication = led.replicate({
      header: {
        entries: entries.map((entry) => ({ ...entry, sums: entry === first ? content.sums : new Uint8Array(0) })),
        ...toWireMark(mark),
      },
      payload: content.bytes.length === 0 ? undefined : content.bytes,
      sums: content.bytes.length === 0 ? undefined : content.sums,
    });
    try {
      const staging = content.placed ?? copies.stage(first, content.bytes, content.sums);
      // What a restart forgets, a recovery of the map would not hear of: by such a record nothing is visible (F14).
      const complete = replication.replicated.then(() => this.#parts.mapDurable());
      const [staged, replicated] = await Promise.allSettled([staging, complete]);
      if (staged.status === 'rejected') return await this.#rollBack(led, { entries, mark }, replication, staged.reason);
      if (replicated.status === 'rejected') {
        if (content.placed === undefined) await copies.discard(staged.value);
        return await this.#rollBack(led, { entries, mark }, replication, replicated.reason);
      }
      led.probe?.at({ point: 'allReplicasAnswered', ...facts });
      const stored = [{ ...first, placed: staged.value }, ...others.map((entry) => ({ ...entry, placed: noPlace }))];
      try {
        await index.write(led.fence(), stored, mark).catch(onOwnCommitFailed);
      } finally {
        if (staged.value.where === 'file') copies.release(staged.value);
      }
      // A replica that left meanwhile may still be sent it.
      if (replication.isHeldByAll) givePayloadMemory(content.bytes);
      const { slotEpoch } = led.record;
      led.probe?.at({ point: 'ownEntryCommitted', slotEpoch, ...facts, ...requestOf(mark) });
      return this.acknowledge(led, first, replication.durableAt, mark);
    } catch (error) {
      // The process ends. Replicas may hold what is missing here: until then nothing may be decided on what is here.
      if (!(error instanceof DfsError)) led.stepDown();
      throw error;
    } finally {
      led.end(replication);
    }
  }

  /** What a receipt may claim now: members of the committed set that answered durable (F23). */
  acknowledge(led: LedSlot, entry: Committed, durableAt: ReadonlySet<PeerId>, mark?: RequestMark): Acknowledged {
    const durable = led.countInSync(durableAt);
    if (durable < this.#parts.minInSync()) {
      throw new DfsError(
        'unknown-outcome',
        `A change in slot ${led.slot} is on ${durable} copies, fewer than min-in-sync`,
        {
          advice: 'Retry with the same request id once more copies are in sync',
        },
      );
    }
    const { slotEpoch } = led.record;
    const { key, version } = entry;
    led.probe?.at({
      point: 'acknowledging',
      slot: led.slot,
      term: led.term,
      slotEpoch,
      key,
      version,
      ...requestOf(mark),
      durable: led.record.inSync.filter((peer) => peer === this.#parts.me() || durableAt.has(peer)),
    });
    return {
      version,
      slotEpoch,
      copies: { durable, wanted: this.#parts.replicasWanted() },
      primary: this.#parts.me(),
      backups: led.record.inSync.filter((peer) => peer !== this.#parts.me()),
    };
  }

  /** A change that is committed already: every in-sync member holds it. */
  acknowledgeAgain(led: LedSlot, entry: Committed, mark?: RequestMark): Acknowledged {
    return this.acknowledge(led, entry, new Set(led.record.inSync), mark);
  }

  /**
   * Takes back, everywhere it was sent, what could not be committed; then says why. While one replica has not confirmed
   * that, the outcome is unknown (F8).
   */
  async #rollBack(
    led: LedSlot,
    { entries, mark }: { entries: readonly [Entry, ...Entry[]]; mark: RequestMark | undefined },
    replication: Replication,
    cause: unknown,
  ): Promise<never> {
    if (!(cause instanceof DfsError)) throw cause;
    if (led.isOver || isRefusal(cause, 'unknown-outcome')) throw outcomeUnknown(cause);
    replication.giveUp();
    const settled = [...replication.sentTo].map(async (peer) => {
      // Bytes that wait for credit are overtaken by what is sent later: first nothing of the write may be under way.
      await replication.answeredBy(peer);
      for (const { key } of entries) await this.#settleAt(led, peer, key);
    });
    const failed = (await Promise.allSettled(settled)).find((each) => each.status === 'rejected');
    if (failed !== undefined && !(failed.reason instanceof DfsError)) throw failed.reason;
    if (led.isOver || failed !== undefined) throw outcomeUnknown(failed?.reason ?? cause);
    const [{ key, version }] = entries;
    const facts = { slot: led.slot, term: led.term, key, version };
    // An entry here that could not be read any more was taken from a replica, which may have had this very write (F10).
    const found = this.#parts.index.lookup(key);
    const isTaken = found.state === 'present' && compareVersions(found.entry.version, version) === 0;
    if (isTaken) {
      const { slotEpoch } = led.record;
      led.probe?.at({ point: 'ownEntryCommitted', slotEpoch, ...facts, ...requestOf(mark) });
    }
    if (isTaken || found.state === 'damaged') throw outcomeUnknown(cause);
    led.probe?.at({ point: 'rolledBack', ...facts });
    throw cause;
  }

  async #settleAt(led: LedSlot, peer: PeerId, key: EntryKey): Promise<void> {
    if (!led.isHeldBy(peer)) return;
    try {
      await this.#parts.comparison.settleKey(led, peer, { key });
    } catch (error) {
      // No longer a member: whatever it holds is settled before it may become one again.
      if (!isRefusal(error, 'cancelled')) throw error;
    }
  }

  async #dropAt(led: LedSlot, peer: PeerId, key: EntryKey): Promise<void> {
    const asOf = led.asOf();
    try {
      await led.ask(peer, 'settle', (fenced) => ({ ...fenced, key, asOf }));
    } catch (error) {
      // No longer a member: the others have dropped it, and this one is settled before it may become one again.
      if (led.isOver || !isRefusal(error, 'cancelled')) throw error;
    }
  }

  /**
   * Removes an entry that still has this version, from all required replicas first and from here last (F19). Resolves
   * to whether it did: not while a replica is joining. What cannot be removed here is given back to the replicas.
   */
  removeEverywhere(led: LedSlot, entry: Entry): Promise<boolean> {
    return led.queue.run(queueKeyOf(entry.key), () =>
      led.during(async () => {
        if (led.phase !== 'serving' || led.record.joining.length > 0) return false;
        const found = this.#parts.index.lookup(entry.key);
        if (found.state !== 'present' || compareVersions(found.entry.version, entry.version) !== 0) return false;
        const { key, version } = entry;
        led.probe?.at({ point: 'sweeping', slot: led.slot, term: led.term, key, version });
        const drop = (peer: PeerId) => this.#dropAt(led, peer, key);
        await Promise.all(led.required().map(drop));
        try {
          return await this.#parts.index.remove(led.fence(), entry.key, entry.version);
        } catch (error) {
          if (!isRefusal(error, 'no-space')) throw error;
          await Promise.all(led.required().map((peer) => this.#settleAt(led, peer, entry.key)));
          throw error;
        }
      }),
    );
  }
}

const noPlace: Placed = { where: 'none' };

function requestOf(mark: RequestMark | undefined): { readonly requestId?: TimedId } {
  return mark === undefined ? {} : { requestId: mark.id };
}

function onOwnCommitFailed(error: unknown): never {
  if (isRefusal(error, 'stale-epoch')) throw outcomeUnknown(error);
  // All replicas hold the write: it can neither be refused nor acknowledged here any more (F8).
  if (isRefusal(error, 'no-space'))
    throw new StorageFailure('No space for the index commit of a replicated write', { cause: error });
  throw error;
}

function outcomeUnknown(cause: DfsError): DfsError {
  if (cause.code === 'unknown-outcome') return cause;
  return new DfsError('unknown-outcome', `The write could be neither committed nor taken back: ${cause.message}`, {
    cause,
  });
}
