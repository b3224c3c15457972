/**
 * Watches every peer of the map: one contact each, a round of pings at every interval, and what membership.ts makes of
 * it.
 *
 * Holds the state over time that the judgement itself does not: contacts, last pongs, since when each peer is up. What
 * follows from a verdict is decided elsewhere (failover.ts, by way of master.ts).
 */
import { type ClusterMap, isRunning, type PeerRecord, peerOf } from '../cluster/map.js';
import type { Environment } from '../core/environment.js';
import { refuse } from '../core/errors.js';
import { generationOf, type PeerId } from '../core/ids.js';
import { LatencyWindow } from '../core/latency-window.js';
import { limits } from '../core/limits.js';
import { timing } from '../core/timing.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import type { AmountRow } from '../protocol/rows.js';
import type { Answer } from '../protocol/session.js';
import { type PeerFigures, toFigures } from './conditions.js';
import {
  type Liveness,
  type Membership,
  onAsked,
  onGone,
  onGoodbye,
  onJoin,
  onlyListens,
  onPong,
  onTick,
  startMembership,
  withPeers,
} from './membership.js';
import { type ContactOwner, type HandoverWish, PeerContact, type Pong } from './peer-contact.js';

export interface WatchOwner {
  readonly incarnation: number;
  clusterMs(): number;
  slowPeers(): readonly PeerId[];
  /** Some peer's liveness changed. */
  onLivenessChanged(before: Membership, after: Membership): void;
  onAnswered(peer: PeerId): void;
  /** The master's own round came late. */
  onLate(lateMs: number): void;
  /** A peer knows a map that this master never made. */
  onForeignMap(sentence: string): void;
}

export interface Heard {
  readonly pong: Pong;
  readonly atMs: number;
}

export class PeerWatch {
  readonly #environment: Environment;
  readonly #owner: WatchOwner;
  readonly #contacts = new Map<PeerId, PeerContact>();
  readonly #heard = new Map<PeerId, Heard>();
  readonly #roundTrips = new Map<PeerId, LatencyWindow>();
  readonly #upSinceMs = new Map<PeerId, number>();
  #membership: Membership;
  #map: { readonly map: ClusterMap; readonly encoded: Uint8Array } | undefined;
  #generations = 0;
  #nextPingsMs = 0;

  constructor(environment: Environment, owner: WatchOwner) {
    this.#environment = environment;
    this.#owner = owner;
    this.#membership = startMembership(environment.clock.monotonicMs());
  }

  get membership(): Membership {
    return this.#membership;
  }

