/**
 * Makes the map again from what peers know, after the master has lost it: which record of a slot counts, who must be
 * heard before anybody leads it, and what becomes of those that an operator gives up.
 *
 * Of each slot the highest record that is known counts. A peer acts on a record only once that is durable at the peer,
 * so whoever acknowledged anything under a newer one is named, as in sync or joining, in every older one that is the
 * highest among those who answered. Therefore the slot waits for everybody it names (rule F14): it keeps that record,
 * without a primary, the former one first among its members. Pure. Serves S1, S3, S9, S10.
 */
import { refuse } from '../core/errors.js';
import { generationOf, type PeerId, type SlotNumber, type StoreId, toEpoch } from '../core/ids.js';
import { type ClusterMap, isWaiting, namedIn, type PeerRecord, peerOf, type SlotRecord } from './map.js';
import { waitingWith, withPeerRecord } from './membership.js';
import { withSlots, withTerm } from './slot-record.js';

/** What one peer knew when it promised to take no map of an older lineage any more. */
export interface Answer {
  readonly peer: PeerId;
  /** Only the store that the map names can speak for it (rule F11). */
  readonly storeId: StoreId;
  readonly map: ClusterMap;
}

export interface NewLineage {
  readonly generation: number;
  readonly lineage: string;
}

/** The map that says most; each holds every slot, so within a lineage it has the highest record of all of them. */
export function newestOf(maps: readonly [ClusterMap, ...ClusterMap[]]): ClusterMap {
  return maps.reduce((newest, map) => (map.epoch > newest.epoch ? map : newest));
}

/** Above every lineage that anybody has heard of. */
export function nextGeneration(heard: { maps: readonly ClusterMap[]; promised: readonly number[] }): number {
  return 1 + Math.max(0, ...heard.promised, ...heard.maps.map(({ epoch }) => generationOf(epoch)));
}

/** The map of a new lineage. Its peers and settings are those of the newest map; who has not answered is awaited. */
export function recoveredMap(answers: readonly [Answer, ...Answer[]], as: NewLineage): ClusterMap {
  const newest = newestOf([answers[0].map, ...answers.slice(1).map(({ map }) => map)]);
  const start: ClusterMap = {
    ...newest,
    epoch: toEpoch({ generation: as.generation, number: 1 }),
    lineage: as.lineage,
    masterIncarnation: 1 + Math.max(...answers.map(({ map }) => map.masterIncarnation)),
    peers: newest.peers.map(toAwaited),
    slots: newest.slots.map(toWaiting),
  };
  return settled(answers.reduce(withKnowledge, start));
}

/** A peer that was awaited has answered. The same map when that changes nothing. */
export function withAnswer(map: ClusterMap, answer: Answer): ClusterMap {
  return settled(withKnowledge(map, answer));
}

/**
 * The operator gives up waiting for these peers: what others hold is served without them, what nobody else has in sync
 * waits on. Should one return, it keeps what it holds and gets no copies. Refuses `not-found`, and `conflict` for one
 * that has answered.
 */
export function withAccepted(map: ClusterMap, missing: readonly PeerId[]): ClusterMap {
  const aside = missing.reduce((before, id) => {
    const peer = peerOf(before, id);
    if (peer === undefined) return refuse('not-found', `No peer of this cluster has the id ${id}`);
    if (peer.state !== 'awaited') {
      refuse('conflict', `Nothing waits for ${id}: it has answered, or left the cluster`, {
        advice: 'Name only peers that did not answer',
      });
    }
    return withPeerRecord(before, { ...peer, mode: 'set-aside' });
  }, map);
  return settled({ ...aside, slots: aside.slots.map((record) => withGivenUp(record, missing)) });
}

/** Peers whose answer could still tell something, each with the slots that wait for it. */
export function awaitedSlots(map: ClusterMap): ReadonlyMap<PeerId, readonly SlotNumber[]> {
  const unheard = map.peers.filter(({ state }) => state === 'awaited');
  return new Map(unheard.map(({ id }) => [id, waitingWith(map, id)]));
}

function toWaiting(record: SlotRecord): SlotRecord {
  const { handoverOf: _ended, ...rest } = record;
  const { primary, inSync } = record;
  if (primary === undefined) return rest;
  return { ...rest, primary: undefined, inSync: [primary, ...inSync.filter((peer) => peer !== primary)] };
}

