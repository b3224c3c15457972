/**
 * Why a slot is where it is: which case of placement gave it its primary, who else is wanted, and what of that is not
 * so yet. Pure, in sentences for people.
 */
import type { PeerId, SlotNumber } from '../core/ids.js';
import { type ClusterMap, isRunning, isWaiting, namedIn, type PeerRecord, peerOf, type SlotRecord } from './map.js';
import { isPlaced, type Placement } from './placement.js';
import { emptyRing, tokensOf, tokensOfSlots, withTokens } from './ring.js';

/** `token`: the next token is its own; `last`: above the highest one, its owner; `bound`: whose it is has its share. */
export type PlacementCase = 'token' | 'last' | 'bound' | 'nobody';

export interface SlotExplanation {
  readonly placementCase: PlacementCase;
  /** Whose token is next, among those that are placed. */
  readonly tokenOwner: PeerId | undefined;
  readonly wanted: readonly PeerId[];
  /** First why it is wanted there, then what is otherwise and what will be done about it. */
  readonly reasons: readonly string[];
}

export function explainSlot(map: ClusterMap, wanted: Placement, slot: SlotNumber): SlotExplanation {
  const record = map.slots[slot] as SlotRecord;
  const wish = wanted[slot] ?? [];
  const { owner, isLast } = tokenOwnerOf(map, slot);
  const placementCase = wish[0] === undefined ? 'nobody' : wish[0] !== owner ? 'bound' : isLast ? 'last' : 'token';
  const reasons = [
    placed(placementCase, { primary: wish[0], owner }),
    ...chained(wish),
    ...otherwise(map, record, wish),
  ];
  return { placementCase, tokenOwner: owner, wanted: wish, reasons };
}

function tokenOwnerOf(map: ClusterMap, slot: SlotNumber): { owner: PeerId | undefined; isLast: boolean } {
  const placedPeers = map.peers.filter(isPlaced);
  const ring = placedPeers.reduce(
    (before, peer, owner) => withTokens(before, { positions: tokensOf(peer), owner }),
    emptyRing,
  );
  if (ring.positions.length === 0) return { owner: undefined, isLast: false };
  const tokens = tokensOfSlots(ring, map.slots.length);
  const token = tokens[slot] ?? 0;
  const isAbove = (ring.positions[token] ?? 0) < (slot / map.slots.length) * 2 ** 53;
  return { owner: placedPeers[ring.owners[token] ?? 0]?.id, isLast: isAbove };
}

function placed(which: PlacementCase, of: { primary: PeerId | undefined; owner: PeerId | undefined }): string {
  const { primary, owner } = of;
  if (which === 'nobody') return 'Nobody is there to hold it: every peer is drained, out or removed';
  if (which === 'token') return `${primary} is to lead it: the next token on the ring is its own`;
  if (which === 'last') return `${primary} is to lead it: it has the highest token, and the slot lies above that`;
  return `${primary} is to lead it: the next token is ${owner}'s, but shares are kept within 5 % of the weights`;
}

function chained([primary, ...backups]: readonly PeerId[]): readonly string[] {
  if (primary === undefined || backups.length === 0) return [];
  const [who, come] = [backups.join(' and '), backups.length === 1 ? 'it comes' : 'they come'];
  return [
    `${who} ${backups.length === 1 ? 'is' : 'are'} to back it up: in the chain of peers ${come} after ${primary}`,
  ];
}

function otherwise(map: ClusterMap, record: SlotRecord, wish: readonly PeerId[]): readonly string[] {
  const { primary, inSync, joining } = record;
  const stateOf = (id: PeerId): PeerRecord | undefined => peerOf(map, id);
  const sentences: string[] = [];
  if (isWaiting(record)) {
    const unheard = namedIn(record).filter((id) => stateOf(id)?.state === 'awaited');
    sentences.push(`nobody leads it: since the map was recovered it waits for what ${unheard.join(' and ')} may know`);
  }
  for (const id of wish.filter((each) => !inSync.includes(each))) {
    if (joining.includes(id)) sentences.push(`${id} is being copied to`);
    else if (!isRunning(stateOf(id))) sentences.push(`${id} is down: its copy is waited for`);
    else sentences.push(`${id} has no copy yet: one will be made${map.movesPaused ? ', once moves are resumed' : ''}`);
  }
  for (const id of inSync.filter((each) => !wish.includes(each)))
    sentences.push(`${id} has a copy ${whyNot(stateOf(id))}`);
  if (primary !== undefined && wish[0] !== undefined && primary !== wish[0]) {
    sentences.push(`${primary} leads it now, and hands it over once ${wish[0]} is in sync and has been up for a while`);
  }
  return sentences;
}

function whyNot(peer: PeerRecord | undefined): string {
  if (peer?.mode === 'draining') return 'and is being drained: it goes when the wanted ones are in sync';
  if (peer?.isOut === true) return 'and has been down for long: it is not counted on';
  return 'that is not wanted: it goes when the wanted ones are in sync';
}
