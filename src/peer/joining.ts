/**
 * How a replica becomes a member: copy, become required, let older writes end, compare again, and only then ask the
 * master to add it (F6, F17).
 *
 * The order is the safety: from the moment it is required no write can pass it by, and the second comparison settles
 * what passed before. To give up is a question to the master as well, which raises the slotEpoch, so that a late `add`
 * cannot win. Serves S1, S7.
 */
import { isRefusal } from '../core/errors.js';
import type { PeerId, StoreId } from '../core/ids.js';
import type { Comparison, Settled } from './comparison.js';
import type { LedSlot } from './led-slot.js';
import type { OldIds } from './old-ids.js';

export interface JoiningParts {
  readonly comparison: Comparison;
  readonly oldIds: OldIds;
  storeOf(peer: PeerId): StoreId | undefined;
  /** Asks the master; resolves when it has answered and the map of the answer was taken. */
  askToAdd(to: { led: LedSlot; peer: PeerId; storeId: StoreId; copied: Settled }): Promise<void>;
}

/** While more than so many keys differ, another round of copying pays before writes are held up by the replica. */
const fewKeys = 32;
const copyRoundsMax = 4;

/** Resolves when the replica is a member, no longer joining, or the term is over; adds what was copied to `total`. */
export async function join(parts: JoiningParts, led: LedSlot, peer: PeerId, total: Settled): Promise<void> {
  const storeId = parts.storeOf(peer);
  try {
    await parts.oldIds.dropAt(led, peer);
    for (let round = 0; round < copyRoundsMax; round++) {
      const settled = add(total, await parts.comparison.settleSlot(led, peer));
      if (settled.keys <= fewKeys) break;
    }
    led.require(peer);
    await led.writesBegunBefore();
    add(total, await parts.comparison.settleSlot(led, peer));
    led.probe?.at({ point: 'comparedAgain', slot: led.slot, term: led.term, peer });
    // No longer pending: a record without it came between, and writes passed it by since. Compare anew; so also when it
    // has another store by now, which no repeated `add` of the old one could bring in.
    while (storeId !== undefined && led.isPending(peer) && isStillJoining(led, peer)) {
      if (parts.storeOf(peer) !== storeId) return;
      led.probe?.at({ point: 'askedToAdd', slot: led.slot, term: led.term, peer });
      await parts.askToAdd({ led, peer, storeId, copied: total });
    }
  } catch (error) {
    if (!isRefusal(error, 'cancelled')) throw error;
  }
}

export function isStillJoining(led: LedSlot, peer: PeerId): boolean {
  return !led.isOver && led.record.joining.includes(peer);
}

function add(total: Settled, settled: Settled): Settled {
  total.keys += settled.keys;
  total.bytes += settled.bytes;
  return settled;
}
