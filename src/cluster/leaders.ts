/**
 * Who should lead each slot: the owner of the next token on the ring, as far as that gives nobody clearly more or fewer
 * slots than its weight says.
 *
 * The joins are gone through again in their order, everybody with the weight it joined with. Each peer takes the slots
 * whose next token is its own, then those nearest before its tokens, from peers that lead more than their share, until
 * it has its share: so a join moves only what the new peer must get. Then who is no longer placed gives up its slots,
 * and who is over 5 % above its share of today's weights the overflow; these walk on along the ring to whom has room.
 * Who is over 5 % below takes what is nearest. So leaves and changes of weight move little that need not move. The walk
 * is a stable matching (Gale & Shapley 1962: slots prefer peers in ring order, peers their own slots and then those
 * that walked least), in which one more or fewer disturbs few others; cf. Mirrokni et al., Consistent Hashing with
 * Bounded Loads, 2016.
 */
import { Bug } from '../core/assert.js';
import type { PeerRecord } from './map.js';
import { emptyRing, type Ring, ringOf, stepsTo, tokensOf, tokensOfSlots, withTokens } from './ring.js';

export type RingPeer = Pick<PeerRecord, 'tokenAddress' | 'tokenWeight' | 'weight'> & { readonly isPlaced: boolean };

/** How many slots a peer may lead. */
export interface Bounds {
  readonly most: number;
  readonly least: number;
}

const slack = 0.05;

/** Within 5 % of the fair share, rounded to the next whole slot either way where 5 % is less than that. */
export function boundsOf(fairCount: number): Bounds {
  return {
    most: Math.max(Math.floor(fairCount * (1 + slack)), Math.ceil(fairCount)),
    least: Math.min(Math.ceil(fairCount * (1 - slack)), Math.floor(fairCount)),
  };
}

/** For each slot the index of the peer that leads it. `peers` are all, in order of joining; one must be placed. */
export function leadersOf(peers: readonly RingPeer[], slotCount: number): Uint16Array {
  const order = spreadOrder(slotCount);
  const seats = leadersByJoins(peers, order);
  const weights = peers.map((peer) => (peer.isPlaced ? peer.weight : 0));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const bounds = weights.map((weight) => boundsOf((slotCount * weight) / total));
  const ring = ringOf(peers.map((peer) => (peer.isPlaced ? tokensOf(peer) : noTokens)));
  const starts = tokensOfSlots(ring, slotCount);
  shed(seats, { ring, starts, bounds, order });
  const mayGive = (donor: number): boolean => countAt(seats.counts, donor) > (bounds[donor] as Bounds).least;
  for (const [peer, { least }] of bounds.entries()) take(seats, { peer, upTo: least, mayGive, ring, starts, order });
  return seats.leaders;
}

const noTokens = new Float64Array(0);

interface Seats {
  /** Index is the slot. */
  readonly leaders: Uint16Array;
  /** Index is the peer: how many slots it leads. */
  readonly counts: Uint32Array;
}

/** Where some joins have led to. */
interface Joined {
  readonly joins: readonly Pick<RingPeer, 'tokenAddress' | 'tokenWeight'>[];
  readonly seats: Seats;
  readonly ring: Ring;
}

/** Of the placement before: the next one has most often the same joins, or one more. */
let lastJoined: Joined | undefined;

/** Who would lead if all of them were placed with the weights they joined with: everybody its share, to one slot. */
function leadersByJoins(peers: readonly RingPeer[], order: Uint16Array): Seats {
  const slotCount = order.length;
  const before = lastJoined !== undefined && isBegunBy(lastJoined, peers, slotCount) ? lastJoined : undefined;
  const leaders = before?.seats.leaders.slice() ?? new Uint16Array(slotCount);
  const seats: Seats = { leaders, counts: new Uint32Array(peers.length) };
  // The first one begins with everything, as when a cluster is made.
  seats.counts.set(before?.seats.counts ?? [slotCount]);
  let ring = before?.ring ?? emptyRing;
  let total = before?.joins.reduce((sum, { tokenWeight }) => sum + tokenWeight, 0) ?? 0;
  for (const [peer, { tokenAddress, tokenWeight }] of peers.entries()) {
    if (tokenWeight === 0 || peer < (before?.joins.length ?? 0)) continue;
    total += tokenWeight;
    ring = withTokens(ring, { positions: tokensOf({ tokenAddress, weight: tokenWeight }), owner: peer });
    const fairCount = (index: number): number => (slotCount * (peers[index] as RingPeer).tokenWeight) / total;
    const mayGive = (donor: number): boolean => countAt(seats.counts, donor) > fairCount(donor);
    const starts = tokensOfSlots(ring, slotCount);
    take(seats, { peer, upTo: Math.floor(fairCount(peer)), mayGive, ring, starts, order });
  }
  const joins = peers.map(({ tokenAddress, tokenWeight }) => ({ tokenAddress, tokenWeight }));
  lastJoined = { joins, ring, seats: { leaders: seats.leaders.slice(), counts: seats.counts.slice() } };
  return seats;
}

