/**
 * Changes of slot records: those that a slot's primary asks for (add, remove, handover), each a compare-and-set by
 * slotEpoch, and those that the planner wants (a peer starts joining, a surplus copy is dropped).
 *
 * Every function returns the same map when nothing changed, otherwise a copy under the next epoch. Serves S1, S3, S7.
 */
import type { Epoch, PeerId, SlotNumber, StoreId } from '../core/ids.js';
import { type ClusterMap, isRunning, peerOf, type SlotRecord } from './map.js';
import { withFence, withJoiner, withMember, without, withSlots, withTerm } from './slot-record.js';

/** As the message `change` carries it. */
export interface SlotChange {
  readonly slot: SlotNumber;
  /** The record it was decided on; any other one: nothing happens (rule F18). */
  readonly slotEpoch: Epoch;
  readonly op: 'add' | 'remove' | 'handover';
  readonly peer: PeerId;
  /** With `add`: the store that answered the second comparison (rule F6). */
  readonly storeId?: StoreId;
  /** With `add`: what was copied for it. */
  readonly keys?: number;
  readonly bytes?: number;
}

export interface SlotPeer {
  readonly slot: SlotNumber;
  readonly peer: PeerId;
}

/** `stale`: the record is another one by now; `refused`: it is the one, but the change is not allowed on it. */
export type ChangeOutcome = 'done' | 'stale' | 'refused';

/**
 * Applies what the peer `by` asks for. Each change is its own compare: one that is stale or refused leaves the others
 * alone (rule F18). Several changes of one slot may name the slotEpoch it had before the batch.
 *
 * After a refused handover the slotEpoch is higher, so the asker may unseal and no late repeat can win (rule F20).
 */
export function applyChanges(
  map: ClusterMap,
  asked: { by: PeerId; changes: readonly SlotChange[] },
): { map: ClusterMap; outcomes: readonly ChangeOutcome[] } {
  const epoch = map.epoch + 1;
  const slots = [...map.slots];
  const outcomes = asked.changes.map((change): ChangeOutcome => {
    const before = map.slots[change.slot];
    const record = slots[change.slot];
    if (before === undefined || record === undefined) return 'refused';
    if (before.slotEpoch !== change.slotEpoch) return 'stale';
    if (record.primary !== asked.by) return before.primary === asked.by ? 'stale' : 'refused';
    const after = changed(map, record, { ...change, epoch });
    if (after !== undefined) slots[change.slot] = after;
    else if (change.op === 'handover') slots[change.slot] = withFence(record, epoch);
    return after === undefined ? 'refused' : 'done';
  });
  const anyChanged = slots.some((record, slot) => record !== map.slots[slot]);
  return { map: anyChanged ? { ...map, epoch, slots } : map, outcomes };
}

/** The record after a change, or undefined when the record does not allow it. */
function changed(map: ClusterMap, record: SlotRecord, change: SlotChange & { epoch: Epoch }): SlotRecord | undefined {
  const { op, peer, epoch } = change;
  const known = peerOf(map, peer);
  if (known === undefined) return undefined;
  if (op === 'add') {
    const mayEnter = record.joining.includes(peer) && change.storeId === known.storeId && known.state !== 'removed';
    return mayEnter ? withMember(record, { peer, epoch }) : undefined;
  }
  if (peer === record.primary) return undefined;
  if (op === 'remove') return without(record, { peer, epoch });
  const mayLead = record.inSync.includes(peer) && isRunning(known);
  return mayLead ? withTerm(record, { primary: peer, epoch, handoverOf: record.term }) : undefined;
}

/** Makes peers joining; pairs that are in sync or joining already, and slots without a primary, stay as they are. */
export function withJoining(map: ClusterMap, additions: readonly SlotPeer[]): ClusterMap {
  return withPairs(map, additions, (record, { peer, epoch }) => {
    const isFree = record.primary !== undefined && !record.inSync.includes(peer) && !record.joining.includes(peer);
    return isFree && peerOf(map, peer) !== undefined ? withJoiner(record, { peer, epoch }) : record;
  });
}

/** Takes members and joiners out; never the primary, and pairs that are neither stay as they are. */
export function withDropped(map: ClusterMap, surplus: readonly SlotPeer[]): ClusterMap {
  return withPairs(map, surplus, (record, { peer, epoch }) => {
    const isMember = record.inSync.includes(peer) || record.joining.includes(peer);
    return isMember && record.primary !== peer ? without(record, { peer, epoch }) : record;
  });
}

function withPairs(
  map: ClusterMap,
  pairs: readonly SlotPeer[],
  change: (record: SlotRecord, pair: { peer: PeerId; epoch: Epoch }) => SlotRecord,
): ClusterMap {
  const peersOf = new Map<SlotNumber, PeerId[]>();
  for (const { slot, peer } of pairs) peersOf.set(slot, [...(peersOf.get(slot) ?? []), peer]);
  return withSlots(map, (record, slot, epoch) =>
    (peersOf.get(slot) ?? []).reduce((current, peer) => change(current, { peer, epoch }), record),
  );
}
