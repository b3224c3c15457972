/**
 * What this process knows of the cluster: the newest map, and how to find a newer one.
 *
 * A search asks the masters and every peer named as likely to know, all at once, each by a request that is held open
 * until there is a newer map; the first answer wins. It goes on only while somebody has lately asked for it. A map from
 * the disk cache counts as a rumour until the cluster has answered once: the map of another cluster may replace it.
 */
import type { ClusterMap, PeerRecord } from '../cluster/map.js';
import { type Environment, sleep } from '../core/environment.js';
import { DfsError, refuse, toDfsError } from '../core/errors.js';
import type { Address, ClusterId, Epoch, PeerId, SlotNumber } from '../core/ids.js';
import { timing } from '../core/timing.js';
import { decodeMap } from '../protocol/map-codec.js';
import type { Session } from '../protocol/session.js';
import { ClusterClock } from './cluster-clock.js';
import { Connections, type Lane, type Target } from './connections.js';
import type { MapCache } from './map-cache.js';
import type { Patience } from './patience.js';
import type { PeerAddress } from './results.js';
import { holdersOf, RoutingTable } from './routing.js';

/** A search that nobody asked for again within this time ends. */
const interestMs = 1000;
const sourcePauseMs = 100;
/** How often every master may fail before a client that has no map gives up. */
const firstContactTries = 3;
/** Many requests fail at once when a peer dies; one word to the master is enough. */
const suspectPauseMs = 100;
/** After so many attempts peers that do not hold the slot are asked for a newer map too. */
const patientAttempts = 3;
const furtherSources = 8;

interface SourceState {
  failures: number;
  error: DfsError | undefined;
  /** It answered, but had no map to give. */
  isEmpty: boolean;
  isAsking: boolean;
}

export interface ClusterViewOptions {
  readonly environment: Environment;
  readonly masters: readonly Address[];
  readonly cache: MapCache;
}

export class ClusterView {
  readonly clock: ClusterClock;
  readonly masters: readonly Address[];
  readonly #environment: Environment;
  readonly #cache: MapCache;
  readonly #connections: Connections;
  readonly #sources = new Map<string, SourceState>();
  readonly #listeners: ((map: ClusterMap) => void)[] = [];
  readonly #suspectedMs = new Map<PeerId, number>();
  readonly #waiting = new Set<() => void>();
  #table: RoutingTable | undefined;
  #isConfirmed = false;
  #interestedUntilMs = 0;
  #isClosed = false;

