/**
 * Failures as a person would tell them: the events from when something went wrong until all was well again. Pure.
 */
import type { PeerId } from '../core/ids.js';
import { fromIsoTime, toIsoTime } from '../core/iso-time.js';
import { timing } from '../core/timing.js';
import type { ClusterEvent } from './results.js';

export interface IncidentStep {
  /** Since it failed. */
  readonly afterSeconds: number;
  readonly text: string;
}

export interface Incident {
  /** The `seq` of its first event. */
  readonly id: number;
  readonly startedAt: string;
  /** Null while it lasts. */
  readonly endedAt: string | null;
  readonly lastedSeconds: number;
  /** Until the master knew that a peer had failed; null when none had. */
  readonly noticedAfterSeconds: number | null;
  /** Until others led all that the first to fail had led; null when there was nothing to lead. */
  readonly promotedAfterSeconds: number | null;
  /** Who failed, in order. */
  readonly peers: readonly PeerId[];
  /** At its worst. */
  readonly health: 'healthy' | 'degraded' | 'unavailable';
  readonly copiedBytes: number;
  readonly steps: readonly IncidentStep[];
}

type Health = Incident['health'];

const failures: ReadonlySet<string> = new Set(['peer-down', 'peer-stopped', 'waiting']);
const returns: ReadonlySet<string> = new Set(['peer-up', 'peer-started', 'peer-replaced', 'peer-removed']);
/** A silence that ended in a death belongs to it. */
const suspicionMs = 3000;

/** Oldest first. `events` are in order, without gaps. */
export function incidentsOf(events: readonly ClusterEvent[]): readonly Incident[] {
  const incidents: Incident[] = [];
  let open: OpenIncident | undefined;
  let suspicion: ClusterEvent | undefined;
  for (const event of events) {
    if (open === undefined && event.kind === 'peer-suspect') suspicion = event;
    if (open === undefined && (failures.has(event.kind) || (healthIn(event) ?? 'healthy') !== 'healthy')) {
      const isFirst =
        suspicion !== undefined && suspicion.peer === event.peer && millisOf(event) - millisOf(suspicion) < suspicionMs;
      open = new OpenIncident(isFirst && suspicion !== undefined ? [suspicion] : []);
      suspicion = undefined;
    }
    if (open === undefined) continue;
    open.add(event);
    if (!open.isOver(event)) continue;
    incidents.push(open.told(event));
    open = undefined;
  }
  if (open !== undefined) incidents.push(open.told(undefined));
  return incidents;
}

class OpenIncident {
  readonly #events: ClusterEvent[];
  readonly #down = new Set<PeerId>();
  readonly #failed = new Set<PeerId>();
  #worst: Health = 'healthy';

  constructor(events: ClusterEvent[]) {
    this.#events = events;
  }

  add(event: ClusterEvent): void {
    this.#events.push(event);
    const { kind, peer } = event;
    if (peer !== undefined && failures.has(kind)) {
      this.#down.add(peer);
      this.#failed.add(peer);
    }
    if (peer !== undefined && returns.has(kind)) this.#down.delete(peer);
    const health = healthIn(event);
    if (health === 'unavailable' || (health === 'degraded' && this.#worst === 'healthy')) this.#worst = health;
  }

  /** Once all is well; where nothing ever lacked a copy, once all are back. */
  isOver(event: ClusterEvent): boolean {
    if (healthIn(event) === 'healthy') return true;
    return this.#worst === 'healthy' && returns.has(event.kind) && this.#down.size === 0;
  }

  told(last: ClusterEvent | undefined): Incident {
    const first = this.#events[0] as ClusterEvent;
    const end = last ?? (this.#events.at(-1) as ClusterEvent);
    const noticed = this.#events.find(({ kind, peer }) => peer !== undefined && failures.has(kind));
    const promoted = this.#events.findLast(
      ({ kind, data }) => kind === 'promoted' && noticed?.peer !== undefined && data.from === noticed.peer,
    );
    const startedMs = Math.min(millisOf(first), noticed === undefined ? Number.POSITIVE_INFINITY : failedMs(noticed));
    const after = (event: ClusterEvent): number => (millisOf(event) - startedMs) / 1000;
    const copied = this.#events.map(({ data }) => (typeof data.copiedBytes === 'number' ? data.copiedBytes : 0));
    return {
      id: first.seq,
      startedAt: toIsoTime(startedMs),
      endedAt: last?.at ?? null,
      lastedSeconds: after(end),
      noticedAfterSeconds: noticed === undefined ? null : after(noticed),
      promotedAfterSeconds: promoted === undefined ? null : after(promoted),
      peers: [...this.#failed],
      health: this.#worst,
      copiedBytes: copied.reduce((sum, bytes) => sum + bytes, 0),
      steps: this.#events.map((event) => ({ afterSeconds: after(event), text: event.text })),
    };
  }
}

function healthIn({ kind, data }: ClusterEvent): Health | undefined {
  return kind === 'health' ? (data.health as Health) : undefined;
}

function millisOf({ at }: ClusterEvent): number {
  return fromIsoTime(at);
}

/**
 * When it failed, as well as pings can tell: a silent peer at some moment between its last answer and the next ping,
 * one whose process is gone just before that was noticed.
 */
function failedMs(noticed: ClusterEvent): number {
  const { reason, silentMs } = noticed.data;
  if (reason !== 'silent' || typeof silentMs !== 'number') return millisOf(noticed);
  return millisOf(noticed) - Math.max(0, silentMs - timing.pingIntervalMs / 2);
}
