/**
 * Reads every copy on this peer again and again, at a gentle speed, and has what does not verify repaired.
 *
 * A pass goes through the entries in order of their keys and remembers durably how far it came, so that a restart goes
 * on from there. The next begins two weeks after the last began, or when somebody asks; also when the peer comes back
 * and the last is older than a day: it counts again by its digests alone (decision 13). Serves S5, S7.
 */
import { type Environment, sleep } from '../core/environment.js';
import { DfsError } from '../core/errors.js';
import type { IndexStore } from '../core/storage.js';
import type { ReplyOf } from '../protocol/messages.js';
import type { Incoming, Outgoing } from '../protocol/session.js';
import type { ClusterClock } from './cluster-clock.js';
import type { Copies } from './copies.js';
import type { Damage } from './damage.js';
import { type EntryKey, placedSize } from './entry.js';
import type { EntryIndex } from './entry-index.js';
import { decodeNumber, encodeNumber, justAfter, seal, unseal } from './index-layout.js';
import { Pace } from './pace.js';

export interface ScrubParts {
  readonly environment: Environment;
  readonly store: IndexStore;
  readonly index: EntryIndex;
  readonly copies: Copies;
  readonly damage: Damage;
  readonly clock: ClusterClock;
}

export type ScrubState = ReplyOf<'scrub'>;

const passEveryMs = 14 * 24 * 3_600_000;
/** Not at each of many restarts. */
const passAfterReturnMs = 24 * 3_600_000;
const usualBytesPerSecond = 8 * 1024 * 1024;
/** When somebody asked and waits. */
const askedBytesPerSecond = 100 * 1024 * 1024;
const keysAtOnce = 100;
const saveEveryMs = 5000;
/** What the smallest entry costs: reading a row takes its time too. */
const rowBytes = 512;

const stateKey = new TextEncoder().encode('scrub');

/** Of one pass. */
interface Progress {
  readonly startedMs: number;
  allSinceMs: number;
  /** The next key; undefined between two passes. */
  cursor: Uint8Array | undefined;
  entries: number;
  bytes: number;
  bad: number;
}

export class Scrub {
  readonly #parts: ScrubParts;
  readonly #pace: Pace;
  #progress: Progress;
  #hasJustReturned = true;
  #isAsked = false;
  #isStopped = false;
  #savedMs = 0;

  constructor(parts: ScrubParts) {
    this.#parts = parts;
    this.#progress = load(parts.store);
    const speed = (): number => (this.#isAsked ? askedBytesPerSecond : usualBytesPerSecond);
    this.#pace = new Pace(parts.environment.clock, speed);
  }

  get state(): ScrubState {
    const { cursor, ...state } = this.#progress;
    return { isRunning: cursor !== undefined, ...state };
  }

  /**
   * Begins a pass now: one that runs has perhaps passed by what the asker is worried about. Only one that was asked for
   * goes on, so that many who ask do not keep it from its end.
   */
  start(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    this.#begin();
  }

  /** The piece of work under way ends soon. */
  stop(): void {
    this.#isStopped = true;
  }

  /** One piece of work; to be called every second. */
  async look(): Promise<void> {
    const { clock, environment } = this.#parts;
    if (!clock.isTold) return;
    const everyMs = this.#hasJustReturned ? passAfterReturnMs : passEveryMs;
    this.#hasJustReturned = false;
    const isDue = clock.nowMs() - this.#progress.startedMs >= everyMs;
    if (this.#progress.cursor === undefined && isDue) this.#begin();
    const endMs = environment.clock.monotonicMs() + 1000;
    while (!this.#isStopped && this.#progress.cursor !== undefined && environment.clock.monotonicMs() < endMs) {
      await this.#page(this.#progress, this.#progress.cursor);
      // Others have their turn.
      await sleep(environment.clock, 0);
    }
  }

  #begin(): void {
    const startedMs = this.#parts.clock.nowMs();
    const { allSinceMs } = this.#progress;
    this.#progress = { startedMs, allSinceMs, cursor: new Uint8Array(0), entries: 0, bytes: 0, bad: 0 };
  }

  async #page(pass: Progress, from: Uint8Array): Promise<void> {
    const keys = this.#parts.store.keys('entries', { from, limit: keysAtOnce });
    for (const key of keys) {
      await this.#verify(pass, key);
      // Another pass was begun meanwhile.
      if (this.#isStopped || pass !== this.#progress) return;
    }
    const last = keys.at(-1);
    pass.cursor = keys.length < keysAtOnce || last === undefined ? undefined : justAfter(last);
    if (pass.cursor === undefined) {
      pass.allSinceMs = pass.startedMs;
      this.#isAsked = false;
    }
    await this.#save();
  }

  async #verify(pass: Progress, key: EntryKey): Promise<void> {
    const { index, copies, damage } = this.#parts;
    const found = index.lookup(key);
    if (found.state === 'absent') return;
    const bytes = found.state === 'present' ? placedSize(found.entry.placed) : 0;
    await this.#pace.take(bytes + rowBytes);
    pass.entries += 1;
    pass.bytes += bytes;
    const isGood = found.state === 'present' && (await copies.stateOf(found.entry)) === 'ok';
    if (isGood) return;
    // It may have been replaced while it was read.
    const now = index.lookup(key);
    if (now.state === 'absent') return;
    if (now.state === 'present' && (await copies.stateOf(now.entry)) === 'ok') return;
    pass.bad += 1;
    damage.found(key);
  }

  async #save(): Promise<void> {
    const { environment, store } = this.#parts;
    const nowMs = environment.clock.monotonicMs();
    if (this.#progress.cursor !== undefined && nowMs - this.#savedMs < saveEveryMs) return;
    this.#savedMs = nowMs;
    try {
      const row = seal(stateKey, encode(this.#progress));
      await store.transact((transaction) => transaction.put('meta', stateKey, row));
    } catch (error) {
      // On a full disk a pass goes on all the same.
      if (!(error instanceof DfsError)) throw error;
    }
  }
}

/** Started, all since, entries, bytes, bad as f64; then 1 and the cursor, or 0. */
function encode({ startedMs, allSinceMs, entries, bytes, bad, cursor }: Progress): Uint8Array {
  const numbers = [startedMs, allSinceMs, entries, bytes, bad].map(encodeNumber);
  return Buffer.concat([...numbers, Buffer.of(cursor === undefined ? 0 : 1), cursor ?? new Uint8Array(0)]);
}

/** A pass of which nothing readable is known begins anew. */
function load(store: IndexStore): Progress {
  const value = store.get('meta', stateKey);
  const row = value === undefined ? undefined : unseal(stateKey, value);
  if (row === undefined || row.length < 41) {
    return { startedMs: 0, allSinceMs: 0, entries: 0, bytes: 0, bad: 0, cursor: undefined };
  }
  const number = (at: number): number => decodeNumber(row.subarray(at * 8, at * 8 + 8));
  return {
    ...{ startedMs: number(0), allSinceMs: number(1), entries: number(2), bytes: number(3), bad: number(4) },
    cursor: row[40] === 1 ? row.slice(41) : undefined,
  };
}

export async function onScrubAsked(scrub: Scrub, request: Incoming<'scrub'>): Promise<Outgoing> {
  if (request.header.start) scrub.start();
  return { header: scrub.state };
}
