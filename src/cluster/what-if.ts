/**
 * What would become unreadable, unwritable or lost if some peers stopped now; what is so already, whether they stop or
 * not, is not told. Pure over the map and what each slot holds.
 */
import type { PeerId, SlotNumber } from '../core/ids.js';
import { type ClusterMap, isRunning } from './map.js';

/** What is stored in one slot, once: without its copies. */
export interface SlotAmounts {
  /** Files whose name is in the slot. */
  readonly files: number;
  /** Of everything in it: small files whole, and pieces of large ones. */
  readonly bytes: number;
}

export interface Harm {
  readonly slots: readonly SlotNumber[];
  readonly files: number;
  readonly bytes: number;
}

export interface WhatIf {
  /** Nobody would answer until one of the stopped, or one that is down already, returns. */
  readonly unreadable: Harm;
  /** Fewer copies in sync than a write needs; all that is unreadable among it. */
  readonly unwritable: Harm;
  /** Nobody but the stopped has it: gone if they never return. */
  readonly lost: Harm;
}

export function whatIf(
  map: ClusterMap,
  stopped: ReadonlySet<PeerId>,
  amountsOf: (slot: SlotNumber) => SlotAmounts,
): WhatIf {
  const running = new Set(map.peers.filter(isRunning).map((peer) => peer.id));
  const unreadable: SlotNumber[] = [];
  const unwritable: SlotNumber[] = [];
  const lost: SlotNumber[] = [];
  for (const [slot, { inSync }] of map.slots.entries()) {
    const copies = inSync.filter((id) => running.has(id) && !stopped.has(id)).length;
    // Where none of the stopped holds anything, it is as it was.
    if (!inSync.some((id) => stopped.has(id))) continue;
    if (copies < map.pool.minInSync) unwritable.push(slot);
    if (copies > 0) continue;
    unreadable.push(slot);
    if (inSync.length > 0 && inSync.every((id) => stopped.has(id))) lost.push(slot);
  }
  const harm = (slots: readonly SlotNumber[]): Harm => {
    const all = slots.map(amountsOf);
    const sum = (of: keyof SlotAmounts): number => all.reduce((total, amounts) => total + amounts[of], 0);
    return { slots, files: sum('files'), bytes: sum('bytes') };
  };
  return { unreadable: harm(unreadable), unwritable: harm(unwritable), lost: harm(lost) };
}
