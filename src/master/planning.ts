/**
 * Drives the map towards what placement wants: asks the planner, and remembers what must not be asked again at once.
 *
 * A copy that its primary gave up goes to the back with a growing pause and stops nobody else; a wish for a handover is
 * repeated now and then until the map shows it.
 */
import { type ClusterMap, type PeerRecord, peerOf, type SlotRecord } from '../cluster/map.js';
import { isPlaced, type Placement, wantedPlacement } from '../cluster/placement.js';
import { type HandoverWish, type PlannerView, planSteps, type Steps } from '../cluster/planner.js';
import type { PeerId, SlotNumber } from '../core/ids.js';
import { timing } from '../core/timing.js';

const firstPauseMs = 500;
const longestPauseMs = 30_000;
const wishAgainMs = 2 * timing.wishPaceMs;

interface Pause {
  readonly slot: SlotNumber;
  readonly peer: PeerId;
  readonly untilMs: number;
  readonly lengthMs: number;
  readonly times: number;
}

/** A copy that its primary gave up, and when it is tried again. */
export interface FailingCopy {
  readonly slot: SlotNumber;
  readonly peer: PeerId;
  readonly times: number;
  readonly againInMs: number;
}

/** What failed only once mostly succeeds the next time. */
const failingFromTimes = 2;

export class Planning {
  readonly #pauses = new Map<string, Pause>();
  readonly #wishedMs = new Map<SlotNumber, { readonly slotEpoch: number; readonly atMs: number }>();
  #wanted: { readonly from: string; readonly placement: Placement } | undefined;
  #lastWishedMs = Number.NEGATIVE_INFINITY;
  /** The map of the last answer: most maps differ from the one before in what slots are, not in what is wanted. */
  #last: ClusterMap | undefined;

  /** Index is the slot; computed again only when something it depends on has changed, which a death is not. */
  wanted(map: ClusterMap): Placement {
    const { replicas } = map.pool;
    const isAlike = this.#last?.peers === map.peers && this.#last.pool === map.pool;
    this.#last = map;
    if (this.#wanted !== undefined && isAlike) return this.#wanted.placement;
    const from = JSON.stringify([map.peers.map(placeOf), map.slots.length, replicas]);
    if (this.#wanted?.from !== from) {
      this.#wanted = { from, placement: wantedPlacement(map.peers, map.slots.length, replicas) };
    }
    return this.#wanted.placement;
  }

  steps(map: ClusterMap, view: Omit<PlannerView, 'mayJoin'>): Steps {
    const mayJoin = (slot: SlotNumber, peer: PeerId): boolean => {
      const pause = this.#pauses.get(pairOf(slot, peer));
      return pause === undefined || pause.untilMs <= view.nowMs;
    };
    return planSteps(map, this.wanted(map), { ...view, mayJoin });
  }

  /** Those wishes that were not sent a while ago; many together, so that they share a change of the map. */
  dueWishes(wishes: readonly HandoverWish[], nowMs: number): readonly HandoverWish[] {
    if (nowMs - this.#lastWishedMs < timing.wishPaceMs) return [];
    const due = wishes.filter(({ slot, slotEpoch }) => {
      const last = this.#wishedMs.get(slot);
      return last === undefined || last.slotEpoch !== slotEpoch || nowMs - last.atMs >= wishAgainMs;
    });
    for (const { slot, slotEpoch } of due) this.#wishedMs.set(slot, { slotEpoch, atMs: nowMs });
    if (due.length > 0) this.#lastWishedMs = nowMs;
    return due;
  }

  /** Notes which copies were given up, and which made it. `before` and `after` are committed maps. */
  onCommitted(before: ClusterMap, after: ClusterMap, nowMs: number): void {
    if (before.peers !== after.peers || before.pool !== after.pool) this.#forgetUnwanted(after);
    after.slots.forEach((record, slot) => {
      const old = before.slots[slot];
      if (old === undefined || old === record) return;
      for (const peer of old.joining) this.#noteJoiner(after, { record, slot, peer, nowMs });
    });
  }

  /** Those that failed again and again, the worst first. */
  failing(nowMs: number): readonly FailingCopy[] {
    const failing = [...this.#pauses.values()].filter(({ times }) => times >= failingFromTimes);
    return failing
      .sort((a, b) => b.times - a.times)
      .map(({ slot, peer, times, untilMs }) => ({
        slot,
        peer,
        times,
        againInMs: Math.max(0, Math.round(untilMs - nowMs)),
      }));
  }

  /** Nobody waits any more for a copy that is not wanted there. */
  #forgetUnwanted(map: ClusterMap): void {
    const wanted = this.wanted(map);
    for (const [key, { slot, peer }] of this.#pauses) if (!wanted[slot]?.includes(peer)) this.#pauses.delete(key);
  }

  #noteJoiner(map: ClusterMap, at: { record: SlotRecord; slot: SlotNumber; peer: PeerId; nowMs: number }): void {
    const { record, slot, peer, nowMs } = at;
    const key = pairOf(slot, peer);
    if (record.joining.includes(peer)) return;
    if (record.inSync.includes(peer) || peerOf(map, peer)?.state !== 'up') {
      this.#pauses.delete(key);
      return;
    }
    const before = this.#pauses.get(key);
    const lengthMs = Math.min(longestPauseMs, (before?.lengthMs ?? firstPauseMs / 2) * 2);
    this.#pauses.set(key, { slot, peer, untilMs: nowMs + lengthMs, lengthMs, times: (before?.times ?? 0) + 1 });
  }
}

/** What placement can depend on: everything but where a peer is, what it holds and whether it runs. */
function placeOf(peer: PeerRecord): object {
  const { id, tokenAddress, tokenWeight, zone, weight } = peer;
  return { id, tokenAddress, tokenWeight, zone, weight, isPlaced: isPlaced(peer) };
}

function pairOf(slot: SlotNumber, peer: PeerId): string {
  return `${slot} ${peer}`;
}
