/**
 * How much a change of the map moves: which copies are made, how many bytes, and the least that any way there takes.
 * Pure.
 */
import type { PeerId, SlotNumber } from '../core/ids.js';
import type { ClusterMap } from './map.js';
import { leastMovedCopies, type Placement } from './placement.js';
import { missingCopies } from './planner.js';
import type { SlotAmounts } from './what-if.js';

export interface Moves {
  readonly slots: number;
  readonly copies: number;
  /** What peers hold more than before, each by itself: no placement with these shares moves less. */
  readonly leastCopies: number;
  readonly bytes: number;
  readonly peers: readonly { readonly id: PeerId; readonly copiesIn: number; readonly bytesIn: number }[];
}

/** From what `map` has in sync to `wanted`. */
export function movesTo(map: ClusterMap, wanted: Placement, amountsOf: (slot: SlotNumber) => SlotAmounts): Moves {
  const missing = missingCopies(map, wanted);
  const incoming = new Map<PeerId, { copiesIn: number; bytesIn: number }>();
  let bytes = 0;
  for (const { slot, peer } of missing) {
    const slotBytes = amountsOf(slot).bytes;
    const sum = incoming.get(peer) ?? { copiesIn: 0, bytesIn: 0 };
    incoming.set(peer, { copiesIn: sum.copiesIn + 1, bytesIn: sum.bytesIn + slotBytes });
    bytes += slotBytes;
  }
  return {
    slots: new Set(missing.map(({ slot }) => slot)).size,
    copies: missing.length,
    leastCopies: leastMovedCopies(
      map.slots.map(({ inSync }) => inSync),
      wanted,
    ),
    bytes,
    peers: [...incoming].map(([id, sum]) => ({ id, ...sum })),
  };
}
