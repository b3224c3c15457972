/**
 * What a new primary does before it serves: make all in-sync members equal to itself, and let old leases run out.
 *
 * It serves only when every member of its current set is level (F28). A member that does not answer is removed by the
 * map, not by us; levelling goes on with the rest (F21). Serves S3, S4.
 */
import type { Environment } from '../core/environment.js';
import { sleep } from '../core/environment.js';
import { isRefusal } from '../core/errors.js';
import type { PeerId } from '../core/ids.js';
import type { Comparison } from './comparison.js';
import type { EntryIndex } from './entry-index.js';
import type { Grants } from './grants.js';
import type { LedSlot } from './led-slot.js';

export interface LevellingParts {
  readonly environment: Environment;
  readonly index: EntryIndex;
  readonly comparison: Comparison;
  readonly grants: Grants;
  /** Asks the master to take a member out of the slot; resolves when the answer was taken. */
  askRemoval(led: LedSlot, peer: PeerId): Promise<void>;
}

/** Resolves when the slot serves, or its term is over. */
export async function level(parts: LevellingParts, led: LedSlot): Promise<void> {
  // Nobody may act on this term before this peer has promised it for good: a restart must not forget it (F4).
  const fence = led.fence();
  await parts.index.raisePromise(fence);
  led.probe?.at({ point: 'afterPromiseBeforeLevelling', term: led.term, ...fence });
  const levelled = new Set<PeerId>();
  await Promise.all([levelMembers(parts, led, levelled), oldLeasesRunOut(parts, led)]);
  // The set may have changed while the leases ran out.
  await levelMembers(parts, led, levelled);
  if (led.isOver) return;
  led.probe?.at({ point: 'levelled', slot: led.slot, term: led.term });
  led.startServing();
}

async function levelMembers(parts: LevellingParts, led: LedSlot, levelled: Set<PeerId>): Promise<void> {
  for (;;) {
    const missing = led.required().filter((peer) => !levelled.has(peer));
    if (led.isOver || missing.length === 0) return;
    const equal = await Promise.all(missing.map((peer) => levelMember(parts, led, peer)));
    if (equal.every(Boolean)) for (const peer of missing) levelled.add(peer);
    // An unreadable entry here may have given way to a newer one of a member, which the others lack (F10).
    else levelled.clear();
  }
}

/** Whether nothing differed. */
async function levelMember(parts: LevellingParts, led: LedSlot, peer: PeerId): Promise<boolean> {
  try {
    const settled = await parts.comparison.settleSlot(led, peer);
    if (settled.keys > 0) parts.environment.log.info({ slot: led.slot, peer, ...settled }, 'levelled keys');
    return settled.keys === 0;
  } catch (error) {
    // The map removed the member, or the term is over.
    if (isRefusal(error, 'cancelled')) return false;
    // A full disk there cannot be made level; without it the slot can serve.
    if (!isRefusal(error, 'no-space')) throw error;
    parts.environment.log.warn({ slot: led.slot, peer, error: error.message }, 'a member cannot be levelled');
    await parts.askRemoval(led, peer);
    return false;
  }
}

async function oldLeasesRunOut(parts: LevellingParts, led: LedSlot): Promise<void> {
  const waitMs = parts.grants.waitMsFor(led.slot, led.record.handoverOf);
  if (waitMs > 0) await sleep(parts.environment.clock, waitMs);
}
