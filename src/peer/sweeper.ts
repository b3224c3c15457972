/**
 * Looks at what is due: tombstones and voids that have outlived the request ids, segments of idle uploads, replaced
 * files, old tables of request ids.
 *
 * Only a serving primary sweeps entries, as changes like any other (rules F13, F19); files that no entry names are each
 * replica's own affair. Everything is done a little at a time.
 */
import type { Log } from '../core/environment.js';
import { DfsError, isRefusal } from '../core/errors.js';
import { fromHex, toHex } from '../core/ids.js';
import type { ByteStore, FileId, IndexStore } from '../core/storage.js';
import { timing } from '../core/timing.js';
import type { Checkpoints } from './checkpoints.js';
import type { ClusterClock } from './cluster-clock.js';
import type { Commits } from './commit.js';
import type { Copies } from './copies.js';
import { bodyOf, type StoredEntry } from './entry.js';
import { decodeFileRow } from './entry-changes.js';
import type { EntryIndex } from './entry-index.js';
import { dueKey, justAfter } from './index-layout.js';
import type { Leadership } from './leadership.js';
import type { LedSlot } from './led-slot.js';
import type { OldIds } from './old-ids.js';
import type { Salvage } from './salvage.js';
import type { Uploads } from './uploads.js';

export interface SweeperParts {
  readonly log: Log;
  readonly store: IndexStore;
  readonly bytes: ByteStore;
  readonly index: EntryIndex;
  readonly copies: Copies;
  readonly salvage: Salvage;
  readonly commits: Commits;
  readonly leadership: Leadership;
  readonly uploads: Uploads;
  readonly oldIds: OldIds;
  readonly clock: ClusterClock;
  readonly checkpoints: Checkpoints;
  readonly sweepAfterMs: number;
}

const rowsAtOnce = 200;
const filesAtOnce = 500;
/** A file that no entry names may be one whose entry is about to be written. */
const strayAgeMs = 60 * 60_000;
const againMs = 5000;
/** A replica sweeps nothing; it looks again in case it is primary by then. */
const replicaLooksAgainMs = 60 * 60_000;

export class Sweeper {
  readonly #parts: SweeperParts;
  #fileCursor: Uint8Array = new Uint8Array(0);
  #strayCursor: FileId | undefined;
  #droppedBelow = 0;
  /** Bytes of replaced files that checkpoints need: of the round through all files that ended last, and of this one. */
  #keptBytes = { lastRound: 0, thisRound: 0 };

  constructor(parts: SweeperParts) {
    this.#parts = parts;
  }

