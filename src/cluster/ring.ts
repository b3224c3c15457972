/**
 * The ring of virtual tokens: whose token follows a slot's position.
 *
 * A peer's tokens are xxh64 of the address it first joined with plus a counter. A slot's position is where its range of
 * hashes starts. It goes to the next token at or above; above the highest token, to the highest one; walking on from
 * there begins again at the lowest.
 */
import { xxh64 } from '../core/checksum.js';
import { limits } from '../core/limits.js';

/** Index is the token, in ascending order of positions. */
export interface Ring {
  /** The upper 53 bits of the hashes: all that comparing with the start of a slot's range needs. */
  readonly positions: Float64Array;
  /** Whose each token is: an index into the peers. */
  readonly owners: Uint16Array;
}

export const emptyRing: Ring = { positions: new Float64Array(0), owners: new Uint16Array(0) };

const positionBits = 53;
/** Each peer's with the weight it joined with and with that of today. */
const rememberedMax = 2 * limits.peersMax;
const encoder = new TextEncoder();

/** By address and count: every placement hashes the tokens of all peers, and hardly ever are any of them new. */
const remembered = new Map<string, Float64Array>();

/** Positions of one peer's tokens, ascending. */
export function tokensOf({ tokenAddress, weight }: { tokenAddress: string; weight: number }): Float64Array {
  const count = weight > 0 ? Math.max(1, Math.round(limits.tokensPerWeight * weight)) : 0;
  const key = `${tokenAddress} ${count}`;
  const known = remembered.get(key);
  if (known !== undefined) return known;
  const positions = new Float64Array(count);
  for (let counter = 0; counter < count; counter++) {
    const hash = xxh64(encoder.encode(`${tokenAddress} ${counter}`));
    positions[counter] = Number(hash >> BigInt(64 - positionBits));
  }
  if (remembered.size >= rememberedMax) remembered.clear();
  remembered.set(key, positions.sort());
  return positions;
}

/** The ring with one more peer's tokens. Of equal tokens the one that came first counts as lower. */
export function withTokens(ring: Ring, more: { positions: Float64Array; owner: number }): Ring {
  const count = ring.positions.length + more.positions.length;
  const positions = new Float64Array(count);
  const owners = new Uint16Array(count);
  let oldIndex = 0;
  let newIndex = 0;
  for (let index = 0; index < count; index++) {
    const oldPosition = ring.positions[oldIndex] ?? Number.POSITIVE_INFINITY;
    const newPosition = more.positions[newIndex] ?? Number.POSITIVE_INFINITY;
    const isOld = oldPosition <= newPosition;
    positions[index] = isOld ? oldPosition : newPosition;
    owners[index] = isOld ? (ring.owners[oldIndex++] as number) : more.owner;
    if (!isOld) newIndex++;
  }
  return { positions, owners };
}

/** The ring of many, each owner's tokens at its index; as if one after the other had come to an empty ring. */
export function ringOf(tokens: readonly Float64Array[]): Ring {
  const all = tokens.flatMap((positions, owner) => Array.from(positions, (position) => ({ position, owner })));
  all.sort((a, b) => a.position - b.position);
  const positions = Float64Array.from(all, ({ position }) => position);
  return { positions, owners: Uint16Array.from(all, ({ owner }) => owner) };
}

/** For each slot the index of the token it goes to. The ring must have a token. */
export function tokensOfSlots(ring: Ring, slotCount: number): Uint32Array {
  const slotWidth = 2 ** positionBits / slotCount;
  const last = ring.positions.length - 1;
  const found = new Uint32Array(slotCount);
  let index = 0;
  for (let slot = 0; slot < slotCount; slot++) {
    while (index < last && (ring.positions[index] as number) < slot * slotWidth) index++;
    found[slot] = index;
  }
  return found;
}

/** For each token how many steps on the owner's next one is: 0 for its own. The owner must have a token. */
export function stepsTo(ring: Ring, owner: number): Uint32Array {
  const count = ring.owners.length;
  const steps = new Uint32Array(count);
  let next = 2 * count;
  for (let index = 2 * count - 1; index >= 0; index--) {
    if (ring.owners[index % count] === owner) next = index;
    if (index < count) steps[index] = next - index;
  }
  return steps;
}
