/**
 * How the map changes when a cluster is made and when peers join, die, come back and say goodbye.
 *
 * A slot's next primary is always one of its committed in-sync members; when none can be reached the slot keeps its
 * record and waits for its holder. A store that is gone is in no set. Pure: the master says who answered. Every
 * function returns the same map when nothing changed, otherwise a copy under the next epoch. Serves S1, S3, S8, S10.
 */
import { assertDefined } from '../core/assert.js';
import { refuse } from '../core/errors.js';
import { type Address, type ClusterId, generationOf, type PeerId, type StoreId } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { type ClusterMap, isWaiting, namedIn, type PeerRecord, peerOf, type SlotRecord } from './map.js';
import { checkCopies } from './settings.js';
import { without, withSlots, withTerm } from './slot-record.js';

export interface ClusterSettings {
  readonly clusterId: ClusterId;
  readonly lineage: string;
  readonly masterIncarnation: number;
  readonly replicas: number;
  readonly minInSync: number;
  /** A power of two, fixed for the life of the cluster. */
  readonly slotCount: number;
  readonly repairGraceMs: number;
  readonly quarantineMs: number;
}

/** As the message `join` carries it. */
export interface JoinRequest {
  /** The id that the peer's data folder knows, if any. */
  readonly peerId?: PeerId;
  readonly storeId: StoreId;
  readonly incarnation: number;
  readonly address: Address;
  readonly zone: string;
  readonly weight: number;
}

/**
 * `new`: first seen; `new-store`: a known peer whose data folder is another one, its old copies are gone; `restarted`:
 * the same store in a new process; `returned`: the same process, heard again.
 */
export type JoinKind = 'new' | 'new-store' | 'restarted' | 'returned';

export interface Joined {
  readonly map: ClusterMap;
  readonly peer: PeerRecord;
  readonly kind: JoinKind;
}

/** Peers that answered a ping after the death in question was noticed. */
export type Answered = ReadonlySet<PeerId>;

/** A cluster with no peers. Refuses settings that cannot hold (`invalid`). */
export function createCluster(settings: ClusterSettings): ClusterMap {
  const { clusterId, lineage, masterIncarnation, slotCount, repairGraceMs, quarantineMs } = settings;
  if (!Number.isInteger(Math.log2(slotCount)) || slotCount > limits.slotsMax) {
    refuse('invalid', `The number of slots must be a power of two up to ${limits.slotsMax}, not ${slotCount}`);
  }
  const pool = { name: 'default', replicas: settings.replicas, minInSync: settings.minInSync };
  checkCopies(pool);
  const epoch = 1;
  const empty: SlotRecord = { slotEpoch: epoch, term: epoch, primary: undefined, inSync: [], joining: [] };
  return {
    clusterId,
    epoch,
    lineage,
    masterIncarnation,
    repairGraceMs,
    quarantineMs,
    repairBytesPerSecond: 0,
    movesPaused: false,
    pool,
    peers: [],
    slots: Array.from({ length: slotCount }, () => empty),
  };
}

/**
 * Answers a peer that asks for a place. The first peer of an empty cluster leads every slot, alone in sync; later ones
 * come into slots by joining. Refuses `wrong-identity`, `removed` and `invalid`.
 */
export function withPeerJoined(map: ClusterMap, join: JoinRequest, answered: Answered): Joined {
  if (!(join.weight >= 0 && join.weight <= limits.weightMax)) {
    refuse('invalid', `A peer's weight must be 0 to ${limits.weightMax}, not ${join.weight}`);
  }
  const sameStore = map.peers.find((peer) => peer.storeId === join.storeId);
  if (sameStore !== undefined) return withKnownStore(map, join, sameStore);
  const namesake =
    join.peerId === undefined
      ? map.peers.find((peer) => peer.address === join.address && peer.state !== 'removed')
      : peerOf(map, join.peerId);
  if (join.peerId !== undefined && namesake === undefined) {
    refuse('wrong-identity', `No peer of this cluster has the id ${join.peerId}`, {
      advice: 'Start the master over the data folder it had, or the peer on an empty folder to join as a new one',
    });
  }
  // The last holder's old store may yet be found, and so may one that is to say what it knows of a slot; whom a slot
  // waits for is certain only when it waits no longer. Its record stays, the new store becomes a peer of its own.
  const isReplaceable =
    namesake !== undefined &&
    namesake.state !== 'removed' &&
    lastHeldBy(map, namesake.id).length === 0 &&
    !map.slots.some(isWaiting);
  return isReplaceable ? withNewStore(map, { join, namesake, answered }) : withNewPeer(map, join);
}

