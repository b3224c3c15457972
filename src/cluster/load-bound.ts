/**
 * Who leads each slot: the owner of its token, unless that one would lead clearly more or fewer slots than its weight
 * says.
 *
 * Nobody leads over 5 % more than its share (overflow walks on along the ring) nor over 5 % less (it takes the slots
 * that are nearest before its tokens from those that can spare one). Where 5 % is less than one slot, shares are rounded
 * to the next whole slot either way. Overflow is settled as a stable matching (Gale & Shapley 1962): slots prefer
 * owners in ring order, owners prefer the slots that walked least, then a fixed order of slots. So who joins or leaves
 * disturbs few others. Cf. Mirrokni et al., Consistent Hashing with Bounded Loads, 2016.
 */
import { assert } from '../core/assert.js';
import { type Ring, tokensOfSlots } from './ring.js';

const slack = 0.05;

export interface Bounds {
  readonly most: number;
  readonly least: number;
}

/** How many slots a peer of this share of the weights may lead. */
export function boundsOf(share: number, slotCount: number): Bounds {
  const fair = share * slotCount;
  return {
    most: Math.max(Math.floor(fair * (1 + slack)), Math.ceil(fair)),
    least: Math.min(Math.ceil(fair * (1 - slack)), Math.floor(fair)),
  };
}

/** For each slot the index of the peer that leads it; `weights` by the same index. */
export function leadersOf(ring: Ring, weights: readonly number[], slotCount: number): Uint16Array {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const bounds = weights.map((weight) => boundsOf(weight / total, slotCount));
  const starts = tokensOfSlots(ring, slotCount);
  const led = matched(ring, starts, bounds);
  fillUp(led, { ring, starts, bounds });
  const leaders = new Uint16Array(slotCount);
  for (const [peer, slots] of led.entries()) for (const slot of slots) leaders[slot] = peer;
  return leaders;
}

interface Walk {
  /** The token it stands at, counted on from where it began. */
  step: number;
  /** Peers it has asked, the present one included. */
  readonly asked: number[];
}

/** Slots by peer, nobody above `most`. */
function matched(ring: Ring, starts: Uint32Array, bounds: readonly Bounds[]): number[][] {
  const { owners } = ring;
  const led: number[][] = bounds.map(() => []);
  const walks: Walk[] = [];
  const ownerAt = (slot: number, step: number): number =>
    owners[((starts[slot] as number) + step) % owners.length] as number;
  const isBefore = (a: number, b: number): boolean =>
    rankOf(walks, a) !== rankOf(walks, b) ? rankOf(walks, a) < rankOf(walks, b) : orderOf(a) < orderOf(b);
  for (let first = 0; first < starts.length; first++) {
    walks.push({ step: 0, asked: [ownerAt(first, 0)] });
    let slot: number | undefined = first;
    while (slot !== undefined) {
      const walk = walks[slot] as Walk;
      const peer = walk.asked.at(-1) as number;
      const mine = led[peer] as number[];
      mine.push(slot);
      slot = undefined;
      if (mine.length > (bounds[peer] as Bounds).most) {
        slot = takeLast(mine, isBefore);
        walkOn(walks[slot] as Walk, (step) => ownerAt(slot as number, step), owners.length);
      }
    }
  }
  return led;
}

function rankOf(walks: readonly Walk[], slot: number): number {
  return (walks[slot] as Walk).asked.length;
}

/** Takes the least preferred slot out. */
function takeLast(slots: number[], isBefore: (a: number, b: number) => boolean): number {
  let worst = 0;
  for (let index = 1; index < slots.length; index++) {
    if (isBefore(slots[worst] as number, slots[index] as number)) worst = index;
  }
  const slot = slots[worst] as number;
  slots[worst] = slots.at(-1) as number;
  slots.pop();
  return slot;
}

function walkOn(walk: Walk, ownerAt: (step: number) => number, tokenCount: number): void {
  do {
    walk.step++;
    assert(walk.step < tokenCount, 'Some peer has room, the bounds add up to more than all slots');
  } while (walk.asked.includes(ownerAt(walk.step)));
  walk.asked.push(ownerAt(walk.step));
}

/** Gives everybody below `least` the slots that are nearest before its tokens, from those above their own `least`. */
function fillUp(led: number[][], on: { ring: Ring; starts: Uint32Array; bounds: readonly Bounds[] }): void {
  const leader = new Uint16Array(on.starts.length);
  for (const [peer, slots] of led.entries()) for (const slot of slots) leader[slot] = peer;
  for (const [peer, { least }] of on.bounds.entries()) {
    const mine = led[peer] as number[];
    if (mine.length >= least) continue;
    const steps = stepsTo(on.ring, peer);
    const nearest = [...leader.keys()].sort(
      (a, b) =>
        (steps[on.starts[a] as number] as number) - (steps[on.starts[b] as number] as number) ||
        orderOf(a) - orderOf(b),
    );
    for (const slot of nearest) {
      if (mine.length >= least) break;
      const donor = leader[slot] as number;
      const theirs = led[donor] as number[];
      if (donor === peer || theirs.length <= (on.bounds[donor] as Bounds).least) continue;
      theirs.splice(theirs.indexOf(slot), 1);
      mine.push(slot);
      leader[slot] = peer;
    }
  }
}

/** For each token how many steps on the peer's next one is. */
function stepsTo(ring: Ring, peer: number): Uint32Array {
  const count = ring.owners.length;
  const steps = new Uint32Array(count);
  let next = 2 * count;
  for (let index = 2 * count - 1; index >= 0; index--) {
    if (ring.owners[index % count] === peer) next = index;
    if (index < count) steps[index] = next - index;
  }
  return steps;
}

/** A fixed order in which neighbouring slots are far apart (multiplication by an odd number permutes 32 bits). */
function orderOf(slot: number): number {
  return Math.imul(slot + 1, 0x9e3779b1) >>> 0;
}
