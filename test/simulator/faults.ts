/**
 * What goes wrong in a simulated cluster, by chance: processes, hosts, links, disks, alone and shortly after another.
 *
 * Nothing is done that the promises do not cover: a disk is wiped or rotten only where others are known to hold all
 * that it holds, and one at a time.
 */
import type { Seeded } from '../contract/seeded.js';
import type { SimCluster } from './cluster.js';
import { type SimHost, usualSyncMs } from './sim-host.js';
import type { World } from './virtual-clock.js';

export interface FaultOptions {
  readonly kinds: readonly FaultKind[];
  /** Longest pause between two faults. */
  readonly everyMs: number;
}

type Act = (faults: Faults) => Promise<void>;

export class Faults {
  readonly cluster: SimCluster;
  readonly #options: FaultOptions;
  isStopping = false;
  #running = 0;
  /** A store was lost since the cluster was last whole. */
  isWounded = false;
  /** Bytes are rotten somewhere. */
  isRotting = false;

  constructor(cluster: SimCluster, options: FaultOptions) {
    this.cluster = cluster;
    this.#options = options;
  }

  get world(): World {
    return this.cluster.world;
  }

  get chance(): Seeded {
    return this.world.chance;
  }

  start(): void {
    this.#goOn().catch((error: unknown) => {
      this.world.complaints.push(`The faults failed: ${(error as Error).stack}`);
    });
    this.#supervise();
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    await this.world.runUntil(() => this.#running === 0, 60_000);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.world.schedule(delayMs, resolve));
  }

  anyPeer(): SimHost {
    return this.chance.pick(this.cluster.peers);
  }

  anyHost(): SimHost {
    return this.chance.pick([...this.cluster.peers, this.cluster.master]);
  }

  /** The host that leads most slots now, or any. */
  aPrimary(): SimHost {
    const map = this.cluster.map;
    const primary = map === undefined ? undefined : this.chance.pick(map.slots).primary;
    return primary === undefined ? this.anyPeer() : this.cluster.hostOf(primary);
  }

  async #goOn(): Promise<void> {
    const { kinds, everyMs } = this.#options;
    while (!this.isStopping) {
      await this.sleep(this.chance.between(0, everyMs));
      if (this.isStopping) return;
      const kind = this.chance.pick(kinds);
      this.cluster.trace(`--- ${kind}`);
      this.#running++;
      acts[kind](this).then(
        () => this.#running--,
        (error: unknown) => this.world.complaints.push(`Fault ${kind} failed: ${(error as Error).stack}`),
      );
    }
  }

  /** As a service manager: what ended by itself is started again. */
  #supervise(): void {
    this.world.schedule(500, () => {
      for (const host of [...this.cluster.peers, this.cluster.master]) if (host.endedByItself) host.start();
      if (!this.isStopping) this.#supervise();
    });
  }
}

async function crash(faults: Faults, host: SimHost, longestMs = 3000): Promise<void> {
  host.crash({ isHost: faults.chance.isLikely(0.3) });
  await faults.sleep(faults.chance.between(1, longestMs));
  host.start();
}

async function pauseHost(faults: Faults, host: SimHost): Promise<void> {
  host.pause();
  await faults.sleep(faults.chance.isLikely(0.5) ? faults.chance.between(10, 400) : faults.chance.between(400, 4000));
  host.resume();
}

async function cutPair(faults: Faults, one: SimHost, other: SimHost): Promise<void> {
  if (one === other) return;
  const { network } = faults.cluster;
  const way = faults.chance.below(3);
  faults.cluster.trace(`cut ${one.name} ${['↔', '→', '←'][way]} ${other.name}`);
  if (way !== 2) network.cut(one.name, other.name);
  if (way !== 1) network.cut(other.name, one.name);
  await faults.sleep(faults.chance.isLikely(0.5) ? faults.chance.between(10, 500) : faults.chance.between(500, 4000));
  network.heal(one.name, other.name);
  network.heal(other.name, one.name);
}

async function withDisk(faults: Faults, change: (host: SimHost) => () => void): Promise<void> {
  const undo = change(faults.anyPeer());
  await faults.sleep(faults.chance.between(50, 3000));
  undo();
}

/** Only when the map says, with the peer gone for a while, that others hold all it holds. */
async function wipe(faults: Faults): Promise<void> {
  const { cluster, chance } = faults;
  if (faults.isWounded || cluster.map === undefined) return;
  const host = faults.anyPeer();
  const peer = cluster.map.peers.find(({ address }) => address.startsWith(`${host.name}:`));
  if (peer === undefined || !host.isRunning) return;
  faults.isWounded = true;
  host.crash({ isHost: chance.isLikely(0.5) });
  const { starts } = host;
  await faults.sleep(chance.between(1500, 3000));
  const map = cluster.master.isPaused ? undefined : cluster.map;
  const isElsewhere = map?.slots.every(({ inSync }) => !inSync.includes(peer.id) || inSync.length > 1) === true;
  const isLost = isElsewhere && host.starts === starts;
  if (isLost) host.wipe();
  host.start();
  const isKnown = (): boolean =>
    !isLost || cluster.map?.peers.every(({ id, storeId }) => id !== peer.id || storeId !== peer.storeId) === true;
  while (!faults.isStopping && !(isKnown() && cluster.isWhole())) await faults.sleep(100);
  faults.isWounded = false;
}

