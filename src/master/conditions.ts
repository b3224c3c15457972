/**
 * What the peers' disks are like: which are filling up, and which are far slower than the others'.
 *
 * Both have hysteresis, and neither changes what placement wants: a peer that is filling up is only given no *more* for
 * now (planner.ts), a slow one is only read last (clients are told by the peers they read from). So nothing here needs
 * to be durable; a restarted master learns it from the first pongs. Decisions are pure functions; Conditions holds the
 * state over time.
 */
import type { PeerId } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { timing } from '../core/timing.js';
import type { Pong } from './peer-contact.js';

/**
 * `soft-full`: gets no copies of slots that have enough of them elsewhere. `full`: no copies at all, which it would
 * refuse (peer/admission.ts), and below its reserve no writes either.
 */
export type Fullness = 'roomy' | 'soft-full' | 'full';

/** A peer is slow by one of these. */
export type Pace = 'reads' | 'syncs' | 'pings';

export interface Space {
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Kept free for deletes and the index; of peers that do not tell it, none. */
  readonly reserveBytes: number;
}

/** What is known of one running peer. A pace is the 99th percentile in ms; absent while too little is known. */
export interface PeerFigures {
  readonly space: Space | undefined;
  readonly paces: Readonly<Partial<Record<Pace, number>>>;
}

export interface Condition {
  readonly fullness: Fullness;
  /** By what it is slow; empty when it is not. */
  readonly slowBy: readonly Pace[];
}

export interface ConditionChange {
  readonly peer: PeerId;
  readonly before: Condition;
  readonly after: Condition;
  readonly figures: PeerFigures;
}

/** From what a peer tells with its pongs, and how long those take. */
export function toFigures(pong: Pong | undefined, pingP99Ms: number | undefined): PeerFigures {
  const { readP99Ms: reads, syncP99Ms: syncs, reserveBytes = 0 } = pong ?? {};
  return {
    space: pong && { freeBytes: pong.freeBytes, totalBytes: pong.totalBytes, reserveBytes },
    paces: {
      ...(reads !== undefined && { reads }),
      ...(syncs !== undefined && { syncs }),
      ...(pingP99Ms !== undefined && { pings: pingP99Ms }),
    },
  };
}

const well: Condition = { fullness: 'roomy', slowBy: [] };
const allPaces: readonly Pace[] = ['reads', 'syncs', 'pings'];

export function fullnessOf({ freeBytes, totalBytes, reserveBytes }: Space, before: Fullness): Fullness {
  const { reservesForCopies, reservesToRecover, softFullFraction, softFullEndsFraction } = limits;
  const neededReserves = before === 'full' ? reservesToRecover : reservesForCopies;
  if (freeBytes < neededReserves * reserveBytes) return 'full';
  const usedMax = before === 'roomy' ? softFullFraction : softFullEndsFraction;
  const isCrowded = totalBytes - freeBytes > usedMax * totalBytes;
  const isTight = before !== 'roomy' && freeBytes < reservesToRecover * reserveBytes;
  return isCrowded || isTight ? 'soft-full' : 'roomy';
}

/**
 * Whether a 99th percentile is many times that of the others: of most of them, so one that is slow too hides nothing.
 * Without anything to compare it stays as it was.
 */
export function isSlowPace(ownMs: number | undefined, othersMs: readonly number[], wasSlow: boolean): boolean {
  const sorted = [...othersMs].sort((a, b) => a - b);
  const medianMs = sorted[Math.floor((sorted.length - 1) / 2)];
  if (ownMs === undefined || medianMs === undefined) return wasSlow;
  const slowFromMs = Math.max(timing.slowFromMs, limits.slowFactor * medianMs);
  return ownMs >= (wasSlow ? slowFromMs / 2 : slowFromMs);
}

interface Known {
  condition: Condition;
  /** When each slow pace was last confirmed by figures. */
  readonly confirmedMs: Map<Pace, number>;
}

export class Conditions {
  readonly #known = new Map<PeerId, Known>();

  of(peer: PeerId): Condition {
    return this.#known.get(peer)?.condition ?? well;
  }

  /** Whether a copy of a slot may be started on it; `isRepair`: the slot has too few copies. */
  readonly hasRoom = (peer: PeerId, isRepair: boolean): boolean => {
    const { fullness } = this.of(peer);
    return fullness === 'roomy' || (isRepair && fullness === 'soft-full');
  };

  get slowPeers(): readonly PeerId[] {
    return [...this.#known].filter(([, { condition }]) => condition.slowBy.length > 0).map(([peer]) => peer);
  }

  /** Judges all running peers by their newest figures; of others nothing is remembered. Returns what changed. */
  look(peers: ReadonlyMap<PeerId, PeerFigures>, nowMs: number): readonly ConditionChange[] {
    for (const peer of this.#known.keys()) if (!peers.has(peer)) this.#known.delete(peer);
    const changes: ConditionChange[] = [];
    for (const [peer, figures] of peers) {
      const known = this.#known.get(peer) ?? { condition: well, confirmedMs: new Map() };
      this.#known.set(peer, known);
      const before = known.condition;
      const fullness = figures.space === undefined ? before.fullness : fullnessOf(figures.space, before.fullness);
      const slowBy = allPaces.filter((pace) => this.#isSlow(peers, { peer, pace, known, nowMs }));
      if (fullness === before.fullness && slowBy.join() === before.slowBy.join()) continue;
      known.condition = { fullness, slowBy };
      changes.push({ peer, before, after: known.condition, figures });
    }
    return changes;
  }

  #isSlow(
    peers: ReadonlyMap<PeerId, PeerFigures>,
    of: { peer: PeerId; pace: Pace; known: Known; nowMs: number },
  ): boolean {
    const { peer, pace, known, nowMs } = of;
    const ownMs = peers.get(peer)?.paces[pace];
    const othersMs = [...peers].flatMap(([id, { paces }]) => (id === peer ? [] : (paces[pace] ?? [])));
    const wasSlow = known.condition.slowBy.includes(pace);
    if (!isSlowPace(ownMs, othersMs, wasSlow)) return false;
    if (ownMs !== undefined) known.confirmedMs.set(pace, nowMs);
    // Who is read last may have nothing to show: after a while it gets another chance.
    return nowMs - (known.confirmedMs.get(pace) ?? nowMs) < timing.slowForgottenMs;
  }
}

const paceSentences = {
  reads: 'one read in a hundred takes',
  syncs: 'one write in a hundred takes',
  pings: 'one ping in a hundred takes',
} as const;

/** In words for people; undefined where all is well. */
export function sentenceOfCondition(
  peer: PeerId,
  { fullness, slowBy }: Condition,
  { space, paces }: PeerFigures,
): { readonly fullness: string | undefined; readonly pace: string | undefined } {
  const free = `${peer} has ${Math.round((space?.freeBytes ?? 0) / 2 ** 20)} MiB free`;
  const reserve = `${Math.round((space?.reserveBytes ?? 0) / 2 ** 20)} MiB`;
  const fullnessSentences = {
    roomy: undefined,
    'soft-full': `${free}: nothing moves there any more, only missing copies are made`,
    full: `${free}: no copies are made there, and below its reserve of ${reserve} it takes no writes`,
  } as const;
  const slow = slowBy.map((pace) => {
    const ms = paces[pace];
    return `${paceSentences[pace]} ${ms === undefined ? 'long' : `over ${Math.round(ms)} ms`}`;
  });
  const pace = slow.length === 0 ? undefined : `${peer} is slower than the others and is read last: ${slow.join(', ')}`;
  return { fullness: fullnessSentences[fullness], pace };
}
