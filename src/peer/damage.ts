/**
 * Copies here that are known to be bad, and their repair from other holders, again and again until one can give a good
 * one.
 *
 * What was found is written down first: a copy that came without its bytes, because nobody could read them (decision
 * 9), is mended also when their holder returns after this process was started again. One that fails waits longer each
 * time, but not once others hold its slot, and holds up no other. Serves S5, S7.
 */
import type { ClusterMap } from '../cluster/map.js';
import type { Environment } from '../core/environment.js';
import { DfsError, refuse } from '../core/errors.js';
import type { Epoch, SlotNumber } from '../core/ids.js';
import type { IndexStore } from '../core/storage.js';
import type { RequestOf } from '../protocol/messages.js';
import { inParallel } from './comparison.js';
import type { Copies } from './copies.js';
import { CopyReports } from './copy-reports.js';
import {
  bodyOf,
  type EntryKey,
  isNameKey,
  keyText,
  type Lookup,
  nameBytesOfKey,
  queueKeyOf,
  type StoredEntry,
} from './entry.js';
import type { EntryIndex } from './entry-index.js';
import { encodeNumber, justAfter, rangeOfSlot, seal } from './index-layout.js';
import type { Leadership } from './leadership.js';
import type { LedSlot } from './led-slot.js';
import type { Repair } from './repair.js';
import type { Replica } from './replica.js';

export interface DamageParts {
  readonly environment: Environment;
  readonly store: IndexStore;
  readonly index: EntryIndex;
  readonly copies: Copies;
  readonly repair: Repair;
  readonly replica: Replica;
  readonly leadership: Leadership;
  currentMap(): ClusterMap | undefined;
  /** For the log of events. */
  report(report: RequestOf<'report'>): void;
  /** The disk is broken, or there is a bug: the process must end. */
  onFailure(error: unknown): void;
}

const reportKinds = ['copy-damaged', 'copy-repaired'] as const;
type ReportKind = (typeof reportKinds)[number];

const rowsAtOnce = 100;
const parallelRepairs = 4;
const firstPauseMs = 1000;
const longestPauseMs = 5 * 60_000;
/** Of a copy that could not be repaired: when to try again, unless the slot's record is another one by then. */
interface Pause {
  readonly dueMs: number;
  readonly lengthMs: number;
  readonly slotEpoch: Epoch | undefined;
}

/** Characters of a name in a report. */
const shownNameMax = 600;

export class Damage {
  readonly #parts: DamageParts;
  readonly #pauses = new Map<string, Pause>();
  readonly #repairing = new Set<string>();
  readonly #untold: Readonly<Record<ReportKind, CopyReports>>;
  #count: number;
  #cursor: Uint8Array = new Uint8Array(0);

  constructor(parts: DamageParts) {
    this.#parts = parts;
    this.#count = parts.store.keys('damaged', { from: new Uint8Array(0) }).length;
    this.#untold = { 'copy-damaged': new CopyReports(), 'copy-repaired': new CopyReports() };
  }

  /** Copies known to be bad. */
  get count(): number {
    return this.#count;
  }

  /** Writes down that the copy under this key is bad, and begins to repair it; the caller goes on meanwhile. */
  found(key: EntryKey): void {
    this.#foundAndRepaired(key).catch((error: unknown) => this.#onNotNoted(error));
  }

  /** The same for a caller who has it repaired, or does not want it tried at once: `look` comes by within a second. */
  seen(key: EntryKey): void {
    this.note(key).catch((error: unknown) => this.#onNotNoted(error));
  }

  #onNotNoted(error: unknown): void {
    const { environment, onFailure } = this.#parts;
    if (error instanceof DfsError) {
      environment.log.warn({ error: error.message }, 'a damaged copy could not be written down');
    } else onFailure(error);
  }

  async #foundAndRepaired(key: EntryKey): Promise<void> {
    await this.note(key);
    // A disk that lost very many has them mended by and by, by `look`.
    if (this.#repairing.size < parallelRepairs) await this.#tryRepair(key);
  }

  /** Resolves when it is written down, for `look` to find. */
  async note(key: EntryKey): Promise<void> {
    const value = seal(key, encodeNumber(this.#parts.environment.clock.wallMs()));
    const isNew = await this.#parts.store.transact((transaction) => {
      if (transaction.get('damaged', key) !== undefined) return false;
      transaction.put('damaged', key, value);
      return true;
    });
    if (!isNew) return;
    this.#count += 1;
    this.#onChanged('copy-damaged', key);
  }

  /** Whether a copy of the slot is known to be bad here. */
  hasIn(slot: SlotNumber): boolean {
    const { store, index } = this.#parts;
    return store.keys('damaged', { ...rangeOfSlot(slot, index.slotCount), limit: 1 }).length > 0;
  }