function withKnownStore(map: ClusterMap, join: JoinRequest, known: PeerRecord): Joined {
  if (known.state === 'removed') {
    refuse('removed', `${known.id} was removed from the cluster; what its data folder holds counts for nothing`, {
      advice: 'Stop it, or start it on an empty data folder to join as a new peer',
    });
  }
  if (known.state === 'awaited') {
    refuse('not-ready', `${known.id} has yet to say what it knew before the map was recovered`);
  }
  if (join.incarnation < known.incarnation) {
    refuse('wrong-identity', `${known.id} has been started again since: this is start ${join.incarnation}`, {
      advice: 'Two processes may be using copies of one data folder: stop one of them',
    });
  }
  const isRestart = join.incarnation > known.incarnation;
  const peer: PeerRecord = { ...withPlaceOf(known, join), incarnation: join.incarnation, ...heard };
  const withPeer = withPeerRecord(map, peer);
  if (!isRestart) return { map: withPeer, peer, kind: 'returned' };
  // A restarted primary has forgotten its queues and leases: it begins a new term (rule F9).
  const restarted = withSlots(withPeer, (record, _slot, epoch) =>
    record.primary === peer.id ? withTerm(record, { primary: peer.id, epoch }) : record,
  );
  return { map: restarted, peer, kind: 'restarted' };
}

function withNewStore(
  map: ClusterMap,
  arrival: { join: JoinRequest; namesake: PeerRecord; answered: Answered },
): Joined {
  const { join, namesake, answered } = arrival;
  const peer: PeerRecord = {
    ...withPlaceOf(namesake, join),
    storeId: join.storeId,
    incarnation: join.incarnation,
    // An empty store keeps nothing from others.
    mode: namesake.mode === 'set-aside' ? 'normal' : namesake.mode,
    ...heard,
  };
  const withPeer = withPeerRecord(map, peer);
  const counts = primaryCounts(map);
  const emptied = withSlots(withPeer, (record, _slot, epoch) => {
    const isNamed = record.inSync.includes(peer.id) || record.joining.includes(peer.id);
    if (!isNamed) return record;
    if (record.primary !== peer.id) return without(record, { peer: peer.id, epoch });
    // Its store is gone for certain, so another member leads from now on, whether it can be reached yet or not.
    const successor = assertDefined(
      successorOf(record, { answered, counts }) ?? otherMembers(record)[0],
      'A store is replaced only where others hold all of its slots',
    );
    return without(withTerm(record, { primary: successor, epoch }), { peer: peer.id, epoch });
  });
  return { map: emptied, peer, kind: 'new-store' };
}

function withNewPeer(map: ClusterMap, join: JoinRequest): Joined {
  const id = nextId(map);
  const { storeId, incarnation, address, zone, weight } = join;
  const isTaken = map.peers.some((peer) => peer.tokenAddress === address);
  const tokenAddress = isTaken ? `${address}#${id}` : address;
  const tokens = { tokenAddress, tokenWeight: weight };
  const own = { zone, weight, flagZone: zone, flagWeight: weight };
  const peer: PeerRecord = { id, storeId, address, ...tokens, ...own, ...heard, mode: 'normal', incarnation };
  const joined: ClusterMap = { ...map, epoch: map.epoch + 1, peers: [...withRoom(map), peer] };
  if (map.slots.some((record) => record.inSync.length > 0)) return { map: joined, peer, kind: 'new' };
  // Nothing was ever stored: being empty is being in sync.
  const { epoch } = joined;
  const lone: SlotRecord = { slotEpoch: epoch, term: epoch, primary: id, inSync: [id], joining: [] };
  return { map: { ...joined, slots: map.slots.map(() => lone) }, peer, kind: 'new' };
}

/** Above those of older lineages: a lost map may have given some that are yet to be heard of (rule F14). */
function nextId({ epoch, peers }: ClusterMap): PeerId {
  const numbers = peers.map(({ id }) => Number(id.slice(1)));
  return `p${1 + Math.max(generationOf(epoch) * limits.idsPerLineage, ...numbers)}`;
}

/**
 * The peers, with room for one more. A cluster that replaces peers for years forgets those that were removed first;
 * one that some slot remembers as a former member stays, for whoever must judge a loss (rule F26). A forgotten peer
 * that comes back is refused as one that nobody knows, and its id is never given again, as the newest one is kept.
 */
function withRoom(map: ClusterMap): readonly PeerRecord[] {
  if (map.peers.length < limits.peersMax) return map.peers;
  const named = new Set(
    map.slots.flatMap((record) => [...namedIn(record), ...(record.removed ?? []).map(({ peer }) => peer)]),
  );
  const forgotten = map.peers.find(({ id, state }) => state === 'removed' && !named.has(id));
  if (forgotten === undefined) refuse('invalid', `A cluster holds at most ${limits.peersMax} peers`);
  return map.peers.filter((peer) => peer !== forgotten);
}

