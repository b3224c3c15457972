/**
 * The next safe small steps from the map as it is towards the wanted placement: who starts joining, which slots should
 * be handed over, which surplus copies may go.
 *
 * Copies come before drops: a member leaves only when every wanted one is in sync, has been heard from with the record
 * that says so (who answered before may have lost its disk since), and at least `replicas` stay.
 * Nothing is copied around a wanted peer that is down: its slots wait for it until it is out (absence.ts). While moves
 * are paused only missing copies are made. Pure; the master calls it again and again
 * and makes its answer the next map. Serves S7.
 */
import type { Epoch, PeerId, SlotNumber } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { timing } from '../core/timing.js';
import { type ClusterMap, isRunning, isWaiting, type SlotRecord } from './map.js';
import type { Placement } from './placement.js';
import type { SlotPeer } from './slot-changes.js';

export interface PlannerView {
  /** By the clock of `upSinceMs`. */
  readonly nowMs: number;
  /** Since when each peer has answered without a gap; a peer that is missing does not answer. */
  readonly upSinceMs: ReadonlyMap<PeerId, number>;
  /** The newest map that the peer has said it took. Any when absent. */
  takenEpochOf?(peer: PeerId): Epoch;
  /** False while a pair should not be tried (again) yet, as after the primary gave it up. Always true when absent. */
  mayJoin?(slot: SlotNumber, peer: PeerId): boolean;
  /**
   * False while a peer's disk has no room for a copy: of a slot that lacks copies, or (`isRepair` false) one that would
   * only move there. Such moves wait; the placement stays as it is, so that nothing goes to and fro.
   */
  hasRoom?(peer: PeerId, isRepair: boolean): boolean;
}

export interface HandoverWish {
  readonly slot: SlotNumber;
  readonly slotEpoch: Epoch;
  readonly from: PeerId;
  readonly to: PeerId;
}

export interface Steps {
  /** For `withJoining`. */
  readonly joining: readonly SlotPeer[];
  /** For `withDropped`. */
  readonly drops: readonly SlotPeer[];
  /** For the primaries, by `wish-handover`. */
  readonly handovers: readonly HandoverWish[];
}

export function planSteps(map: ClusterMap, wanted: Placement, view: PlannerView): Steps {
  const isUp = upPeers(map, view);
  const drops: SlotPeer[] = [];
  const handovers: HandoverWish[] = [];
  const handoverCounts = new Map<PeerId, number>();
  for (const [slot, record] of map.slots.entries()) {
    const wish = wanted[slot] ?? [];
    for (const peer of dropsOf(record, { wish, isUp, map, view })) drops.push({ slot, peer });
    const handover = handoverOf(record, { slot, wish, isUp, view });
    if (handover === undefined || map.movesPaused || (handoverCounts.get(handover.from) ?? 0) >= limits.handoversAtOnce)
      continue;
    handoverCounts.set(handover.from, (handoverCounts.get(handover.from) ?? 0) + 1);
    handovers.push(handover);
  }
  return { joining: joiningOf(map, wanted, { isUp, view, drops }), drops, handovers };
}

/** Slots that are not as wanted: a wanted copy missing, led by somebody else, or something besides. */
export function unsettledSlots(map: ClusterMap, wanted: Placement): readonly SlotNumber[] {
  return map.slots.flatMap((record, slot) => {
    const wish = wanted[slot] ?? [];
    const isExact = record.inSync.length === wish.length && wish.every((peer) => record.inSync.includes(peer));
    return isExact && record.joining.length === 0 && record.primary === wish[0] ? [] : [slot];
  });
}

/** Wanted copies that are not in sync yet. */
export function missingCopies(map: ClusterMap, wanted: Placement): readonly SlotPeer[] {
  return wanted.flatMap((wish, slot) =>
    wish.filter((peer) => !map.slots[slot]?.inSync.includes(peer)).map((peer) => ({ slot, peer })),
  );
}

