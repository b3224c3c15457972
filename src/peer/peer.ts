/**
 * A peer from start to stop: its folder, its connection to the master, its listener and its housekeeping.
 */
import type { ClusterMap, PeerRecord } from '../cluster/map.js';
import { parseAddress, reachableAddress } from '../core/address.js';
import { type Environment, every, sleep } from '../core/environment.js';
import { DfsError, isRefusal, StorageFailure } from '../core/errors.js';
import type { Address, PeerId } from '../core/ids.js';
import { limits } from '../core/limits.js';
import type { Connection, ConnectionHandler, Listener } from '../core/network.js';
import type { ByteStore, IndexCopies, IndexStore } from '../core/storage.js';
import { timing } from '../core/timing.js';
import { CreditPool } from '../protocol/credit.js';
import type { ReplyOf } from '../protocol/messages.js';
import { acceptSession, type HelloReply, type HelloRequest, type Incoming, type Session } from '../protocol/session.js';
import { Admission } from './admission.js';
import { Callers } from './callers.js';
import { Checkpoints } from './checkpoints.js';
import { ClusterClock } from './cluster-clock.js';
import type { OpenedFolder } from './data-folder.js';
import { DiskLatency } from './disk-latency.js';
import { buildEngine, type Engine } from './engine.js';
import { examined } from './examined.js';
import { Grants } from './grants.js';
import { handOverAll } from './handover.js';
import { LoopLag } from './loop-lag.js';
import { MapKeeper } from './map-keeper.js';
import { MasterLink } from './master-link.js';
import { serve } from './server.js';
import type { ReadMode } from './serving.js';

export interface PeerOptions {
  readonly listen: Address;
  readonly advertise?: Address;
  readonly masters: readonly Address[];
  readonly zone: string;
  readonly weight: number;
  readonly reads: ReadMode;
  readonly reserveBytes?: number;
  readonly sweepAfterMs: number;
  readonly replacedGraceMs: number;
  readonly maxFileBytes: number;
  readonly maxUploads: number;
  /** For `dfs doctor`. */
  readonly nodeVersion: string;
  /** Whether the data folder is still the one that was opened. */
  stillThere(): boolean;
  /** Ends the process: it can promise nothing any more. */
  onFatal(error: unknown): void;
}

/** All that a peer keeps on its disk. */
export interface PeerStores {
  readonly folder: OpenedFolder;
  readonly bytes: ByteStore;
  /** Of the folder's index. */
  readonly copies: IndexCopies;
}

const handoverWithinMs = 5000;
/** After goodbye: until the other primaries have heard the map without this peer. */
const lingerMs = 150;
const drainWithinMs = 2000;

export class Peer {
  readonly #environment: Environment;
  readonly #folder: OpenedFolder;
  readonly #bytes: ByteStore;
  readonly #index: IndexStore;
  readonly #options: PeerOptions;
  readonly #clock: ClusterClock;
  readonly #grants: Grants;
  readonly #callers: Callers;
  readonly #admission: Admission;
  readonly #maps: MapKeeper;
  readonly #master: MasterLink;
  readonly #lag: LoopLag;
  readonly #latency: DiskLatency;
  readonly #checkpoints: Checkpoints;
  readonly #clientPool = new CreditPool(limits.clientCreditBytes);
  readonly #replicationPool = new CreditPool(limits.replicationCreditBytes);
  readonly #chores: { stop(): void }[] = [];
  /** Requests and chores under way: the index is not closed under them. */
  readonly #work = new Set<Promise<unknown>>();
  #listener: Listener | undefined;
  #engine: Engine | undefined;
  #isFetchingMap = false;
  #lastClientMs = Number.NEGATIVE_INFINITY;
  /** As the master told last. */
  #slowPeers: ReadonlySet<PeerId> = new Set();
  #pingedAtMs: number | undefined;

  static async start(environment: Environment, stores: PeerStores, options: PeerOptions): Promise<Peer> {
    const peer = new Peer(environment, stores, options);
    await peer.#start();
    return peer;
  }

