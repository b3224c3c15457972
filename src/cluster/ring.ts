/**
 * The ring of virtual tokens: whose token follows a slot's position.
 *
 * A peer's tokens are xxh64 of the address it first joined with plus a counter. A slot's position is where its range of
 * hashes starts. It goes to the next token at or above; above the highest token, to the highest one; walking on from
 * there begins again at the lowest.
 */
import { xxh64 } from '../core/checksum.js';
import { limits } from '../core/limits.js';
import type { PeerRecord } from './map.js';

export interface Ring {
  /** Ascending. */
  readonly tokens: BigUint64Array;
  /** Whose each token is: an index into the peers the ring was made from. */
  readonly owners: Uint16Array;
}

const encoder = new TextEncoder();

export function tokenCount(peer: Pick<PeerRecord, 'weight'>): number {
  return peer.weight > 0 ? Math.max(1, Math.round(limits.tokensPerWeight * peer.weight)) : 0;
}

/** Of equal tokens the one of the earlier peer counts as lower. */
export function ringOf(peers: readonly Pick<PeerRecord, 'tokenAddress' | 'weight'>[]): Ring {
  const all: { token: bigint; owner: number }[] = [];
  for (const [owner, peer] of peers.entries()) {
    const count = tokenCount(peer);
    for (let counter = 0; counter < count; counter++) {
      all.push({ token: xxh64(encoder.encode(`${peer.tokenAddress} ${counter}`)), owner });
    }
  }
  all.sort((a, b) => (a.token < b.token ? -1 : a.token > b.token ? 1 : a.owner - b.owner));
  return {
    tokens: BigUint64Array.from(all, (entry) => entry.token),
    owners: Uint16Array.from(all, (entry) => entry.owner),
  };
}

/** For each slot the index of the token it goes to. The ring must have a token. */
export function tokensOfSlots(ring: Ring, slotCount: number): Uint32Array {
  const step = 2n ** 64n / BigInt(slotCount);
  const last = ring.tokens.length - 1;
  const found = new Uint32Array(slotCount);
  let index = 0;
  for (let slot = 0; slot < slotCount; slot++) {
    const position = BigInt(slot) * step;
    while (index < last && (ring.tokens[index] as bigint) < position) index++;
    found[slot] = index;
  }
  return found;
}
