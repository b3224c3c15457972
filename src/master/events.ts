/**
 * The ordered, bounded log of what happened in the cluster and why, for people and `dfs events`.
 *
 * Kept over a restart in one small file that is replaced now and then, not at every event: after a crash the newest
 * lines may be missing, and numbering goes on above any number that can have been shown, so that followers never see
 * one twice.
 */

import type { Log } from '../core/environment.js';
import type { Epoch, PeerId, SlotNumber } from '../core/ids.js';
import { toIsoTime } from '../core/iso-time.js';
import type { SmallFiles } from '../core/storage.js';
import { readSealed, replaceSealed } from './sealed-file.js';

export interface ClusterEvent {
  readonly seq: number;
  /** ISO 8601, by the cluster's clock. */
  readonly at: string;
  readonly epoch: Epoch;
  readonly kind: EventKind;
  readonly peer?: PeerId;
  readonly slots?: readonly SlotNumber[];
  /** One sentence for people. */
  readonly text: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export const eventKinds = [
  'master-started',
  'master-late',
  'cluster-created',
  'peer-joined',
  'peer-started',
  'peer-replaced',
  'peer-suspect',
  'peer-down',
  'peer-stopped',
  'peer-up',
  'peer-out',
  'peer-changed',
  'peer-removed',
  'settings-changed',
  'copy-damaged',
  'copy-repaired',
  'promoted',
  'handed-over',
  'waiting',
  'copy-joining',
  'copy-added',
  'copy-removed',
  'health',
] as const;
export type EventKind = (typeof eventKinds)[number];

export type NewEvent = Pick<ClusterEvent, 'kind' | 'text'> &
  Partial<Pick<ClusterEvent, 'peer' | 'slots' | 'data' | 'epoch'>>;

const eventsMax = 1000;
const slotsKeptMax = 100_000; // bounds the file and an answer by what makes an event large
const seqReserve = 1000;
const eventsFile = 'events';

interface StoredEvents {
  readonly nextSeq: number;
  readonly events: readonly ClusterEvent[];
}

export class EventLog {
  readonly #files: SmallFiles;
  readonly #log: Log;
  readonly #nowMs: () => number;
  #events: ClusterEvent[];
  #nextSeq: number;
  #seqReserved: number;
  #isSaved = true;
  #saving: Promise<void> = Promise.resolve();
  readonly #waiting = new Set<() => void>();

  private constructor(files: SmallFiles, log: Log, nowMs: () => number, stored: StoredEvents) {
    this.#files = files;
    this.#log = log;
    this.#nowMs = nowMs;
    this.#events = [...stored.events];
    this.#nextSeq = stored.nextSeq;
    this.#seqReserved = stored.nextSeq;
  }

  /** A damaged log is no reason not to start: it is begun anew, above any number shown before by the clock. */
  static async load(files: SmallFiles, log: Log, nowMs: () => number): Promise<EventLog> {
    return new EventLog(files, log, nowMs, await readStored(files, log, nowMs));
  }

  add(event: NewEvent & { readonly epoch: Epoch }): ClusterEvent {
    const full: ClusterEvent = {
      seq: this.#nextSeq,
      at: toIsoTime(this.#nowMs()),
      data: {},
      ...event,
    };
    this.#nextSeq += 1;
    this.#events.push(full);
    this.#trim();
    this.#isSaved = false;
    const { text, slots, ...fields } = full;
    this.#log.info(slots === undefined ? fields : { ...fields, slotCount: slots.length }, text);
    for (const wake of this.#waiting) wake();
    if (this.#nextSeq >= this.#seqReserved) this.#saveSoon();
    return full;
  }

  /** Oldest first. */
  after(seq: number, limit: number): readonly ClusterEvent[] {
    const first = this.#events.findIndex((event) => event.seq > seq);
    return first === -1 ? [] : this.#events.slice(first, first + limit);
  }

  /** Resolves when an event was added, or the signal fires. */
  next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      if (signal.aborted) return resolve();
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  /** Makes what was added durable; cheap when nothing was. */
  save(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#saveNow(this.#nextSeq + seqReserve));
    return this.#saving;
  }

  /** The last save: numbering goes on without a gap. */
  async close(): Promise<void> {
    await this.#saving;
    this.#isSaved = false;
    await this.#saveNow(this.#nextSeq);
  }

  #saveSoon(): void {
    this.#seqReserved = this.#nextSeq + seqReserve;
    this.save().catch((error) => this.#log.error({ error: String(error) }, 'The event log could not be saved'));
  }

  async #saveNow(nextSeq: number): Promise<void> {
    if (this.#isSaved) return;
    this.#isSaved = true;
    this.#seqReserved = nextSeq;
    const stored: StoredEvents = { nextSeq, events: this.#events };
    await replaceSealed(this.#files, eventsFile, Buffer.from(JSON.stringify(stored)));
  }

  #trim(): void {
    let slots = this.#events.reduce((sum, event) => sum + (event.slots?.length ?? 0), 0);
    while (this.#events.length > eventsMax || (slots > slotsKeptMax && this.#events.length > 1)) {
      slots -= this.#events.shift()?.slots?.length ?? 0;
    }
  }
}

async function readStored(files: SmallFiles, log: Log, nowMs: () => number): Promise<StoredEvents> {
  try {
    const content = await readSealed(files, eventsFile);
    if (content === undefined) return { nextSeq: 1, events: [] };
    return JSON.parse(Buffer.from(content).toString()) as StoredEvents;
  } catch (error) {
    log.warn({ error: String(error) }, 'The event log could not be read; a new one is begun');
    return { nextSeq: nowMs(), events: [] };
  }
}