  constructor(options: ClusterViewOptions) {
    this.#environment = options.environment;
    this.masters = options.masters;
    this.#cache = options.cache;
    this.clock = new ClusterClock(options.environment.clock);
    this.#connections = new Connections(options.environment, {
      onOpened: (target, session) => this.#onOpened(target, session),
    });
  }

  /** The newest map as a routing table; undefined before the first. */
  get table(): RoutingTable | undefined {
    return this.#table;
  }

  get isConfirmed(): boolean {
    return this.#isConfirmed;
  }

  onMap(listener: (map: ClusterMap) => void): void {
    this.#listeners.push(listener);
  }

  async loadCache(): Promise<void> {
    const cached = await this.#cache.load();
    if (cached === undefined || this.#table !== undefined) return;
    this.#table = new RoutingTable(cached.map);
    this.clock.recall(cached.clockAheadMs);
  }

  /** A peer of the map has answered a request: the map is of a living cluster. */
  confirm(): void {
    this.#isConfirmed = true;
  }

  sessionTo(target: Target, lane: Lane): Session | Promise<Session> {
    // A master is asked without naming a cluster: it tells its own, and a cached map of another one is replaced.
    const clusterId = target.peerId === undefined ? undefined : this.#table?.map.clusterId;
    return this.#connections.sessionTo(target, lane, clusterId);
  }

  /** The routing table, waiting for a first map when there is none. Throws `unavailable`, `timed-out`, `cancelled`. */
  async known(patience: Patience, about: string): Promise<RoutingTable> {
    while (this.#table === undefined) {
      if (this.isWithoutPeers && patience.ending(this.#environment.clock.monotonicMs()) !== undefined) {
        refuse('unavailable', 'The cluster has no peers yet', {
          advice: 'Start dfs-peer with the address of the master',
        });
      }
      patience.check(about);
      this.lookForNewer(0, []);
      await this.#changed(patience, sourcePauseMs);
      if (this.#table === undefined) this.#throwWhenHopeless();
    }
    return this.#table;
  }

  /** Asks the masters for a first map; a master that has none yet is contact enough. Throws as `known` does. */
  async firstContact(patience: Patience): Promise<void> {
    while (this.#table === undefined && !this.isWithoutPeers) {
      patience.check('Connecting');
      this.lookForNewer(0, []);
      await this.#changed(patience, sourcePauseMs);
      if (this.#table === undefined) this.#throwWhenHopeless();
    }
  }

  /** Resolves as soon as the map is newer than `than`, and in any case after `delayMs`. */
  async newerMap(than: Epoch, patience: Patience, delayMs: number): Promise<void> {
    if (this.#epoch() <= than) await this.#changed(patience, delayMs);
  }

  /** Starts or prolongs the search, with the masters and `near`. */
  lookForNewer(than: Epoch, near: readonly Target[]): void {
    if (this.#epoch() > than || this.#isClosed) return;
    this.#interestedUntilMs = this.#environment.clock.monotonicMs() + interestMs;
    for (const address of this.masters) this.#ask({ address, peerId: undefined });
    for (const target of near) this.#ask(target);
  }

  addressOf(id: PeerId): PeerAddress {
    return this.#table?.addressOf(id) ?? { id, address: '' };
  }

  /** Everyone who holds the slot. */
  holdersOfSlot(slot: SlotNumber): Target[] {
    return this.#table === undefined ? [] : holdersOf(this.#table.routeOfSlot(slot)).map(toTarget);
  }

  /** Who may have a newer map after so many vain attempts: the slot's holders, later others too. */
  likelyToKnow(slot: SlotNumber, attempts: number): Target[] {
    const near = this.holdersOfSlot(slot);
    if (attempts < patientAttempts || this.#table === undefined) return near;
    const others = this.#table.map.peers.filter((peer) => peer.state !== 'removed');
    return [...near, ...others.slice(0, furtherSources).map(toTarget)];
  }

  /** Tells the masters that a connection to this peer broke. Nobody waits for it. */
  suspect(peerId: PeerId): void {
    const nowMs = this.#environment.clock.monotonicMs();
    if (nowMs - (this.#suspectedMs.get(peerId) ?? Number.NEGATIVE_INFINITY) < suspectPauseMs) return;
    this.#suspectedMs.set(peerId, nowMs);
    for (const address of this.masters) {
      this.#tellSuspect({ address, peerId: undefined }, peerId).catch((error) =>
        this.#environment.log.debug({ err: error, peerId }, 'A suspicion did not reach a master'),
      );
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#connections.close();
    await this.#cache.settled();
  }

  #epoch(): Epoch {
    return this.#table?.map.epoch ?? 0;
  }

  async #tellSuspect(target: Target, peerId: PeerId): Promise<void> {
    const session = await this.sessionTo(target, 'small');
    await session.request('suspect', { peer: peerId }, { timeoutMs: timing.connectTimeoutMs });
  }

  #onOpened(target: Target, session: Session): void {
    const { clusterMs, mapEpoch } = session.remote;
    if (clusterMs !== undefined) this.clock.onTold(clusterMs);
    // A hello that tells of a newer map: fetch it before somebody is refused for the old one.
    if (mapEpoch !== undefined && this.#table !== undefined && mapEpoch > this.#epoch()) {
      this.lookForNewer(this.#epoch(), [target]);
    }
  }

  #ask(target: Target): void {
    const key = sourceKey(target);
    const state = this.#sources.get(key) ?? { failures: 0, error: undefined, isEmpty: false, isAsking: false };
    this.#sources.set(key, state);
    if (state.isAsking) return;
    state.isAsking = true;
    void this.#askWhileWanted(target, state);
  }

  /** Never throws: what goes wrong with one source is kept for the error message. */
  async #askWhileWanted(target: Target, state: SourceState): Promise<void> {
    // Any other map ends the search, also one of another cluster, whose epochs may be lower.
    const startedWith = this.#table;
    const { clock } = this.#environment;
    try {
      while (this.#table === startedWith && clock.monotonicMs() < this.#interestedUntilMs && !this.#isClosed) {
        try {
          await this.#askOnce(target, state);
          state.failures = 0;
          state.error = undefined;
        } catch (error) {
          state.failures += 1;
          state.error = toDfsError(error);
          await sleep(clock, sourcePauseMs);
        }
      }
    } finally {
      state.isAsking = false;
    }
  }

  async #askOnce(target: Target, state: SourceState): Promise<void> {
    const session = await this.sessionTo(target, 'small');
    const isOther = session.remote.clusterId !== undefined && session.remote.clusterId !== this.#table?.map.clusterId;
    const newerThan = isOther && !this.#isConfirmed ? 0 : this.#epoch();
    const answer = await session.request(
      'map',
      { newerThan, waitMs: timing.mapWatchMs },
      { timeoutMs: timing.mapWatchMs + timing.connectTimeoutMs },
    );
    state.isEmpty = answer.payload === undefined;
    if (answer.payload !== undefined) this.#adopt(decodeMap(answer.payload));
  }

  #adopt(map: ClusterMap): void {
    const own = this.#table?.map;
    if (own !== undefined && own.clusterId !== map.clusterId) {
      if (this.#isConfirmed) refuse('wrong-cluster', wrongCluster(own.clusterId, map.clusterId));
    } else if (own !== undefined && map.epoch <= own.epoch) {
      return;
    }
    this.#table = new RoutingTable(map);
    this.#isConfirmed = true;
    this.#cache.save({ map, clockAheadMs: this.clock.aheadOfWallMs });
    for (const listener of this.#listeners) listener(map);
    for (const wake of this.#waiting) wake();
  }

  #changed(patience: Patience, delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const limitMs = Math.min(delayMs, patience.remainingMs(this.#environment.clock.monotonicMs()));
      const wake = (): void => {
        this.#waiting.delete(wake);
        timer.cancel();
        resolve();
      };
      const timer = this.#environment.clock.after(limitMs, wake);
      this.#waiting.add(wake);
    });
  }

  #throwWhenHopeless(): void {
    const errors = new Map<Address, DfsError>();
    for (const address of this.masters) {
      const state = this.#sources.get(sourceKey({ address, peerId: undefined }));
      if (state?.error === undefined || state.failures < firstContactTries) return;
      errors.set(address, state.error);
    }
    throw unreachableMasters(errors);
  }

  /** True when a master answered, but no peer has ever joined. */
  get isWithoutPeers(): boolean {
    return [...this.#sources.values()].some((state) => state.isEmpty && state.error === undefined);
  }
}

function sourceKey(target: Target): string {
  return `${target.peerId ?? ''} ${target.address}`;
}

function toTarget(peer: PeerRecord): Target {
  return { address: peer.address, peerId: peer.id };
}

function wrongCluster(own: ClusterId, other: ClusterId): string {
  return `The master answers for cluster ${other}, but this client works with ${own}`;
}

/** `unavailable` with what each master said, or the definite reason when there is one. */
export function unreachableMasters(errors: ReadonlyMap<Address, DfsError>): DfsError {
  const all = [...errors.values()];
  const definite = all.find((error) => error.code.startsWith('wrong-'));
  const said = [...errors].map(([address, { message }]) =>
    message.includes(address) ? message : `${address}: ${message}`,
  );
  return new DfsError(definite?.code ?? 'unavailable', `No master answers (${said.join('; ')})`, {
    cause: definite ?? all[0],
    advice: all.find(({ advice }) => advice !== undefined)?.advice ?? 'Check --master, and that dfs-master runs there',
  });
}