function isBegunBy({ joins, seats }: Joined, peers: readonly RingPeer[], slotCount: number): boolean {
  const isSame = ({ tokenAddress, tokenWeight }: Joined['joins'][number], at: number): boolean =>
    peers[at]?.tokenAddress === tokenAddress && peers[at].tokenWeight === tokenWeight;
  return seats.leaders.length === slotCount && joins.every(isSame);
}

interface Place {
  readonly ring: Ring;
  /** By slot the token it goes to. */
  readonly starts: Uint32Array;
  /** All slots in a fixed order. */
  readonly order: Uint16Array;
}

/** Gives a peer the slots nearest before its tokens, from peers that may give, until it leads `upTo`. */
function take(seats: Seats, on: Place & { peer: number; upTo: number; mayGive: (donor: number) => boolean }): void {
  const { leaders, counts } = seats;
  const { peer, upTo, mayGive } = on;
  if (countAt(counts, peer) >= upTo) return;
  for (const slot of nearestFirst(peer, on)) {
    if (countAt(counts, peer) >= upTo) return;
    const donor = leaders[slot] as number;
    if (!mayGive(donor)) continue;
    leaders[slot] = peer;
    counts[donor] = countAt(counts, donor) - 1;
    counts[peer] = countAt(counts, peer) + 1;
  }
}

/** All slots by how many tokens stand between them and the peer's next one (a counting sort, for speed). */
function nearestFirst(peer: number, on: Place): Uint16Array {
  const { ring, starts, order } = on;
  const steps = stepsTo(ring, peer);
  const stepsOf = (slot: number): number => steps[starts[slot] as number] as number;
  const offsets = new Uint32Array(ring.owners.length + 1);
  for (const slot of order) offsets[stepsOf(slot) + 1] = countAt(offsets, stepsOf(slot) + 1) + 1;
  for (let index = 1; index < offsets.length; index++) {
    offsets[index] = countAt(offsets, index) + countAt(offsets, index - 1);
  }
  const sorted = new Uint16Array(order.length);
  for (const slot of order) {
    const offset = countAt(offsets, stepsOf(slot));
    sorted[offset] = slot;
    offsets[stepsOf(slot)] = offset + 1;
  }
  return sorted;
}

/** Lets slots walk on from peers that lead more than they may, until nobody does. */
function shed(seats: Seats, on: Place & { bounds: readonly Bounds[] }): void {
  const { ring, starts, order, bounds } = on;
  const ranks = new Uint16Array(order.length);
  for (const [rank, slot] of order.entries()) ranks[slot] = rank;
  /** By slot the peers it has been with; the last one is where it is. */
  const walks = Array.from(seats.leaders, (peer) => [peer]);
  const walkOf = (slot: number): number[] => walks[slot] as number[];
  const preference = (slot: number): number => walkOf(slot).length * order.length + (ranks[slot] as number);
  const led: number[][] = bounds.map(() => []);
  for (const slot of order) (led[seats.leaders[slot] as number] as number[]).push(slot);
  const overflow = bounds.flatMap(({ most }, peer) => (led[peer] as number[]).splice(most));
  for (const first of overflow) {
    let slot: number | undefined = first;
    while (slot !== undefined) {
      const next = nextOwner(ring, starts[slot] as number, walkOf(slot));
      walkOf(slot).push(next);
      const theirs = led[next] as number[];
      theirs.push(slot);
      slot = theirs.length > (bounds[next] as Bounds).most ? takeLeastPreferred(theirs, preference) : undefined;
    }
  }
  seats.counts.fill(0);
  for (const [slot, walk] of walks.entries()) {
    const leader = walk.at(-1) as number;
    seats.leaders[slot] = leader;
    seats.counts[leader] = countAt(seats.counts, leader) + 1;
  }
}

/** The owner of the next token from `start` on that is none of `past`. */
function nextOwner(ring: Ring, start: number, past: readonly number[]): number {
  for (let step = 0; step < ring.owners.length; step++) {
    const owner = ring.owners[(start + step) % ring.owners.length] as number;
    if (!past.includes(owner)) return owner;
  }
  throw new Bug('A slot has found no peer with room, though together they may lead more than all slots');
}

function takeLeastPreferred(slots: number[], preference: (slot: number) => number): number {
  let worst = 0;
  for (let index = 1; index < slots.length; index++) {
    if (preference(slots[index] as number) > preference(slots[worst] as number)) worst = index;
  }
  const slot = slots[worst] as number;
  slots[worst] = slots.at(-1) as number;
  slots.pop();
  return slot;
}

/** All slots, neighbours far apart (multiplication by an odd number permutes 32 bits). */
function spreadOrder(slotCount: number): Uint16Array {
  const spread = (slot: number): number => Math.imul(slot + 1, 0x9e3779b1) >>> 0;
  return Uint16Array.from({ length: slotCount }, (_, slot) => slot).sort((a, b) => spread(a) - spread(b));
}

function countAt(counts: Uint32Array, index: number): number {
  return counts[index] as number;
}