/** The peer counts as heard, and where it knows more of a slot that waits, that is what the slot waits with. */
function withKnowledge(map: ClusterMap, { peer: id, storeId, map: answered }: Answer): ClusterMap {
  const peer = peerOf(map, id);
  if (peer?.state !== 'awaited' || peer.storeId !== storeId) return map;
  const heard = withPeerRecord(map, { ...peer, state: 'up', isOut: false });
  const theirs = underIdsOf(map, answered);
  const knowsMore = (record: SlotRecord, slot: SlotNumber): boolean =>
    isWaiting(record) && (theirs.slots[slot]?.slotEpoch ?? 0) > record.slotEpoch;
  if (!heard.slots.some(knowsMore)) return heard;
  const givenUp = map.peers.filter(isGivenUp).map((peer) => peer.id);
  const slots = heard.slots.map((record, slot) =>
    knowsMore(record, slot) ? withGivenUp(toWaiting(theirs.slots[slot] as SlotRecord), givenUp) : record,
  );
  return { ...heard, peers: withPeersOf({ ...heard, slots }, theirs), slots };
}

/**
 * `theirs` with each store under the id that it has in `map`: one that died before its first map was durable joins a
 * recovered cluster as a new peer, since nobody heard so far knows of it.
 */
function underIdsOf(map: ClusterMap, theirs: ClusterMap): ClusterMap {
  const idsByStore = new Map(map.peers.map(({ id, storeId }) => [storeId, id]));
  const pairs = theirs.peers.map(({ id, storeId }) => [id, idsByStore.get(storeId) ?? id] as const);
  if (pairs.every(([id, ours]) => id === ours)) return theirs;
  const ids = new Map(pairs);
  const toOurs = (id: PeerId): PeerId => ids.get(id) ?? id;
  return {
    ...theirs,
    peers: theirs.peers.map((peer) => ({ ...peer, id: toOurs(peer.id) })),
    slots: theirs.slots.map((record) => ({
      ...record,
      primary: record.primary && toOurs(record.primary),
      inSync: record.inSync.map(toOurs),
      joining: record.joining.map(toOurs),
      ...(record.removed && { removed: record.removed.map((each) => ({ ...each, peer: toOurs(each.peer) })) }),
    })),
  };
}

/** By an operator: for good, or until it returns. */
function isGivenUp({ state, mode }: PeerRecord): boolean {
  return state === 'removed' || (state === 'awaited' && mode === 'set-aside');
}

/**
 * The peers of both maps. Of one that was not heard the store that `theirs` names counts when every record that is left
 * with it is of `theirs`; of one that was heard, or that the operator has removed, the store that was there.
 */
function withPeersOf(map: ClusterMap, theirs: ClusterMap): readonly PeerRecord[] {
  const unknown = theirs.peers.filter((peer) => peerOf(map, peer.id) === undefined);
  const peers = map.peers.map((known) => {
    const other = peerOf(theirs, known.id);
    if (other === undefined || other.storeId === known.storeId || known.state === 'removed') return known;
    const naming = map.slots.flatMap((record, slot) => (namedIn(record).includes(known.id) ? [slot] : []));
    const isOfTheirs = (slot: SlotNumber): boolean => map.slots[slot]?.slotEpoch === theirs.slots[slot]?.slotEpoch;
    const { storeId, incarnation, address } = other;
    if (known.state === 'awaited' && naming.every(isOfTheirs)) return { ...known, storeId, incarnation, address };
    if (!naming.some(isOfTheirs)) return known;
    return refuse('conflict', `What it knows of ${other.id} is of another store than this map names`, {
      advice: 'Both cannot be right: keep its data folder, and start it on an empty one to join as a new peer',
    });
  });
  return [...peers, ...unknown.map(toAwaited)];
}

function toAwaited(peer: PeerRecord): PeerRecord {
  return peer.state === 'removed' ? peer : { ...peer, state: 'awaited' };
}

/** Slots of which everybody named was heard begin a new term, with the former primary where it is still in sync. */
function settled(map: ClusterMap): ClusterMap {
  const isUnheard = ({ state }: PeerRecord): boolean => state === 'awaited' || state === 'removed';
  const unheard = new Set(map.peers.filter(isUnheard).map(({ id }) => id));
  return withSlots(map, (record, _slot, epoch) => {
    const [primary] = record.inSync;
    const isComplete = isWaiting(record) && !namedIn(record).some((peer) => unheard.has(peer));
    return isComplete && primary !== undefined ? withTerm(record, { primary, epoch }) : record;
  });
}

/**
 * A slot that waits goes on without these, unless nobody else is in sync. Its slotEpoch stays: what others answer is
 * measured by it.
 */
function withGivenUp(record: SlotRecord, missing: readonly PeerId[]): SlotRecord {
  const isLeft = (peer: PeerId): boolean => !missing.includes(peer);
  const inSync = record.inSync.filter(isLeft);
  if (!isWaiting(record) || inSync.length === 0) return record;
  return { ...record, inSync, joining: record.joining.filter(isLeft) };
}