async function rotFile(faults: Faults): Promise<void> {
  const { cluster, chance } = faults;
  if (faults.isRotting || !cluster.isWhole() || cluster.map?.pool.replicas === 1) return;
  const host = faults.anyPeer();
  const ids = [...host.disk.files.keys()];
  if (ids.length === 0) return;
  faults.isRotting = true;
  const restores = ids.map((id) => (chance.isLikely(0.5) ? host.disk.rotFile(id, 4096 + chance.below(1000)) : none));
  await faults.sleep(chance.between(50, 3000));
  for (const restore of restores) restore();
  faults.isRotting = false;
}

const none = (): void => undefined;

async function rotEntry(faults: Faults): Promise<void> {
  const { cluster, chance } = faults;
  if (faults.isRotting || !cluster.isWhole() || cluster.map?.pool.replicas === 1) return;
  const host = faults.anyPeer();
  const keys = host.disk.index.durable.keys('entries', { from: new Uint8Array(0) });
  if (keys.length === 0) return;
  faults.isRotting = true;
  const key = chance.pick(keys);
  const restore = host.disk.index.rot('entries', key);
  cluster.trace(`rot an entry on ${host.name}`);
  await faults.sleep(chance.between(50, 3000));
  restore();
  faults.isRotting = false;
}

const acts = {
  crash: (faults) => crash(faults, faults.anyPeer()),
  'crash-primary': (faults) => crash(faults, faults.aPrimary()),
  /** A promotion, and a second one soon after the first. */
  'crash-twice': async (faults) => {
    const first = crash(faults, faults.aPrimary());
    await faults.sleep(faults.chance.between(1, 700));
    await Promise.all([first, crash(faults, faults.aPrimary())]);
  },
  /** A crash in the middle of a start. */
  flap: async (faults) => {
    const host = faults.anyPeer();
    for (let times = 0; times < 3; times++) await crash(faults, host, 250);
  },
  'crash-all': async (faults) => {
    await Promise.all([faults.cluster.master, ...faults.cluster.peers].map((host) => crash(faults, host, 2000)));
  },
  'crash-master': (faults) => crash(faults, faults.cluster.master),
  pause: (faults) => pauseHost(faults, faults.anyPeer()),
  'pause-primary': (faults) => pauseHost(faults, faults.aPrimary()),
  'pause-master': (faults) => pauseHost(faults, faults.cluster.master),
  'pause-many': async (faults) => {
    await Promise.all(faults.cluster.peers.map((host) => faults.chance.isLikely(0.6) && pauseHost(faults, host)));
  },
  cut: (faults) => cutPair(faults, faults.anyPeer(), faults.anyPeer()),
  'cut-master': (faults) => cutPair(faults, faults.anyPeer(), faults.cluster.master),
  isolate: async (faults) => {
    const host = faults.aPrimary();
    const others = [...faults.cluster.peers, faults.cluster.master];
    await Promise.all(others.map((other) => cutPair(faults, host, other)));
  },
  reset: async (faults) => faults.cluster.network.reset(faults.anyHost().name, faults.anyHost().name),
  stop: async (faults) => {
    const host = faults.anyPeer();
    await Promise.race([host.stop(), faults.sleep(10_000)]);
    await faults.sleep(faults.chance.between(1, 2000));
    host.start();
  },
  wipe,
  'full-disk': (faults) =>
    withDisk(faults, (host) => {
      host.disk.freeBytes = 0;
      return () => {
        host.disk.freeBytes = host.disk.totalBytes;
      };
    }),
  'full-once': async (faults) => {
    const { disk } = faults.anyPeer();
    if (faults.chance.isLikely(0.7)) disk.fileFault = 'no-space';
    else disk.commitFault = 'no-space';
  },
  'failed-sync': async (faults) => {
    const { disk } = faults.anyPeer();
    if (faults.chance.isLikely(0.3)) disk.fileFault = 'failure';
    else disk.commitFault = 'failure';
  },
  'slow-disk': (faults) =>
    withDisk(faults, (host) => {
      host.syncMs = { leastMs: 5, mostMs: faults.chance.between(20, 600) };
      return () => {
        host.syncMs = usualSyncMs;
      };
    }),
  'rot-file': rotFile,
  'rot-entry': rotEntry,
} as const satisfies Record<string, Act>;

export type FaultKind = keyof typeof acts;
export const faultKinds = Object.keys(acts) as readonly FaultKind[];
