/**
 * A whole cluster in one process: the real master, peers and clients over a simulated world that one seed decides.
 */
import type { ClusterMap, PeerRecord } from '../../src/cluster/map.js';
import { type Environment, sleep } from '../../src/core/environment.js';
import { isRefusal } from '../../src/core/errors.js';
import type { Address, PeerId, StoreId } from '../../src/core/ids.js';
import { limits } from '../../src/core/limits.js';
import type { Probe } from '../../src/core/probe.js';
import type { SmallFiles } from '../../src/core/storage.js';
import type { CheckpointTimer } from '../../src/master/checkpoints.js';
import { embeddedMapStore } from '../../src/master/map-store.js';
import { Master } from '../../src/master/master.js';
import { recover } from '../../src/master/recovery.js';
import { openDataFolder } from '../../src/peer/data-folder.js';
import { Peer } from '../../src/peer/peer.js';
import { isComplete, type SlotStatus } from './checks/invariants-loss.js';
import { Monitor, type Teller } from './checks/monitor.js';
import type { Taken } from './plan/checkpoints.js';
import { Points } from './plan/points.js';
import { SimClient } from './sim-client.js';
import { SimNetwork } from './world/network.js';
import { type Program, SimHost, type Started, type Trace, usualSyncMs } from './world/sim-host.js';
import { type SimProcess, World } from './world/virtual-clock.js';

export interface ClusterOptions {
  readonly seed: number;
  /** Messages go through the real codec. */
  readonly usesCodec?: boolean;
  readonly peers: number;
  /** Further hosts for peers, not started with the others. */
  readonly spares?: number;
  readonly replicas?: number;
  readonly minInSync?: number;
  readonly slots?: number;
  readonly repairGraceMs?: number;
  readonly quarantineMs?: number;
  readonly checkpoints?: CheckpointTimer;
  readonly sweepAfterMs?: number;
  readonly replacedGraceMs?: number;
  readonly reserveBytes?: number;
  /** How far the wall clock of the first peer is ahead. */
  readonly wallAheadMs?: number;
  readonly reads?: 'lease' | 'confirm';
  /** In how many zones the peers are; each has its own when absent. */
  readonly zones?: number;
  /** Some peers should lead more than others. */
  readonly isUneven?: boolean;
  /** A peer that has joined listens at another port with every start. */
  readonly isMoving?: boolean;
  readonly trace?: Trace;
}

const masterHost = '10.0.0.100';
export const masterAddress: Address = `${masterHost}:7420`;
const peerPort = 7421;
/** Of one connection: all that a sender may have been granted, and the small writes it needs no grant for. */
const queuedBytesMax = limits.replicationCreditBytes + limits.smallWritesBytesMax;

export class SimCluster {
  readonly world: World;
  readonly network: SimNetwork;
  readonly master: SimHost;
  readonly peers: readonly SimHost[];
  readonly spares: readonly SimHost[];
  readonly options: ClusterOptions;
  /** Undefined: nobody listens, and no line is made. */
  readonly trace: Trace | undefined;
  readonly monitor: Monitor;
  /** Where the next crash or pause may be put. */
  readonly points = new Points<SimHost>();
  #running: Master | undefined;
  readonly #ports = new Map<SimHost, number>();
  readonly #runningPeers = new Map<SimHost, Peer>();
  /** Complete checkpoints that were made and not removed. */
  readonly taken: Taken[] = [];
  /** Its data folder is gone: with its next start the map is recovered from the peers. */
  isMasterLost = false;
  wasRecovered = false;
  /** Peers that the operator who recovers does not wait for. */
  givenUp: readonly PeerId[] = [];
  /** Hosts of clients, in the order they came. */
  readonly clients: SimHost[] = [];

  constructor(options: ClusterOptions) {
    this.options = options;
    this.world = new World(options.seed);
    const { trace } = options;
    this.trace = trace && ((line) => trace(`${this.world.nowMs.toFixed(2).padStart(9)} ${line}`));
    const { usesCodec = false } = options;
    this.monitor = new Monitor(
      { nowMs: () => this.world.nowMs, complain: (text) => void this.world.complaints.push(text) },
      { reads: options.reads ?? 'lease' },
    );
    this.network = new SimNetwork(this.world, { usesCodec });
    this.master = this.#host(masterHost, this.#masterProgram());
    const { peers, spares = 0 } = options;
    const hosts = Array.from({ length: peers + spares }, (_, at) => {
      const name = `10.0.0.${at + 1}`;
      const host: SimHost = this.#host(name, this.#peerProgram(name, { host: () => host, place: this.#placeOf(at) }));
      return host;
    });
    this.peers = hosts.slice(0, peers);
    if (options.wallAheadMs !== undefined && hosts[0] !== undefined) hosts[0].wallAheadMs = options.wallAheadMs;
    this.spares = hosts.slice(peers);
  }