  private constructor(environment: Environment, stores: PeerStores, options: PeerOptions) {
    const { clock } = environment;
    this.#environment = environment;
    this.#folder = stores.folder;
    this.#latency = new DiskLatency(clock);
    this.#bytes = this.#latency.timedBytes(stores.bytes);
    this.#index = this.#latency.timedIndex(stores.folder.index);
    this.#options = options;
    this.#clock = new ClusterClock(clock);
    this.#grants = new Grants(clock);
    this.#callers = new Callers(clock, stores.folder.identity);
    this.#admission = new Admission(options);
    this.#lag = new LoopLag(clock);
    const { storeId } = stores.folder.identity;
    this.#maps = new MapKeeper({ store: this.#index, storeId }, clock, {
      onMap: (map) => this.#onMap(map),
      onDurable: (map) => this.#onDurableMap(map),
    });
    this.#checkpoints = new Checkpoints({
      ...{ log: environment.log, probe: environment.probe, me: stores.folder.identity, index: stores.folder.index },
      ...{ copies: stores.copies, admission: this.#admission },
      acceptMap: (encoded) => this.#maps.accept(encoded),
    });
    this.#master = new MasterLink({
      environment,
      me: stores.folder.identity,
      clock: this.#clock,
      masters: options.masters,
      zone: options.zone,
      weight: options.weight,
      advertised: (yourAddress) => options.advertise ?? reachableAddress(this.address, yourAddress),
      mapEpoch: () => this.#maps.epoch,
      lineage: () => this.#maps.map?.lineage,
      onMap: (encoded) => this.#maps.accept(encoded),
      onJoined: (clusterId, peerId) => stores.folder.saveJoined(clusterId, peerId),
      onRejected: (error) => options.onFatal(error),
      onFailure: (error) => options.onFatal(error),
    });
  }

  get address(): Address {
    return this.#listener?.address ?? this.#options.listen;
  }

  async #start(): Promise<void> {
    await this.#admission.measure(this.#bytes);
    await this.#checkpoints.load();
    if (this.#maps.map !== undefined) this.#onMap(this.#maps.map);
    this.#listener = await this.#environment.network.listen(this.#options.listen, (connection) =>
      this.#accept(connection),
    );
    this.#master.start();
    this.#startChores();
  }

  /** Hands over, says goodbye, and ends. */
  async stop(): Promise<void> {
    const { peerId } = this.#folder.identity;
    for (const chore of this.#chores) chore.stop();
    this.#engine?.scrub.stop();
    this.#engine?.salvage.stop();
    const leave = async (): Promise<void> => {
      if (this.#engine === undefined || peerId === undefined || !this.#master.isConnected) return;
      await handOverAll(this.#engine.handover, peerId);
      await this.#master.goodbye();
      await sleep(this.#environment.clock, lingerMs);
    };
    const left = leave().catch((error: unknown) => {
      this.#environment.log.warn({ error: String(error) }, 'left without handing everything over');
    });
    await Promise.race([left, sleep(this.#environment.clock, handoverWithinMs)]);
    this.#master.close();
    this.#engine?.leadership.stepDownAll();
    this.#engine?.calls.close();
    await this.#listener?.close();
    await Promise.race([Promise.allSettled([...this.#work]), sleep(this.#environment.clock, drainWithinMs)]);
    if (this.#work.size > 0) return;
    await this.#checkpoints.close();
    await this.#folder.index.close();
  }

  #track(work: Promise<unknown>): void {
    this.#work.add(work);
    const forget = (): void => void this.#work.delete(work);
    work.then(forget, forget);
  }

  // --- Maps ----------------------------------------------------------------------------------------------------------

  #onMap(map: ClusterMap): void {
    map.slots.forEach((record, slot) => {
      this.#grants.refuseBelow(slot, record.slotEpoch);
    });
    this.#engine ??= buildEngine({
      ...this.#options,
      environment: this.#environment,
      me: this.#folder.identity,
      index: this.#index,
      bytes: this.#bytes,
      maps: this.#maps,
      master: this.#master,
      grants: this.#grants,
      clock: this.#clock,
      admission: this.#admission,
      checkpoints: this.#checkpoints,
      slotCount: map.slots.length,
      lastClientMs: () => this.#lastClientMs,
      slowPeers: () => this.#slowPeers,
      fetchMap: () => this.#fetchMap(),
      onFailure: (error) => this.#onFailure(error),
    });
    this.#engine.leadership.onMap(map);
    this.#environment.probe?.at({ point: 'mapTaken', storeId: this.#folder.identity.storeId, map });
  }

  #onDurableMap(map: ClusterMap): void {
    this.#environment.probe?.at({ point: 'mapDurable', storeId: this.#folder.identity.storeId, map });
    this.#engine?.leadership.startLeading(map);
  }

  #fetchMap(): void {
    if (this.#isFetchingMap) return;
    this.#isFetchingMap = true;
    const fetched = this.#master.isConnected ? this.#master.fetchMap() : this.#fetchMapFromReplicas();
    fetched
      .catch((error: unknown) => this.#environment.log.debug({ error: String(error) }, 'no newer map was fetched'))
      .finally(() => {
        this.#isFetchingMap = false;
      });
  }

  /** Without a master: a replica that refuses an older record may know the newer one (S9). */
  async #fetchMapFromReplicas(): Promise<void> {
    const engine = this.#engine;
    const reached = this.#maps.map?.peers.filter(({ id }) => engine?.leadership.isReached(id)) ?? [];
    const header = { newerThan: this.#maps.epoch, waitMs: 0 };
    const ask = async (peer: PeerRecord): Promise<void> => {
      const answer = await engine?.calls.ask(peer, 'map', header, { timeoutMs: timing.connectTimeoutMs });
      if (answer?.payload !== undefined) await this.#maps.accept(answer.payload);
    };
    await Promise.all(reached.map(ask));
  }

  #accept(connection: Connection): ConnectionHandler {
    let accepted: Session | undefined;
    return acceptSession(this.#environment, connection, {
      onHello: (hello, session) => {
        accepted = session;
        return this.#onHello(hello, session);
      },
      serve: (request) => this.#serve(request),
      creditPoolFor: (role) => (role === 'client' ? this.#clientPool : this.#replicationPool),
      onClose: () => {
        if (accepted !== undefined) this.#callers.onClosed(accepted);
      },
    });
  }

  // --- Requests ------------------------------------------------------------------------------------------------------

  #onHello(hello: HelloRequest, session: Session): HelloReply {
    try {
      this.#callers.admit(hello, session, this.#maps.map);
    } catch (error) {
      // A join of a process that is gone may have come to the master after this one's, and taken over its id. A master
      // may also look for another peer at this address, one that it still waits for: that is none of ours.
      const isOfMe = hello.role === 'master' && hello.expectPeerId === this.#folder.identity.peerId;
      if (isOfMe && isRefusal(error, 'wrong-identity')) this.#master.rejoin();
      throw error;
    }
    return {
      role: 'peer',
      ...this.#folder.identity.named(),
      clusterMs: this.#clock.nowMs(),
      mapEpoch: this.#maps.epoch,
      yourAddress: parseAddress(session.remote.address).host,
    };
  }

  #serve(request: Parameters<typeof serve>[1]): ReturnType<typeof serve> {
    // An idle client, too, waits for a newer map.
    if (request.session.remote.role === 'client' && request.name !== 'map') {
      this.#lastClientMs = this.#environment.clock.monotonicMs();
    }
    const answer = serve(
      {
        maps: this.#maps,
        checkpoints: this.#checkpoints,
        engine: () => this.#engine,
        onPing: (ping) => this.#onPing(ping),
        onExamined: () => this.#examined(),
        onLookBack: () => this.#onLookBack(),
        acceptMap: (encoded) => this.#maps.accept(encoded),
      },
      request,
    );
    answer.catch((error: unknown) => this.#onFailure(error));
    this.#track(answer);
    return answer;
  }

  #onPing(request: Incoming<'ping'>): ReplyOf<'ping'> {
    this.#clock.onTold(request.header.clusterMs);
    this.#slowPeers = new Set(request.header.slow);
    this.#pingedAtMs = this.#environment.clock.monotonicMs();
    const { freeBytes, totalBytes } = this.#admission.space;
    let files = 0;
    let logicalBytes = 0;
    for (const led of this.#engine?.leadership.all() ?? []) {
      const amounts = this.#engine?.index.amountsOf(led.slot);
      files += amounts?.files ?? 0;
      logicalBytes += amounts?.logicalBytes ?? 0;
    }
    const lineage = this.#maps.map?.lineage;
    return {
      mapEpoch: this.#maps.epoch,
      ...(lineage === undefined ? {} : { lineage }),
      incarnation: this.#folder.identity.incarnation,
      lagMs: this.#lag.takeWorstMs(),
      freeBytes: Math.max(0, Math.floor(freeBytes)),
      totalBytes: Math.floor(totalBytes),
      reserveBytes: Math.floor(this.#admission.reserveBytes),
      ...this.#latency.figures(),
      files,
      logicalBytes,
      storedBytes: this.#engine?.index.storedBytes() ?? 0,
      damaged: this.#engine?.damage.count ?? 0,
      verifiedSinceMs: Math.floor(this.#engine?.scrub.state.allSinceMs ?? 0),
      keptBytes: this.#checkpoints.indexBytes + (this.#engine?.sweeper.keptBytes ?? 0),
    };
  }

  #onLookBack(): ReplyOf<'look-back'> {
    const pingedMs = this.#pingedAtMs;
    return {
      promised: this.#maps.promisedGeneration,
      ...(pingedMs === undefined ? {} : { masterMs: Math.floor(this.#environment.clock.monotonicMs() - pingedMs) }),
      ...(this.#clock.isTold ? { clusterMs: this.#clock.nowMs() } : {}),
    };
  }

  #examined(): ReplyOf<'examine-peer'> {
    const parts = { admission: this.#admission, lag: this.#lag, engine: this.#engine };
    const { nodeVersion } = this.#options;
    return examined(this.#environment.clock, { nodeVersion, isJoined: this.#master.isConnected, ...parts });
  }

  /** Refusals are answers; a broken disk or a bug ends the process. */
  #onFailure(error: unknown): void {
    if (error instanceof DfsError) return;
    this.#options.onFatal(error);
  }

  // --- Chores --------------------------------------------------------------------------------------------------------

  #startChores(): void {
    const { clock, log } = this.#environment;
    const chore = (task: () => void | Promise<void>): void => {
      const tracked = async (): Promise<void> => {
        const running = Promise.resolve(task());
        this.#track(running);
        await running;
      };
      this.#chores.push(
        every(clock, timing.housekeepingMs, tracked, (error) => {
          if (error instanceof DfsError) log.warn({ error: error.message }, 'housekeeping goes on later');
          else this.#options.onFatal(error);
        }),
      );
    };
    chore(() => this.#checkFolder());
    chore(() => this.#admission.measure(this.#bytes));
    chore(() => this.#maps.makeDurable());
    chore(() => this.#callers.forgetOld());
    chore(() => this.#engine?.salvage.look());
    chore(() => this.#engine?.sweeper.sweep());
    chore(() => this.#engine?.surplus.look());
    chore(() => this.#engine?.damage.tell());
    chore(() => this.#engine?.damage.look());
    chore(() => this.#engine?.scrub.look());
    chore(() => this.#engine?.restCheck.look());
    chore(() => this.#checkpoints.look());
    this.#chores.push(this.#lag);
  }

  #checkFolder(): void {
    if (this.#options.stillThere()) return;
    throw new StorageFailure('The data folder was wiped or replaced while this peer was running', {
      cause: 'Start it again: it joins as a new store and is filled from the other copies',
    });
  }
}