function upPeers(map: ClusterMap, view: PlannerView): (id: PeerId | undefined) => boolean {
  const up = new Set(map.peers.filter((peer) => isRunning(peer) && view.upSinceMs.has(peer.id)).map((peer) => peer.id));
  return (id) => id !== undefined && up.has(id);
}

/** Wanted peers that should start, fewest copies first, so many at a time for each peer. */
function joiningOf(
  map: ClusterMap,
  wanted: Placement,
  on: { isUp: (id: PeerId | undefined) => boolean; view: PlannerView; drops: readonly SlotPeer[] },
): readonly SlotPeer[] {
  const { isUp, view, drops } = on;
  const counts = new Map<PeerId, number>();
  const count = (peer: PeerId, change: number): void => void counts.set(peer, (counts.get(peer) ?? 0) + change);
  for (const record of map.slots) for (const peer of record.joining) count(peer, 1);
  for (const { slot, peer } of drops) if (map.slots[slot]?.joining.includes(peer)) count(peer, -1);
  const due = missingCopies(map, wanted).filter(({ slot, peer }) => {
    const record = map.slots[slot] as SlotRecord;
    const isRepair = record.inSync.filter(isUp).length < map.pool.replicas;
    const canCopy = isUp(record.primary) && isUp(peer) && (isRepair || !map.movesPaused);
    const isWelcome = (view.mayJoin?.(slot, peer) ?? true) && (view.hasRoom?.(peer, isRepair) ?? true);
    return canCopy && !record.joining.includes(peer) && isWelcome;
  });
  const copies = ({ slot }: SlotPeer): number => (map.slots[slot] as SlotRecord).inSync.length;
  return due
    .sort((a, b) => copies(a) - copies(b) || a.slot - b.slot)
    .filter(({ peer }) => {
      if ((counts.get(peer) ?? 0) >= limits.joiningSlotsPerPeer) return false;
      count(peer, 1);
      return true;
    });
}

function dropsOf(
  record: SlotRecord,
  on: { wish: readonly PeerId[]; isUp: (id: PeerId) => boolean; map: ClusterMap; view: PlannerView },
): readonly PeerId[] {
  const { wish, isUp, map, view } = on;
  // Whoever is named there may be who knows most.
  if (isWaiting(record)) return [];
  const joiners = record.joining.filter((peer) => !wish.includes(peer) || !isUp(peer));
  const hasTaken = (peer: PeerId): boolean => (view.takenEpochOf?.(peer) ?? record.slotEpoch) >= record.slotEpoch;
  const holds = (peer: PeerId): boolean => record.inSync.includes(peer) && isUp(peer) && hasTaken(peer);
  const isComplete = wish.length > 0 && wish.every(holds);
  if (!isComplete || map.movesPaused) return joiners;
  const surplus = record.inSync.filter((peer) => !wish.includes(peer) && peer !== record.primary);
  const goneFirst = surplus.sort((a, b) => Number(isUp(a)) - Number(isUp(b)));
  const spare = Math.max(0, record.inSync.length - map.pool.replicas);
  return [...joiners, ...goneFirst.slice(0, spare)];
}

function handoverOf(
  record: SlotRecord,
  on: { slot: SlotNumber; wish: readonly PeerId[]; isUp: (id: PeerId | undefined) => boolean; view: PlannerView },
): HandoverWish | undefined {
  const { slot, wish, isUp, view } = on;
  const { primary: from, slotEpoch, inSync } = record;
  const to = wish[0];
  if (from === undefined || to === undefined || from === to || !isUp(from) || !isUp(to)) return undefined;
  if (!wish.every((peer) => inSync.includes(peer))) return undefined;
  const isSteady = view.nowMs - (view.upSinceMs.get(to) ?? view.nowMs) >= timing.steadyBeforeHandoverMs;
  return isSteady ? { slot, slotEpoch, from, to } : undefined;
}
