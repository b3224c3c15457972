/**
 * The ordered, bounded log of what happened in the cluster and why, for people and `dfs events`.
 *
 * It is one small file, replaced moments after an event; nobody is shown an event before it is durable, so numbers have
 * no gaps and nobody sees one twice, whatever happens to the master. With the events goes the map they tell up to: what
 * a master that was killed had changed and not told, the next one tells from the difference.
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
  'map-recovered',
  'peer-joined',
  'peer-answered',
  'peer-started',
  'peer-replaced',
  'peer-suspect',
  'peer-down',
  'peer-stopped',
  'peer-up',
  'peer-out',
  'peer-changed',
  'peer-full',
  'peer-slow',
  'peer-removed',
  'settings-changed',
  'copy-damaged',
  'copy-repaired',
  'copies-made',
  'promoted',
  'handed-over',
  'waiting',
  'copy-joining',
  'copy-added',
  'copy-removed',
  'health',
  'checkpoint-made',
  'checkpoint-removed',
] as const;
export type EventKind = (typeof eventKinds)[number];

export type NewEvent = Pick<ClusterEvent, 'kind' | 'text'> &
  Partial<Pick<ClusterEvent, 'peer' | 'slots' | 'data' | 'epoch'>>;

const eventsMax = 1000;
const slotsKeptMax = 100_000; // bounds the file and an answer by what makes an event large
const eventsFile = 'events';

interface StoredEvents {
  readonly nextSeq: number;
  readonly events: readonly ClusterEvent[];
  /** The encoded map that the events tell up to, in base64. */
  readonly map?: string;
}

export class EventLog {
  readonly #files: SmallFiles;
  readonly #log: Log;
  readonly #nowMs: () => number;
  /** Called with each event once it is durable. */
  onKept: (event: ClusterEvent) => void = () => undefined;
  #events: ClusterEvent[];
  #unsaved: ClusterEvent[] = [];
  #nextSeq: number;
  #map: string | undefined;
  #saving: Promise<void> = Promise.resolve();
  readonly #waiting = new Set<() => void>();

  private constructor(files: SmallFiles, log: Log, nowMs: () => number, stored: StoredEvents) {
    this.#files = files;
    this.#log = log;
    this.#nowMs = nowMs;
    this.#events = [...stored.events];
    this.#nextSeq = stored.nextSeq;
    this.#map = stored.map;
  }

  /** A damaged log is no reason not to start: it is begun anew, above any number shown before by the clock. */
  static async load(files: SmallFiles, log: Log, nowMs: () => number): Promise<EventLog> {
    return new EventLog(files, log, nowMs, await readStored(files, log, nowMs));
  }

  /** The encoded map that the log tells up to; undefined when nothing was told of any. */
  get toldMap(): Uint8Array | undefined {
    return this.#map === undefined ? undefined : new Uint8Array(Buffer.from(this.#map, 'base64'));
  }

  /** All that led to this map has been added. */
  set toldMap(encoded: Uint8Array) {
    this.#map = Buffer.from(encoded).toString('base64');
  }

  /** Shown to nobody before it is saved. */
  add(event: NewEvent & { readonly epoch: Epoch }): void {
    const full: ClusterEvent = {
      seq: this.#nextSeq,
      at: toIsoTime(this.#nowMs()),
      data: {},
      ...event,
    };
    this.#nextSeq += 1;
    this.#unsaved.push(full);
    const { text, slots, ...fields } = full;
    this.#log.info(slots === undefined ? fields : { ...fields, slotCount: slots.length }, text);
  }

  /** Oldest first. */
  after(seq: number, limit: number): readonly ClusterEvent[] {
    const first = this.#events.findIndex((event) => event.seq > seq);
    return first === -1 ? [] : this.#events.slice(first, first + limit);
  }

  /** Resolves when an event may have been added, or the signal fires. */
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

  /** Makes what was added durable, and shows it; cheap when nothing was. */
  save(): Promise<void> {
    const saveNow = (): Promise<void> => this.#saveNow();
    // A save that failed was told to whoever asked for it, and what it held is unsaved again: this one tries it too.
    this.#saving = this.#saving.then(saveNow, saveNow);
    return this.#saving;
  }

  async #saveNow(): Promise<void> {
    const added = this.#unsaved;
    if (added.length === 0) return;
    this.#unsaved = [];
    const events = trimmed([...this.#events, ...added]);
    const nextSeq = 1 + (added.at(-1)?.seq ?? 0);
    const stored: StoredEvents = { nextSeq, events, ...(this.#map === undefined ? {} : { map: this.#map }) };
    try {
      await replaceSealed(this.#files, eventsFile, Buffer.from(JSON.stringify(stored)));
    } catch (error) {
      this.#unsaved = [...added, ...this.#unsaved].slice(-eventsMax);
      throw error;
    }
    this.#events = events;
    for (const event of added) this.onKept(event);
    for (const wake of this.#waiting) wake();
  }
}

function trimmed(events: readonly ClusterEvent[]): ClusterEvent[] {
  const kept = events.slice(-eventsMax);
  let slots = kept.reduce((sum, event) => sum + (event.slots?.length ?? 0), 0);
  while (slots > slotsKeptMax && kept.length > 1) slots -= kept.shift()?.slots?.length ?? 0;
  return kept;
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