  /** Of files that only checkpoints name. */
  get keptBytes(): number {
    return Math.max(this.#keptBytes.lastRound, this.#keptBytes.thisRound);
  }

  /** One round. */
  async sweep(): Promise<void> {
    if (!this.#parts.clock.isTold) return;
    await this.#sweepDue();
    await this.#sweepReplacedFiles();
    await this.#sweepStrays();
    await this.#dropOldIds();
  }

  async #sweepDue(): Promise<void> {
    const { store, clock } = this.#parts;
    const to = dueKey(clock.nowMs(), new Uint8Array(0));
    for (const row of store.keys('sweeps', { from: new Uint8Array(0), to, limit: rowsAtOnce })) {
      const nextMs = await this.#lookAt(row.subarray(8));
      const key = row.slice(8);
      if (nextMs !== undefined) {
        const slot = this.#parts.index.slotOf(key);
        await this.#parts.index.lookAt({ slot, slotEpoch: this.#parts.index.promiseOf(slot) }, nextMs, key);
      }
      await store.transact((transaction) => transaction.delete('sweeps', row));
    }
  }

  /** When to look at the entry again; undefined: never. */
  async #lookAt(key: Uint8Array): Promise<number | undefined> {
    const { index, leadership, clock, log } = this.#parts;
    const found = index.lookup(key);
    // Unreadable is not gone: it is repaired when it is read or compared, and must be found here then (F10).
    if (found.state === 'damaged') return clock.nowMs() + againMs;
    if (found.state === 'absent' || found.entry.kind === 'record') return undefined;
    const led = leadership.led(index.slotOf(key));
    if (led === undefined) return clock.nowMs() + Math.min(replicaLooksAgainMs, this.#parts.sweepAfterMs);
    if (!this.#canSweep(led)) return clock.nowMs() + againMs;
    try {
      switch (found.entry.kind) {
        case 'tombstone':
          return await this.#sweepTombstone(led, found.entry);
        case 'void':
          return await this.#sweepVoid(led, found.entry);
        case 'segment':
          return await this.#parts.uploads.sweepSegment(found.entry);
      }
    } catch (error) {
      if (!(error instanceof DfsError)) throw error;
      if (error.code !== 'cancelled') log.warn({ slot: led.slot, error: error.message }, 'a sweep is put off');
      return clock.nowMs() + againMs;
    }
  }

  /** A replica that is away may keep a question for as long as the master is, and with it everything swept after. */
  #canSweep(led: LedSlot): boolean {
    return led.phase === 'serving' && led.required().every((peer) => this.#parts.leadership.isReached(peer));
  }

  async #sweepTombstone(led: LedSlot, entry: StoredEntry): Promise<number | undefined> {
    // Its request ids outlive it; they are dropped a table at a time.
    if (this.#parts.index.idDigests(entry.key).length > 0) return this.#parts.clock.nowMs() + againMs;
    const removed = await this.#parts.commits.removeEverywhere(led, entry);
    return removed ? undefined : this.#parts.clock.nowMs() + againMs;
  }

  async #sweepVoid(led: LedSlot, entry: StoredEntry): Promise<number | undefined> {
    const { clock, uploads, commits, sweepAfterMs } = this.#parts;
    const endMs = bodyOf(entry, 'void').sinceMs + sweepAfterMs + timing.idKeepMs;
    // Without a hint taken its segments would belong to nobody for ever.
    if (!(await uploads.hint(entry))) return clock.nowMs() + againMs;
    if (clock.nowMs() < endMs) return endMs;
    return (await commits.removeEverywhere(led, entry)) ? undefined : clock.nowMs() + againMs;
  }

  /** Files whose entry names other bytes now, once nobody can be reading them any more and no checkpoint needs them. */
  async #sweepReplacedFiles(): Promise<void> {
    const { store, bytes, clock, checkpoints } = this.#parts;
    const rows = store.range('files', { from: this.#fileCursor, limit: filesAtOnce });
    const last = rows.at(-1);
    this.#fileCursor = last === undefined || rows.length < filesAtOnce ? new Uint8Array(0) : justAfter(last[0]);
    for (const [key, value] of rows) {
      const row = decodeFileRow(key, value);
      if (row?.state !== 'trash' || row.dueMs > clock.nowMs() || checkpoints.isHolding) continue;
      if (checkpoints.needs(toHex(key))) {
        this.#keptBytes.thisRound += (await sizeOrNothing(bytes, toHex(key))) ?? 0;
        continue;
      }
      await bytes.remove(toHex(key));
      await store.transact((transaction) => transaction.delete('files', key));
    }
    if (rows.length < filesAtOnce) this.#keptBytes = { lastRound: this.#keptBytes.thisRound, thisRound: 0 };
  }

  /** Files that no entry ever came to name, because their write was cut off, or that a new store has no use for. */
  async #sweepStrays(): Promise<void> {
    const { store, bytes, copies, salvage, clock, log, checkpoints } = this.#parts;
    if (salvage.isOpen) return;
    const files = await bytes.list(this.#strayCursor, filesAtOnce);
    this.#strayCursor = files.length < filesAtOnce ? undefined : files.at(-1)?.id;
    for (const { id, modifiedAtMs } of files) {
      const isKnown = store.get('files', fromHex(id)) !== undefined || copies.isStaged(id);
      if (isKnown || clock.nowMs() - modifiedAtMs < strayAgeMs) continue;
      // An index that was lost and begun anew names nothing of what the checkpoints do.
      if (checkpoints.isHolding || checkpoints.needs(id)) continue;
      log.info({ file: id }, 'removed a stray file');
      await bytes.remove(id);
    }
  }

  async #dropOldIds(): Promise<void> {
    const { leadership, oldIds, log } = this.#parts;
    const below = oldIds.keptFrom();
    if (below <= this.#droppedBelow) return;
    let isDone = true;
    for (const led of leadership.all()) {
      if (!this.#canSweep(led)) continue;
      try {
        // Also a joining one: it would be compared id by id.
        const joining = led.record.joining.filter((peer) => leadership.isReached(peer));
        await oldIds.drop(led, [...new Set([...led.required(), ...joining])]);
      } catch (error) {
        if (!(error instanceof DfsError)) throw error;
        log.debug({ slot: led.slot, error: error.message }, 'old request ids are dropped later');
        isDone = false;
      }
    }
    if (isDone) this.#droppedBelow = below;
  }
}

async function sizeOrNothing(bytes: ByteStore, id: FileId): Promise<number | undefined> {
  try {
    return await bytes.sizeOf(id);
  } catch (error) {
    if (!isRefusal(error, 'integrity')) throw error;
    return undefined;
  }
}
