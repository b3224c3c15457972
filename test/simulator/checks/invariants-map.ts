/**
 * What must hold of every change of the cluster map, whoever made it and why. Pure: two maps in, sentences out.
 */
import { type ClusterMap, peerOf, type SlotRecord } from '../../../src/cluster/map.js';
import type { PeerId } from '../../../src/core/ids.js';

/** After one change: what several in one commit do is looked at one by one. */
export function mapChangeComplaints(before: ClusterMap, after: ClusterMap): string[] {
  const complaints: string[] = [];
  if (after.epoch <= before.epoch) complaints.push(`the epoch goes from ${before.epoch} to ${after.epoch}`);
  for (const peer of before.peers) {
    const now = peerOf(after, peer.id);
    if (now?.state === 'up' && now.isOut)
      complaints.push(`${peer.id} is up, and what it has is made anew all the same`);
    if (now?.state === 'removed' && peer.state !== 'removed')
      complaints.push(...removalComplaints(before, after, peer.id));
    if (now === undefined) complaints.push(`${peer.id} has vanished`);
    else if (now.storeId === peer.storeId && now.incarnation < peer.incarnation) {
      complaints.push(`the incarnation of ${peer.id} falls from ${peer.incarnation} to ${now.incarnation}`);
    }
  }
  after.slots.forEach((record, slot) => {
    const old = before.slots[slot];
    if (old === undefined) return;
    for (const text of slotComplaints({ map: before, record: old }, { map: after, record })) {
      complaints.push(`slot ${slot}: ${text}`);
    }
  });
  return complaints;
}

/** A peer may go for good only where others have everything, and those that run lead. */
function removalComplaints(before: ClusterMap, after: ClusterMap, id: PeerId): string[] {
  const lone = before.slots.filter(({ inSync }) => inSync.includes(id) && inSync.length === 1).length;
  const named = after.slots.filter(
    ({ primary, inSync, joining }) => primary === id || inSync.includes(id) || joining.includes(id),
  ).length;
  return [
    ...(lone > 0 ? [`${id} is removed, which alone holds ${lone} slots`] : []),
    ...(named > 0 ? [`${id} is removed, and ${named} slots still name it`] : []),
  ];
}

interface InMap {
  readonly map: ClusterMap;
  readonly record: SlotRecord;
}

function slotComplaints(before: InMap, after: InMap): string[] {
  const [old, now] = [before.record, after.record];
  const { primary } = now;
  const complaints: string[] = [];
  if (now.slotEpoch < old.slotEpoch) complaints.push(`slotEpoch falls from ${old.slotEpoch} to ${now.slotEpoch}`);
  if (now.term < old.term) complaints.push(`term falls from ${old.term} to ${now.term}`);
  if (primary === undefined || old.primary === undefined) return complaints;
  const isSameProcess = (id: PeerId): boolean =>
    hasSameStore(before, after, id) && peerOf(before.map, id)?.incarnation === peerOf(after.map, id)?.incarnation;
  const isLedAnew = primary !== old.primary || !isSameProcess(primary);
  if (isLedAnew && now.term <= old.term) complaints.push(`${primary} leads, or was started, without a new term`);
  if (primary !== old.primary && !old.inSync.includes(primary)) {
    complaints.push(`${primary} is promoted from outside the in-sync set ${old.inSync}`);
  }
  // Only the primary adds; it may hand over in the same request, but nobody who deposes it may add in its name.
  const isTakenOver = now.term !== old.term && now.handoverOf !== old.term;
  if (!now.inSync.includes(primary)) complaints.push(`its primary ${primary} is not in sync`);
  for (const member of now.inSync) {
    const wasMember = old.inSync.includes(member);
    if (!wasMember && !old.joining.includes(member)) complaints.push(`${member} becomes in sync without joining`);
    if (!wasMember && isTakenOver) complaints.push(`${member} is added in the step that changes the term`);
    if (!hasSameStore(before, after, member)) complaints.push(`${member} is in sync with a store that is new`);
  }
  if (isDifferent(old, now) && now.slotEpoch === old.slotEpoch)
    complaints.push('its record changes, not its slotEpoch');
  return complaints;
}

function hasSameStore(before: InMap, after: InMap, id: PeerId): boolean {
  return peerOf(before.map, id)?.storeId === peerOf(after.map, id)?.storeId;
}

function isDifferent(a: SlotRecord, b: SlotRecord): boolean {
  return a.primary !== b.primary || String(a.inSync) !== String(b.inSync) || String(a.joining) !== String(b.joining);
}

/**
 * What the master does of its own accord: it never goes below the copies there are, nor below what is wanted; it takes
 * nothing away while moves are paused; it gives nobody up who is under maintenance, nor anybody while most are away.
 */
export function plannedComplaints(before: ClusterMap, after: ClusterMap): string[] {
  const complaints = outComplaints(before, after);
  after.slots.forEach((record, slot) => {
    const old = before.slots[slot];
    if (old === undefined || old === record) return;
    const least = Math.min(before.pool.replicas, old.inSync.length);
    const [had, has] = [old.inSync.length, record.inSync.length];
    if (has < least) complaints.push(`slot ${slot}: a planned move leaves ${has} copies of ${had} in sync`);
    if (has < had && before.movesPaused) complaints.push(`slot ${slot}: a copy goes while moves are paused`);
  });
  return complaints;
}

function outComplaints(before: ClusterMap, after: ClusterMap): string[] {
  const out = after.peers.filter(({ id, isOut }) => isOut && peerOf(before, id)?.isOut === false);
  if (out.length === 0) return [];
  const complaints = out.flatMap(({ id, state, mode }) => [
    ...(state === 'down' || state === 'awaited' ? [] : [`what ${id} has is to be made anew while it is ${state}`]),
    ...(mode === 'maintenance' ? [`what ${id} has is to be made anew during its maintenance`] : []),
  ]);
  const counted = before.peers.filter(({ state, mode }) => state !== 'removed' && mode !== 'maintenance');
  const away = counted.filter(({ state }) => state === 'down').length;
  const isMost = away > counted.length - away;
  return isMost
    ? [...complaints, `copies are to be made anew with ${away} of ${counted.length} peers away`]
    : complaints;
}
