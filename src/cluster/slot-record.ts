/**
 * How one slot's record may change: one small function for each way, used by every transition of the map.
 *
 * They hold what must never break: the primary is in sync, the set is never empty once it had a member, nobody is both
 * in sync and joining, and every change raises slotEpoch (the only thing that fences).
 */
import { assert } from '../core/assert.js';
import type { Epoch, PeerId } from '../core/ids.js';
import { limits } from '../core/limits.js';
import type { ClusterMap, SlotRecord } from './map.js';

type Removed = NonNullable<SlotRecord['removed']>;

/** The map with `slots` changed by `change`, under the next epoch; the same map when no record changed. */
export function withSlots(
  map: ClusterMap,
  change: (record: SlotRecord, slot: number, epoch: Epoch) => SlotRecord,
): ClusterMap {
  const epoch = map.epoch + 1;
  let changed = false;
  const slots = map.slots.map((before, slot) => {
    const after = change(before, slot, epoch);
    if (after !== before) changed = true;
    return after;
  });
  return changed ? { ...map, epoch, slots } : map;
}

/** A new primary, or the same one started anew: either way a new term. */
export function withTerm(
  record: SlotRecord,
  term: { primary: PeerId; epoch: Epoch; handoverOf?: Epoch | undefined },
): SlotRecord {
  assert(record.inSync.includes(term.primary), `Only an in-sync member may lead a slot, ${term.primary} is none`);
  const { epoch, primary, handoverOf } = term;
  return { ...record, slotEpoch: epoch, term: epoch, primary, handoverOf };
}

/** The only way into the in-sync set. */
export function withMember(record: SlotRecord, member: { peer: PeerId; epoch: Epoch }): SlotRecord {
  assert(record.joining.includes(member.peer), `Only a joining peer can become in sync, ${member.peer} is none`);
  return withRemoved(
    {
      ...record,
      slotEpoch: member.epoch,
      inSync: [...record.inSync, member.peer],
      joining: record.joining.filter((peer) => peer !== member.peer),
    },
    (record.removed ?? []).filter((entry) => entry.peer !== member.peer),
  );
}

export function withJoiner(record: SlotRecord, joiner: { peer: PeerId; epoch: Epoch }): SlotRecord {
  assert(!record.inSync.includes(joiner.peer), `${joiner.peer} is in sync already`);
  assert(!record.joining.includes(joiner.peer), `${joiner.peer} is joining already`);
  return { ...record, slotEpoch: joiner.epoch, joining: [...record.joining, joiner.peer] };
}

/** Raises slotEpoch and changes nothing else: whatever was asked at the old one is void from now on. */
export function withFence(record: SlotRecord, epoch: Epoch): SlotRecord {
  return { ...record, slotEpoch: epoch };
}

/**
 * Takes a peer that does not lead the slot out of it, whatever it was there. Raises slotEpoch even when it was nothing,
 * so that an `add` still under way cannot win (rule F17).
 */
export function without(record: SlotRecord, leaver: { peer: PeerId; epoch: Epoch }): SlotRecord {
  assert(record.primary !== leaver.peer, `${leaver.peer} leads the slot and cannot be taken out`);
  const { peer, epoch } = leaver;
  const joining = record.joining.filter((joiner) => joiner !== peer);
  if (!record.inSync.includes(peer)) return { ...record, slotEpoch: epoch, joining };
  const inSync = record.inSync.filter((member) => member !== peer);
  assert(inSync.length > 0, `${peer} is the last in sync and cannot be taken out`);
  const others = (record.removed ?? []).filter((entry) => entry.peer !== peer);
  return withRemoved({ ...record, slotEpoch: epoch, inSync, joining }, [...others, { peer, atEpoch: epoch }]);
}

/** Keeps the newest few. */
function withRemoved(record: SlotRecord, removed: Removed): SlotRecord {
  const kept = removed.slice(-limits.removedMembersMax);
  return { ...record, removed: kept.length === 0 ? undefined : kept };
}