  /** A copy that can be read, now: refuses `integrity` when no holder has a good one. */
  async repaired(led: LedSlot | undefined, key: EntryKey): Promise<StoredEntry> {
    const { repair, replica, index } = this.#parts;
    const isUnreadable = index.lookup(key).state === 'damaged';
    if (led === undefined && isUnreadable) return repair.bySettling(key);
    // What it took from one member now, another that was found level before would lack (F28).
    if (isUnreadable && led?.phase === 'levelling') refuse('not-ready', `Slot ${led.slot} is being levelled`);
    if (led === undefined) return replica.queue.run(queueKeyOf(key), () => repair.replica(key));
    return led.queue.run(queueKeyOf(key), () => repair.entry(led, key));
  }

  /** Reports what was found and repaired since the last time; to be called every second. */
  tell(): void {
    for (const kind of reportKinds) {
      const told = this.#untold[kind].take();
      if (told !== undefined) this.#parts.report({ kind, ...told });
    }
  }

  /** One round over some of what is written down. */
  async look(): Promise<void> {
    const keys = this.#parts.store.keys('damaged', { from: this.#cursor, limit: rowsAtOnce });
    const last = keys.at(-1);
    this.#cursor = last === undefined || keys.length < rowsAtOnce ? new Uint8Array(0) : justAfter(last);
    const nowMs = this.#parts.environment.clock.monotonicMs();
    const due = keys.filter((key) => {
      const pause = this.#pauses.get(keyText(key));
      return pause === undefined || pause.dueMs <= nowMs || pause.slotEpoch !== this.#slotEpochOf(key);
    });
    await inParallel(due, parallelRepairs, (key) => this.#tryRepair(key));
  }

  async #tryRepair(key: EntryKey): Promise<void> {
    const text = keyText(key);
    if (this.#repairing.has(text)) return;
    this.#repairing.add(text);
    const slotEpoch = this.#slotEpochOf(key);
    try {
      const { leadership, index, replica } = this.#parts;
      const led = leadership.led(index.slotOf(key));
      if (await this.#isBad(key)) await this.repaired(led, key);
      await (led ?? replica).queue.run(queueKeyOf(key), () => this.#strike(key));
      this.#pauses.delete(text);
    } catch (error) {
      if (!(error instanceof DfsError)) throw error;
      const lengthMs = Math.min(longestPauseMs, (this.#pauses.get(text)?.lengthMs ?? firstPauseMs / 2) * 2);
      this.#pauses.set(text, { dueMs: this.#parts.environment.clock.monotonicMs() + lengthMs, lengthMs, slotEpoch });
      this.#parts.environment.log.warn({ error: error.message }, 'a damaged copy could not be repaired yet');
    } finally {
      this.#repairing.delete(text);
    }
  }

  #slotEpochOf(key: EntryKey): Epoch | undefined {
    return this.#parts.currentMap()?.slots[this.#parts.index.slotOf(key)]?.slotEpoch;
  }

  /** In the key's queue, in which a copy that comes without its bytes is written down before it is stored. */
  async #strike(key: EntryKey): Promise<void> {
    // Its primary had perhaps no bytes to give either.
    if (await this.#isBad(key)) refuse('integrity', 'No other holder has good bytes of it now');
    const isStruck = await this.#parts.store.transact((transaction) => {
      if (transaction.get('damaged', key) === undefined) return false;
      transaction.delete('damaged', key);
      return true;
    });
    if (!isStruck) return;
    this.#count -= 1;
    if (this.#parts.index.lookup(key).state === 'present') this.#onChanged('copy-repaired', key);
  }

  #onChanged(kind: ReportKind, key: EntryKey): void {
    const { index } = this.#parts;
    this.#untold[kind].add({ slot: index.slotOf(key), what: describe(key, index.lookup(key)) });
  }

  async #isBad(key: EntryKey): Promise<boolean> {
    const found = this.#parts.index.lookup(key);
    if (found.state !== 'present') return found.state === 'damaged';
    return (await this.#parts.copies.stateOf(found.entry)) !== 'ok';
  }
}

/** What a key stands for, in words; names whose escapes would make it too long for a report are cut. */
function describe(key: EntryKey, found: Lookup): string {
  const quoted = (name: string): string => {
    const whole = JSON.stringify(name);
    return whole.length <= shownNameMax ? whole : `${whole.slice(0, shownNameMax).toWellFormed()}…`;
  };
  if (isNameKey(key)) {
    const [bucket = '', ...name] = Buffer.from(nameBytesOfKey(key)).toString().split('\0');
    return `${quoted(name.join('\0'))} in bucket ${bucket}`;
  }
  if (found.state !== 'present' || found.entry.kind !== 'segment') return 'an entry that cannot be read';
  const { bucket, name, index } = bodyOf(found.entry, 'segment');
  return `segment ${index} of ${quoted(name)} in bucket ${bucket}`;
}