  get onlyListens(): boolean {
    return onlyListens(this.#membership, this.#environment.clock.monotonicMs());
  }

  /** Since when each peer has answered without a gap. */
  get upSinceMs(): ReadonlyMap<PeerId, number> {
    return this.#upSinceMs;
  }

  heardFrom(peer: PeerId): Heard | undefined {
    return this.#heard.get(peer);
  }

  /** What is known of its disk, and how long its pings take. */
  figuresOf(peer: PeerId): PeerFigures {
    const on = { atLeast: limits.latencySamplesMin, nowMs: this.#environment.clock.monotonicMs() };
    return toFigures(this.heardFrom(peer)?.pong, this.#roundTrips.get(peer)?.quantileMs(0.99, on));
  }

  /** Of all peers that run. */
  figures(): ReadonlyMap<PeerId, PeerFigures> {
    const running = this.#map?.map.peers.filter(isRunning) ?? [];
    return new Map(running.map(({ id }) => [id, this.figuresOf(id)]));
  }

  /** Follows the peers of a new map, and brings it to them. */
  follow(map: ClusterMap, encoded: Uint8Array): void {
    const before = this.#map?.map;
    this.#map = { map, encoded };
    const watched = map.peers.filter((peer) => peer.state !== 'removed');
    const ids = watched.map((peer) => peer.id);
    const nowMs = this.#environment.clock.monotonicMs();
    let membership = withPeers(this.#membership, ids, nowMs);
    for (const peer of watched) {
      // In the same breath as the map that names it: nothing may be decided about its former start in between.
      if (before === undefined || isSameStart(peerOf(before, peer.id), peer)) continue;
      this.#upSinceMs.delete(peer.id);
      membership = onJoin(membership, peer.id, nowMs);
    }
    this.#become(membership);
    for (const [id, contact] of this.#contacts) {
      if (ids.includes(id)) continue;
      contact.stop();
      this.#contacts.delete(id);
      this.#heard.delete(id);
      this.#roundTrips.delete(id);
    }
    for (const peer of watched) {
      // It is asked when it joins, before it may hear of this map: its own is all that tells what it knows (F14).
      if (peer.state === 'awaited') continue;
      const contact = this.#contacts.get(peer.id);
      if (contact === undefined) this.#contacts.set(peer.id, this.#newContact(map, peer));
      else contact.update(peer);
    }
    for (const contact of this.#contacts.values()) contact.push();
  }

  /** One look at everything; meant to be called every `timing.masterRoundMs`. */
  round(): void {
    const nowMs = this.#environment.clock.monotonicMs();
    const lateMs = nowMs - this.#membership.tickedAtMs - timing.masterRoundMs;
    if (lateMs > timing.masterLateMs) this.#owner.onLate(lateMs);
    this.#become(onTick(this.#membership, nowMs));
    if (nowMs < this.#nextPingsMs) return;
    this.#nextPingsMs = nowMs + timing.pingIntervalMs;
    for (const contact of this.#contacts.values()) contact.ping();
  }

  /** Pings these now, unless that was done since `sinceMs`. */
  ask(peers: readonly PeerId[], sinceMs: number): void {
    for (const peer of peers) this.#contacts.get(peer)?.pingOnceSince(sinceMs);
  }

  /** Somebody lost its connection to the peer. If its process is gone, so is this master's own: a ping finds out. */
  look(peer: PeerId): void {
    this.#contacts.get(peer)?.pingOnceSince(this.#environment.clock.monotonicMs() - timing.refusedRetryMs);
  }

  /** What each peer that answers holds of each slot. */
  async amounts(): Promise<ReadonlyMap<PeerId, readonly AmountRow[]>> {
    const asked = [...this.#contacts].map(async ([peer, contact]) => [peer, await contact.amounts()] as const);
    const answers = await Promise.all(asked);
    return new Map(answers.flatMap(([peer, rows]) => (rows === undefined ? [] : [[peer, rows]])));
  }

  /** Asks a peer once. Throws DfsError, `connection-lost` when there is no connection. */
  async request<N extends MessageName>(
    peer: PeerId,
    name: N,
    header: RequestOf<N>,
    options: { payload?: Uint8Array; timeoutMs: number },
  ): Promise<Answer<N>> {
    const contact = this.#contacts.get(peer);
    if (contact === undefined) return refuse('not-found', `No peer has the id ${peer}`);
    return contact.ask(name, header, options);
  }

  wish(peer: PeerId, wishes: readonly HandoverWish[]): void {
    this.#contacts.get(peer)?.wish(wishes);
  }

  /** The process that the map names already says that it is there again. */
  returned(peer: PeerId): void {
    this.#contacts.get(peer)?.callNow();
    if (this.#membership.members.get(peer)?.state !== 'down') return;
    this.#become(onJoin(this.#membership, peer, this.#environment.clock.monotonicMs()));
  }

  /** It asks for something. Answers for how long it has counted as down while it asks; undefined when it does not. */
  noteAsked(peer: PeerId): number | undefined {
    const nowMs = this.#environment.clock.monotonicMs();
    this.#become(onAsked(this.#membership, peer, nowMs));
    const member = this.#membership.members.get(peer);
    if (member?.state !== 'down') return undefined;
    this.#contacts.get(peer)?.callNow();
    return nowMs - member.sinceMs;
  }

  saidGoodbye(peer: PeerId): void {
    this.#become(onGoodbye(this.#membership, peer, this.#environment.clock.monotonicMs()));
  }

  stop(): void {
    for (const contact of this.#contacts.values()) contact.stop();
    this.#contacts.clear();
  }

  #newContact(map: ClusterMap, peer: PeerRecord): PeerContact {
    const owner: ContactOwner = {
      clusterId: map.clusterId,
      incarnation: this.#owner.incarnation,
      clusterMs: () => this.#owner.clusterMs(),
      slowPeers: () => this.#owner.slowPeers(),
      newestMap: () => ({ epoch: this.#map?.map.epoch ?? 0, encoded: this.#map?.encoded ?? new Uint8Array() }),
      nextGeneration: () => this.nextGeneration(),
      onPong: (id, pong, sentAtMs) => this.#onPong(id, pong, sentAtMs),
      onGone: (id) => this.#become(onGone(this.#membership, id, this.#environment.clock.monotonicMs())),
      onMapRefused: (id, sentence) => this.#owner.onForeignMap(`${id} does not take this master's map: ${sentence}`),
    };
    return new PeerContact(this.#environment, owner, peer);
  }

  /** Rises with every connection, over restarts too: a newer one closes the older at the peer (rule F7). */
  nextGeneration(): number {
    this.#generations += 1;
    return this.#owner.incarnation * 2 ** 32 + this.#generations;
  }

  #onPong(id: PeerId, pong: Pong, sentAtMs: number): void {
    const map = this.#map?.map;
    const peer = map?.peers.find((known) => known.id === id);
    if (map === undefined || peer === undefined) return;
    const foreign = foreignMapOf(map, { ...pong, who: id });
    if (foreign !== undefined) {
      this.#owner.onForeignMap(foreign);
      return;
    }
    // A process that the map does not name yet has asked, or will ask, to join: only then does it count as the peer.
    if (pong.incarnation !== peer.incarnation) return;
    const nowMs = this.#environment.clock.monotonicMs();
    this.#heard.set(id, { pong, atMs: nowMs });
    const roundTrips = this.#roundTrips.get(id) ?? new LatencyWindow(timing.latencyWindowMs);
    this.#roundTrips.set(id, roundTrips);
    roundTrips.note(nowMs - sentAtMs, nowMs);
    this.#become(onPong(this.#membership, id, { sentAtMs, nowMs }));
    this.#owner.onAnswered(id);
  }

  #become(after: Membership): void {
    const before = this.#membership;
    if (before === after) return;
    this.#membership = after;
    const nowMs = this.#environment.clock.monotonicMs();
    let isChanged = false;
    for (const [id, member] of after.members) {
      const old = before.members.get(id);
      isChanged ||= old?.state !== member.state || hasAnswered(old) !== hasAnswered(member);
      if (member.state === 'down') this.#upSinceMs.delete(id);
      else if (hasAnswered(member) && !this.#upSinceMs.has(id)) this.#upSinceMs.set(id, nowMs);
    }
    if (isChanged) this.#owner.onLivenessChanged(before, after);
  }
}

/** A sentence when what a peer knows was made neither by the master of `map` nor by those it was recovered from. */
export function foreignMapOf(
  map: ClusterMap,
  theirs: { who: string; mapEpoch: number; lineage?: string | undefined },
): string | undefined {
  const { who, mapEpoch, lineage } = theirs;
  if (generationOf(mapEpoch) > generationOf(map.epoch)) {
    return `${who} follows a map that was recovered from the peers since this master's was lost or put away`;
  }
  if (mapEpoch > map.epoch) return `${who} knows map ${mapEpoch}, newer than the ${map.epoch} in this master's store`;
  if (mapEpoch === 0 || lineage === undefined || lineage === map.lineage) return undefined;
  // It follows what this map was recovered from, or would if it were asked: it takes a map of this lineage, or says no.
  if (generationOf(mapEpoch) < generationOf(map.epoch)) return undefined;
  return `${who} follows a map of lineage ${lineage}, this master's is ${map.lineage}`;
}

function isSameStart(before: PeerRecord | undefined, after: PeerRecord): boolean {
  return before?.incarnation === after.incarnation && before.storeId === after.storeId;
}

function hasAnswered(member: Liveness | undefined): boolean {
  return member !== undefined && member.state !== 'down' && member.answeredMs >= 0;
}
