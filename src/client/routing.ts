/**
 * From a hash to whom to ask, by one cluster map: slot, term, primary and backups. Pure; answers are kept per map, so
 * that a small request costs no search.
 */
import { backupsOf, type ClusterMap, type PeerRecord, slotOfHash } from '../cluster/map.js';
import type { Epoch, PeerId, SlotNumber } from '../core/ids.js';
import type { PeerAddress } from './results.js';

export interface Route {
  readonly slot: SlotNumber;
  readonly slotEpoch: Epoch;
  readonly term: Epoch;
  /** Undefined while nobody has joined, or the map names no address for it. */
  readonly primary: PeerRecord | undefined;
  /** In sync but not primary. */
  readonly backups: readonly PeerRecord[];
  readonly joining: readonly PeerRecord[];
}

export class RoutingTable {
  readonly map: ClusterMap;
  readonly #peers: ReadonlyMap<PeerId, PeerRecord>;
  readonly #routes: (Route | undefined)[];

  constructor(map: ClusterMap) {
    this.map = map;
    this.#peers = new Map(map.peers.map((peer) => [peer.id, peer]));
    this.#routes = new Array<Route | undefined>(map.slots.length).fill(undefined);
  }

  slotOf(hash: bigint): SlotNumber {
    return slotOfHash(hash, this.map.slots.length);
  }

  routeOf(hash: bigint): Route {
    return this.routeOfSlot(this.slotOf(hash));
  }

  routeOfSlot(slot: SlotNumber): Route {
    const known = this.#routes[slot];
    if (known !== undefined) return known;
    const record = this.map.slots[slot];
    const route: Route = {
      slot,
      slotEpoch: record?.slotEpoch ?? 0,
      term: record?.term ?? 0,
      primary: record?.primary === undefined ? undefined : this.#peers.get(record.primary),
      backups: record === undefined ? [] : this.#recordsOf(backupsOf(record)),
      joining: record === undefined ? [] : this.#recordsOf(record.joining),
    };
    this.#routes[slot] = route;
    return route;
  }

  /** An id with its address; a peer that this map does not know yet has none. */
  addressOf(id: PeerId): PeerAddress {
    return { id, address: this.#peers.get(id)?.address ?? '' };
  }

  #recordsOf(ids: readonly PeerId[]): PeerRecord[] {
    return ids.map((id) => this.#peers.get(id)).filter((peer) => peer !== undefined);
  }
}

/** Everyone who holds all acknowledged writes of the slot, the primary first. */
export function holdersOf(route: Route): readonly PeerRecord[] {
  return route.primary === undefined ? route.backups : [route.primary, ...route.backups];
}
