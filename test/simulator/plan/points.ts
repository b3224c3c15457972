/**
 * The named points at which a plan may strike: the n-th time that one is reached, its process crashes or stands still.
 */
import type { Moment, PointName } from '../../../src/core/probe.js';

/** Who reaches each point. */
export const points = {
  afterPromiseBeforeLevelling: 'primary',
  levelled: 'primary',
  serving: 'primary',
  sealed: 'primary',
  steppedDown: 'primary',
  handoverDrained: 'primary',
  required: 'primary',
  comparedAgain: 'primary',
  askedToAdd: 'primary',
  versionGiven: 'primary',
  replicated: 'primary',
  allReplicasAnswered: 'primary',
  ownEntryCommitted: 'primary',
  acknowledging: 'primary',
  readCurrent: 'primary',
  rolledBack: 'primary',
  sweeping: 'primary',
  voided: 'primary',
  idsDropped: 'primary',
  promised: 'replica',
  replicaStaged: 'replica',
  replicaCommitted: 'replica',
  settled: 'replica',
  markedLost: 'replica',
  beaconGranted: 'replica',
  surplusAllowed: 'replica',
  surplusForgotten: 'replica',
  checkpointCopied: 'peer',
  checkpointFinished: 'peer',
  mapTaken: 'peer',
  mapDurable: 'peer',
  mapLoaded: 'master',
  mapRecovered: 'master',
  planned: 'master',
  promoting: 'master',
  mapChanging: 'master',
  mapCommitting: 'master',
  mapCommitted: 'master',
  segmentsSent: 'client',
} as const satisfies Record<PointName, 'primary' | 'replica' | 'peer' | 'master' | 'client'>;

export const pointNames = Object.keys(points) as readonly PointName[];

export interface Armed<Host> {
  readonly point: PointName;
  /** So often it is passed over. */
  readonly skip: number;
  /** What the point must come with to count; anything when absent. */
  isMeant?(moment: Moment): boolean;
  /** Called in the very turn in which the point is reached; the program goes on until its next await. */
  act(host: Host, moment: Moment): void;
}

/** The points that are armed; each strikes once. */
export class Points<Host> {
  readonly #armed = new Map<PointName, { readonly armed: Armed<Host>; left: number }[]>();

  arm(armed: Armed<Host>): void {
    const others = this.#armed.get(armed.point) ?? [];
    this.#armed.set(armed.point, [...others, { armed, left: armed.skip }]);
  }

  /** Ends what has not struck. */
  disarmAll(): void {
    this.#armed.clear();
  }

  reach(host: Host, moment: Moment): void {
    const { point } = moment;
    const waiting = this.#armed.get(point);
    if (waiting === undefined) return;
    const meant = waiting.filter(({ armed }) => armed.isMeant?.(moment) ?? true);
    const due = meant.filter((each) => each.left-- <= 0);
    if (due.length === 0) return;
    this.#armed.set(
      point,
      waiting.filter((each) => !due.includes(each)),
    );
    for (const { armed } of due) armed.act(host, moment);
  }
}