  /** Starts everything and resolves when every slot is as it should be; `early` is done before there is any peer. */
  async start(limitMs = 60_000, early = async (): Promise<void> => undefined): Promise<void> {
    this.master.start();
    await early();
    for (const peer of this.peers) {
      peer.start();
      await this.world.runFor(30);
    }
    await this.untilWhole(limitMs);
  }

  /** The master's newest map; undefined while it does not run, or has none. */
  get map(): ClusterMap | undefined {
    return this.master.isRunning ? this.#running?.map : undefined;
  }

  peerOn(host: SimHost): Peer | undefined {
    return host.isRunning ? this.#runningPeers.get(host) : undefined;
  }

  /** By the newest durable map, whether the master runs or not. */
  hostOf(id: PeerId | undefined): SimHost {
    const address = (this.map ?? this.monitor.map)?.peers.find((peer) => peer.id === id)?.address;
    const host = this.joined.find(({ name }) => address?.startsWith(`${name}:`));
    if (host === undefined) throw new Error(`No host runs peer ${id}`);
    return host;
  }

  /** The peer that runs on a host, or did last, by the newest map; one that was removed is none any more. */
  peerOf(host: SimHost): PeerRecord | undefined {
    const isThere = ({ address, state }: PeerRecord): boolean =>
      state !== 'removed' && address.startsWith(`${host.name}:`);
    return this.map?.peers.find(isThere);
  }

  /** Every peer that ever joined. */
  get joined(): readonly SimHost[] {
    return [...this.peers, ...this.spares.filter((spare) => spare.starts > 0)];
  }

  /** Some bytes or entries were bad for a while. */
  get hasRotted(): boolean {
    return this.joined.some(({ disk }) => disk.hasRotted || disk.index.hasRotted);
  }

  /** What the master reports; undefined while it does not run. */
  get status(): SlotStatus | undefined {
    return this.master.isRunning ? (this.#running?.status() as SlotStatus | undefined) : undefined;
  }

  /** All slots have their copies; where disks are gone for good, all that there can be. */
  isWhole(): boolean {
    const { map } = this;
    if (map === undefined || map.slots.some(({ primary }) => primary === undefined)) return false;
    const isGone = (store: StoreId): boolean => this.monitor.isGone(store);
    const someAreGone = map.peers.length > this.joined.length;
    if (someAreGone) return isComplete(map, { hosts: this.joined.length, isGone });
    const copies = Math.min(map.pool.replicas, map.peers.length);
    return (
      map.peers.length === this.joined.length &&
      map.peers.every((peer) => peer.state === 'up') &&
      map.slots.every((record) => record.inSync.length === copies && record.joining.length === 0)
    );
  }

  async untilWhole(limitMs = 30_000): Promise<void> {
    if (await this.world.runUntil(() => this.isWhole(), limitMs)) return;
    if (this.#emptyForgotten() && (await this.world.runUntil(() => this.isWhole(), limitMs))) return;
    const slots = this.map?.slots.map(({ primary, inSync, joining }) => `${primary}:${inSync}+${joining}`).join(' ');
    throw new Error(`The cluster is not whole after ${limitMs} ms: ${slots ?? 'no map'}`);
  }

  /**
   * As an operator who finds in the log of a peer that runs on what it would have said at its start: it is to begin
   * with an empty folder. Returns whether there was any.
   */
  #emptyForgotten(): boolean {
    const forgotten = this.joined.filter((host) => host.isRunning && this.#isForgotten(host));
    for (const host of forgotten) {
      host.crash();
      host.wipe();
      host.start();
    }
    return forgotten.length > 0;
  }

  /** Ends every fault: links, pauses, hosts. */
  healAll(): void {
    this.network.healAll();
    for (const host of [this.master, ...this.joined]) {
      host.disk.commitFault = undefined;
      host.disk.fileFault = undefined;
      host.disk.smallFileFault = undefined;
      host.disk.freeBytes = host.disk.totalBytes;
      host.syncMs = usualSyncMs;
      host.fileSyncMs = undefined;
      host.resume();
      host.start();
    }
  }

  /** A client on a host of its own. */
  async client(timeoutMs = 10_000): Promise<SimClient> {
    const masters = [masterAddress];
    const client = new SimClient(this, `10.0.1.${this.clients.length + 1}`, { masters, timeoutMs });
    this.clients.push(client.host);
    await this.world.until(client.restart(), 30_000);
    return client;
  }

  #host(name: string, program: Program): SimHost {
    const host: SimHost = new SimHost(this.network, {
      name,
      program,
      trace: this.trace,
      probeOf: (process) => this.#probeOf(host, process),
      mayBeEmptied: (error) => isRefusal(error, 'wrong-identity') && this.#isForgotten(host),
    });
    host.disk.watcher = this.monitor.diskOf(name);
    return host;
  }

  /** Checks first, then strikes: what a point shows was so before anything happens there. */
  #probeOf(host: SimHost, process: SimProcess): Probe {
    const teller: Teller = {
      name: process.name,
      disk: this.monitor.diskOf(host.name),
      nowMs: () => process.clock.monotonicMs(),
      isDead: () => process.isDead,
    };
    return {
      at: (moment) => {
        if (process.isDead) return;
        this.monitor.at(teller, moment);
        if (moment.point === 'planned') this.#checkQueues();
        this.points.reach(host, moment);
      },
    };
  }