/** A peer that was down answers again, the same process as before: it keeps what nobody took over meanwhile. */
export function withPeerUp(map: ClusterMap, id: PeerId): ClusterMap {
  const peer = peerOf(map, id);
  return peer?.state === 'down' ? withPeerRecord(map, { ...peer, ...heard }) : map;
}

/** A peer does not answer: it is down, and its slots go to members that do, where there are some. */
export function withPeerDown(map: ClusterMap, death: { peer: PeerId; answered: Answered }): ClusterMap {
  const peer = peerOf(map, death.peer);
  if (peer === undefined || peer.state === 'removed') return map;
  return withPromotions(withPeerRecord(map, { ...peer, state: 'down' }), death.answered);
}

/**
 * Gives every slot whose primary is down to an in-sync member that answered, and takes the old primary out of the set.
 * Slots without such a member stay as they are and wait for their holder.
 */
export function withPromotions(map: ClusterMap, answered: Answered): ClusterMap {
  const counts = primaryCounts(map);
  const downPeers = new Set(map.peers.filter((peer) => peer.state === 'down').map((peer) => peer.id));
  const alive = new Set([...answered].filter((id) => !downPeers.has(id)));
  return withSlots(map, (record, _slot, epoch) => {
    const { primary } = record;
    if (primary === undefined || !downPeers.has(primary)) return record;
    const successor = successorOf(record, { answered: alive, counts });
    if (successor === undefined) return record;
    return without(withTerm(record, { primary: successor, epoch }), { peer: primary, epoch });
  });
}

/**
 * A peer stops on purpose, after it handed over what it could: it leaves the sets whose primary is `present`, heard of
 * lately. A primary that died a moment ago unnoticed may never come back: then the leaver is who has everything.
 */
export function withPeerLeaving(
  map: ClusterMap,
  goodbye: { peer: PeerId; answered: Answered; present: ReadonlySet<PeerId> },
): ClusterMap {
  const promoted = withPeerDown(map, goodbye);
  return withSlots(promoted, (record, _slot, epoch) => {
    const { primary } = record;
    const isNamed = record.inSync.includes(goodbye.peer) || record.joining.includes(goodbye.peer);
    const isLed = primary !== undefined && primary !== goodbye.peer && goodbye.present.has(primary);
    return isNamed && isLed ? without(record, { peer: goodbye.peer, epoch }) : record;
  });
}

/** Slots of which only this peer is in sync. */
export function lastHeldBy(map: ClusterMap, id: PeerId): readonly number[] {
  return map.slots.flatMap((record, slot) => (record.inSync.length === 1 && record.inSync[0] === id ? [slot] : []));
}

/** Slots that wait for somebody's answer since the map was recovered, and name this peer. */
export function waitingWith(map: ClusterMap, id: PeerId): readonly number[] {
  return map.slots.flatMap((record, slot) => (isWaiting(record) && namedIn(record).includes(id) ? [slot] : []));
}

/** Of the members that answered the one that leads fewest slots so far; counts it in. */
function successorOf(
  record: SlotRecord,
  view: { answered: Answered; counts: Map<PeerId, number> },
): PeerId | undefined {
  const { answered, counts } = view;
  const candidates = otherMembers(record).filter((peer) => answered.has(peer));
  if (candidates.length === 0) return undefined;
  const successor = candidates.reduce((best, peer) =>
    (counts.get(peer) ?? 0) < (counts.get(best) ?? 0) ? peer : best,
  );
  counts.set(successor, (counts.get(successor) ?? 0) + 1);
  return successor;
}

function otherMembers(record: SlotRecord): readonly PeerId[] {
  return record.inSync.filter((peer) => peer !== record.primary);
}

function primaryCounts(map: ClusterMap): Map<PeerId, number> {
  const counts = new Map<PeerId, number>();
  for (const { primary } of map.slots) if (primary !== undefined) counts.set(primary, (counts.get(primary) ?? 0) + 1);
  return counts;
}

/** What a peer says about itself each time; its tokens stay where they are. */
function withPlaceOf(known: PeerRecord, { address, zone, weight }: JoinRequest): PeerRecord {
  return {
    ...known,
    address,
    zone: zone === known.flagZone ? known.zone : zone,
    weight: weight === known.flagWeight ? known.weight : weight,
    flagZone: zone,
    flagWeight: weight,
  };
}

/** The peer runs; what was being made anew of its copies is no longer needed. */
const heard = { state: 'up', isOut: false } as const;

export function withPeerRecord(map: ClusterMap, peer: PeerRecord): ClusterMap {
  const before = peerOf(map, peer.id);
  const isSame =
    before !== undefined && (Object.keys(peer) as (keyof PeerRecord)[]).every((k) => before[k] === peer[k]);
  if (isSame) return map;
  const peers = map.peers.map((known) => (known.id === peer.id ? peer : known));
  return { ...map, epoch: map.epoch + 1, peers };
}