  /** Nothing that waits for a slow or silent receiver grows without end; looked at as often as the master plans. */
  #checkQueues(): void {
    const most = this.network.queuedBytesMax;
    if (most > queuedBytesMax) this.monitor.complain(`${most} bytes wait on one connection`);
  }

  #masterProgram(): Program {
    const { replicas = 2, minInSync = 1, slots = 8, repairGraceMs = 500, quarantineMs = 3000 } = this.options;
    return async (environment, { disk, world }, onFatal): Promise<Started> => {
      const files = disk.openSmallFiles(world);
      this.#running = undefined;
      if (this.isMasterLost) await this.#recover(environment, files);
      const master = await Master.start(
        environment,
        { maps: embeddedMapStore(files), files },
        {
          ...{ listen: masterAddress, replicas, minInSync, slotCount: slots, repairGraceMs, quarantineMs, onFatal },
          nodeVersion: '20.19.0',
          checkpoints: this.options.checkpoints ?? { everyMs: 0, keep: 1 },
        },
      );
      this.#running = master;
      return master;
    };
  }

  /** As an operator who tries until some peer answers, and gives up those whose disks are gone. */
  async #recover(environment: Environment, files: SmallFiles): Promise<void> {
    const stores = () => ({ maps: embeddedMapStore(files), files });
    let map = await stores().maps.load();
    while (map === undefined) {
      const peers = this.joined.map((host) => `${host.name}:${this.#portOf(host, false)}`);
      try {
        ({ map } = await recover(environment, stores(), { peers, acceptMissing: [] }));
      } catch (error) {
        if (!isRefusal(error, 'unavailable', 'conflict', 'no-space')) throw error;
        await sleep(environment.clock, 500);
        // The disk may have had room for the map, and none for what came after it.
        map = await stores().maps.load();
      }
    }
    const gone = map.peers.filter(({ state, storeId }) => state === 'awaited' && this.monitor.isGone(storeId));
    const acceptMissing = [...gone.map(({ id }) => id), ...this.givenUp];
    if (acceptMissing.length > 0) await recover(environment, stores(), { peers: [], acceptMissing });
    this.isMasterLost = false;
    this.wasRecovered = true;
  }

  /** It joined by a map that was lost before anybody else heard of it: nobody knows its store, and nothing is on it. */
  #isForgotten({ name, disk }: SimHost): boolean {
    const map = this.map ?? this.monitor.map;
    const { storeId } = this.monitor.diskOf(name);
    const isUnknown = map?.peers.every((peer) => peer.storeId !== storeId) === true;
    const entries = disk.index.durable.keys('entries', { from: new Uint8Array(0), limit: 1 });
    return this.wasRecovered && isUnknown && entries.length === 0;
  }

  #placeOf(at: number): { zone: string; weight: number } {
    const { zones = Number.POSITIVE_INFINITY, isUneven = false } = this.options;
    return {
      zone: `zone-${Math.floor(at / 2) % zones}-${zones > 9 ? at : ''}`,
      weight: isUneven ? ([1, 2, 0.5][at % 3] ?? 1) : 1,
    };
  }

  /** An empty store is told from a new peer by the address that it had. */
  #portOf(host: SimHost, hasJoined: boolean): number {
    if (hasJoined && this.options.isMoving === true) this.#ports.set(host, peerPort + (host.starts % 3));
    return this.#ports.get(host) ?? peerPort;
  }

  #peerProgram(name: string, of: { host: () => SimHost; place: { zone: string; weight: number } }): Program {
    const {
      sweepAfterMs = 24 * 3_600_000,
      replacedGraceMs = 600_000,
      reserveBytes = 0,
      reads = 'lease',
    } = this.options;
    return async (environment, { disk, world }, onFatal): Promise<Started> => {
      const { random, log } = environment;
      const folder = await openDataFolder({ ...disk.openFolder(world), random, log });
      const peer = await Peer.start(
        environment,
        { folder, bytes: disk.openBytes(world), copies: disk.openCopies(world) },
        {
          listen: `${name}:${this.#portOf(of.host(), folder.identity.peerId !== undefined)}`,
          masters: [masterAddress],
          ...of.place,
          reads,
          reserveBytes,
          sweepAfterMs,
          replacedGraceMs,
          maxFileBytes: Number.MAX_SAFE_INTEGER,
          maxUploads: Number.MAX_SAFE_INTEGER,
          nodeVersion: '20.19.0',
          stillThere: () => true,
          onFatal,
        },
      );
      this.#runningPeers.set(of.host(), peer);
      return peer;
    };
  }
}
