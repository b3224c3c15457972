/**
 * What goes wrong in a simulated cluster: processes, hosts, links, disks, clocks, alone and shortly after another.
 *
 * Nothing is done that the promises do not cover: a disk is lost or rotten only where others are known to hold all
 * that it holds, and one at a time; but for plans that expect a loss.
 */
import { Seeded } from '../contract/seeded.js';
import type { SimCluster } from './cluster.js';
import type { FaultStep } from './plan.js';
import { type SimHost, usualSyncMs } from './sim-host.js';

/** What the faults of a run have to agree on. */
class Ward {
  readonly cluster: SimCluster;
  isStopping = false;
  /** A store was lost since the cluster was last whole. */
  isWounded = false;
  /** Bytes are rotten somewhere. */
  isRotting = false;
  /** The master's files are not the newest. */
  isMasterOld = false;
  /** Steps that have begun and not ended. */
  running = 0;
  /** Gives the master the files it had when the faults began. */
  readonly restoreOldMaster: () => void;
  readonly firstEpoch: number;

  constructor(cluster: SimCluster) {
    this.cluster = cluster;
    this.restoreOldMaster = cluster.master.disk.backUpSmallFiles();
    this.firstEpoch = cluster.map?.epoch ?? 0;
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.cluster.world.schedule(delayMs, resolve));
  }
}

export class Faults {
  readonly #ward: Ward;
  readonly #steps: readonly FaultStep[];

  constructor(cluster: SimCluster, steps: readonly FaultStep[]) {
    this.#ward = new Ward(cluster);
    this.#steps = steps;
  }

  /** From now on each step happens at its time. */
  start(): void {
    for (const step of this.#steps) this.#ward.cluster.world.schedule(step.atMs, () => this.#begin(step));
    this.#supervise();
  }

  /** Nothing new begins; resolves when what began has ended. */
  async stop(): Promise<void> {
    this.#ward.isStopping = true;
    this.#ward.cluster.points.disarmAll();
    await this.#ward.cluster.world.runUntil(() => this.#ward.running === 0, 60_000);
  }

  #begin(step: FaultStep): void {
    const { cluster, isStopping, isMasterOld } = this.#ward;
    // A master on older files is harmless only while every peer can tell it so.
    if (isStopping || isMasterOld) return;
    cluster.trace?.(`--- ${[step.kind, step.point].join(' ')}`);
    this.#ward.running++;
    acts[step.kind](new Fault(this.#ward, step)).then(
      () => this.#ward.running--,
      (error: unknown) => cluster.world.complaints.push(`Fault ${step.kind} failed: ${(error as Error).stack}`),
    );
  }

  /** As a service manager, also when no fault is begun any more: what ended by itself is started again. */
  #supervise(): void {
    const { cluster } = this.#ward;
    cluster.world.schedule(500, () => {
      for (const host of [...cluster.joined, cluster.master]) if (host.endedByItself) host.start();
      this.#supervise();
    });
  }
}

/** One step at work, with chance of its own. */
class Fault {
  readonly ward: Ward;
  readonly cluster: SimCluster;
  readonly chance: Seeded;

  readonly step: FaultStep;

  constructor(ward: Ward, step: FaultStep) {
    this.ward = ward;
    this.cluster = ward.cluster;
    this.step = step;
    this.chance = new Seeded(step.chance);
  }

  sleep(delayMs: number): Promise<void> {
    return this.ward.sleep(delayMs);
  }

  anyPeer(): SimHost {
    return this.chance.pick(this.cluster.joined);
  }

  anyHost(): SimHost {
    return this.chance.pick([...this.cluster.joined, this.cluster.master]);
  }

  /** The host that leads a slot picked by chance, or any. */
  aPrimary(): SimHost {
    const { map } = this.cluster;
    const primary = map === undefined ? undefined : this.chance.pick(map.slots).primary;
    return primary === undefined ? this.anyPeer() : this.cluster.hostOf(primary);
  }

  /** Its work would be lost with its process, and nobody would know what it was told. */
  isClient(host: SimHost): boolean {
    return host !== this.cluster.master && !this.cluster.joined.includes(host);
  }

  /** Mostly short: longer than a lease, shorter than a death; else long enough to be taken for dead. */
  aWhile(): number {
    return this.chance.isLikely(0.5) ? this.chance.between(10, 500) : this.chance.between(500, 4000);
  }
}

async function crash(fault: Fault, host: SimHost, longestMs = 3000): Promise<void> {
  host.crash({ isHost: fault.chance.isLikely(0.3) });
  await fault.sleep(fault.chance.between(1, longestMs));
  host.start();
}

async function pauseHost(fault: Fault, host: SimHost): Promise<void> {
  host.pause();
  await fault.sleep(fault.aWhile());
  host.resume();
}

async function cutPair(fault: Fault, one: SimHost, other: SimHost): Promise<void> {
  if (one === other) return;
  const { network } = fault.cluster;
  const way = fault.chance.below(3);
  fault.cluster.trace?.(`cut ${one.name} ${['↔', '→', '←'][way]} ${other.name}`);
  if (way !== 2) network.cut(one.name, other.name);
  if (way !== 1) network.cut(other.name, one.name);
  await fault.sleep(fault.aWhile());
  network.heal(one.name, other.name);
  network.heal(other.name, one.name);
}

async function withDisk(fault: Fault, change: (host: SimHost) => () => void): Promise<void> {
  const undo = change(fault.anyPeer());
  await fault.sleep(fault.chance.between(50, 3000));
  undo();
}

/**
 * The host's store, emptied when its process ended, or only its index lost: a new store either way. Only when others
 * hold all it holds, as the map says by then.
 */
async function wipe(fault: Fault): Promise<void> {
  const { cluster, chance, ward } = fault;
  if (ward.isWounded || cluster.map === undefined) return;
  const host = fault.anyPeer();
  const peer = cluster.map.peers.find(({ address }) => address.startsWith(`${host.name}:`));
  if (peer === undefined || !host.isRunning) return;
  ward.isWounded = true;
  host.crash({ isHost: chance.isLikely(0.5) });
  const { starts } = host;
  await fault.sleep(chance.between(1500, 3000));
  const map = cluster.master.isPaused ? undefined : cluster.map;
  const isElsewhere = map?.slots.every(({ inSync }) => !inSync.includes(peer.id) || inSync.length > 1) === true;
  const isLost = isElsewhere && host.starts === starts;
  if (isLost && chance.isLikely(0.7)) host.wipe();
  else if (isLost) host.disk.loseIndex();
  host.start();
  const isKnown = (): boolean =>
    !isLost || cluster.map?.peers.every(({ id, storeId }) => id !== peer.id || storeId !== peer.storeId) === true;
  while (!ward.isStopping && !(isKnown() && cluster.isWhole())) await fault.sleep(100);
  ward.isWounded = false;
}

/** A disk is gone, whoever else may hold what was on it. */
async function loseDisk(fault: Fault): Promise<void> {
  const host = fault.chance.isLikely(0.5) ? fault.aPrimary() : fault.anyPeer();
  host.crash({ isHost: true });
  host.wipe();
  await fault.sleep(fault.chance.between(1, 2000));
  host.start();
}

/** Whether bytes on one disk may go bad now without being the last good ones. */
function mayRot({ cluster, ward }: Fault): boolean {
  return !ward.isRotting && !ward.isWounded && cluster.isWhole() && cluster.map?.slots.every(isCopied) === true;
}

function isCopied({ inSync }: { inSync: readonly string[] }): boolean {
  return inSync.length > 1;
}

async function rotFile(fault: Fault): Promise<void> {
  const { chance, ward } = fault;
  if (!mayRot(fault)) return;
  const host = fault.anyPeer();
  const ids = [...host.disk.files.keys()];
  if (ids.length === 0) return;
  ward.isRotting = true;
  const rotten = ids.filter(() => chance.isLikely(0.5));
  const restores = rotten.map((id) => host.disk.rotFile(id, 4096 + chance.below(1000)));
  await fault.sleep(chance.between(50, 3000));
  for (const restore of restores) restore();
  ward.isRotting = false;
}

/** A bad sector: reads of some files fail for a while. */
async function failReads(fault: Fault): Promise<void> {
  const { chance, ward } = fault;
  if (!mayRot(fault)) return;
  const host = fault.anyPeer();
  ward.isRotting = true;
  const bad = [...host.disk.files.keys()].filter(() => chance.isLikely(0.5));
  const restores = bad.map((id) => host.disk.makeUnreadable(id));
  await fault.sleep(chance.between(50, 3000));
  for (const restore of restores) restore();
  ward.isRotting = false;
}

async function rotEntry(fault: Fault): Promise<void> {
  const { chance, ward } = fault;
  if (!mayRot(fault)) return;
  const host = fault.anyPeer();
  const keys = host.disk.index.durable.keys('entries', { from: new Uint8Array(0) });
  if (keys.length === 0) return;
  ward.isRotting = true;
  const restore = host.disk.index.rot('entries', chance.pick(keys));
  fault.cluster.trace?.(`rot an entry on ${host.name}`);
  await fault.sleep(chance.between(50, 3000));
  restore();
  ward.isRotting = false;
}

/** The master runs on files of before, or on none, for a while; it gets its own back before any map can be made. */
async function misplaceMasterFiles(fault: Fault, misplace: (master: SimHost) => void): Promise<void> {
  const { cluster, chance, ward } = fault;
  const { master } = cluster;
  if (ward.running > 1 || !cluster.isWhole() || cluster.map?.epoch === ward.firstEpoch) return;
  ward.isMasterOld = true;
  master.crash();
  const putBack = master.disk.backUpSmallFiles();
  misplace(master);
  master.mayRefuseToRun = true;
  master.start();
  await fault.sleep(chance.between(500, 4000));
  master.crash();
  putBack();
  master.mayRefuseToRun = false;
  ward.isMasterOld = false;
  master.start();
}

const passedOverMax = 6;
const armedForMs = 6000;

/** Strikes the process that next, or a few times later, reaches the point; resolves when that is over, or never was. */
async function atPoint(fault: Fault, strike: (host: SimHost) => Promise<void>): Promise<void> {
  const { cluster, chance, step } = fault;
  const { point } = step;
  if (point === undefined) return;
  let isArmed = true;
  const struck = new Promise<void>((resolve) => {
    const skip = chance.isLikely(0.5) ? 0 : chance.below(passedOverMax);
    cluster.points.arm({
      point,
      skip,
      act: (host) => {
        if (!isArmed || fault.ward.isStopping) return;
        isArmed = false;
        cluster.trace?.(`${step.kind} ${point} on ${host.name}`);
        resolve(strike(host));
      },
    });
    cluster.world.schedule(armedForMs, () => isArmed && resolve());
  });
  await struck;
  isArmed = false;
}

const acts = {
  'crash-at-point': (fault) =>
    atPoint(fault, (host) => (fault.isClient(host) ? pauseHost(fault, host) : crash(fault, host, 2000))),
  'pause-at-point': (fault) => atPoint(fault, (host) => pauseHost(fault, host)),
  crash: (fault) => crash(fault, fault.anyPeer()),
  'crash-primary': (fault) => crash(fault, fault.aPrimary()),
  /** A promotion, and a second one soon after the first. */
  'crash-twice': async (fault) => {
    const first = crash(fault, fault.aPrimary());
    await fault.sleep(fault.chance.between(1, 700));
    await Promise.all([first, crash(fault, fault.aPrimary())]);
  },
  /** A crash in the middle of a start. */
  flap: async (fault) => {
    const host = fault.anyPeer();
    for (let times = 0; times < 3; times++) await crash(fault, host, 250);
  },
  /** Gone for less than anybody needs to notice. */
  'flap-fast': (fault) => crash(fault, fault.anyPeer(), 20),
  'crash-all': async (fault) => {
    await Promise.all([fault.cluster.master, ...fault.cluster.joined].map((host) => crash(fault, host, 2000)));
  },
  'crash-master': (fault) => crash(fault, fault.cluster.master),
  pause: (fault) => pauseHost(fault, fault.anyPeer()),
  'pause-primary': (fault) => pauseHost(fault, fault.aPrimary()),
  'pause-master': (fault) => pauseHost(fault, fault.cluster.master),
  'pause-many': async (fault) => {
    const hosts = fault.cluster.joined.filter(() => fault.chance.isLikely(0.6));
    await Promise.all(hosts.map((host) => pauseHost(fault, host)));
  },
  cut: (fault) => cutPair(fault, fault.anyPeer(), fault.anyPeer()),
  'cut-primary': (fault) => cutPair(fault, fault.aPrimary(), fault.anyPeer()),
  'cut-client': async (fault) => {
    const { clients } = fault.cluster;
    if (clients.length > 0) await cutPair(fault, fault.chance.pick(clients), fault.aPrimary());
  },
  'cut-master': (fault) => cutPair(fault, fault.anyPeer(), fault.cluster.master),
  isolate: async (fault) => {
    const host = fault.aPrimary();
    const others = [...fault.cluster.joined, fault.cluster.master];
    await Promise.all(others.map((other) => cutPair(fault, host, other)));
  },
  reset: async (fault) => fault.cluster.network.reset(fault.anyHost().name, fault.anyHost().name),
  stop: async (fault) => {
    const host = fault.anyPeer();
    await Promise.race([host.stop(), fault.sleep(10_000)]);
    await fault.sleep(fault.chance.between(1, 2000));
    host.start();
  },
  /** Says goodbye and stays away for long. */
  leave: async (fault) => {
    const host = fault.anyPeer();
    await Promise.race([host.stop(), fault.sleep(10_000)]);
    await fault.sleep(fault.chance.between(4000, 10_000));
    host.start();
  },
  join: async (fault) => fault.cluster.spares.find(({ starts }) => starts === 0)?.start(),
  wipe,
  'lose-disk': loseDisk,
  'old-master': (fault) => misplaceMasterFiles(fault, fault.ward.restoreOldMaster),
  'empty-master': (fault) => misplaceMasterFiles(fault, (master) => master.wipe()),
  'full-disk': (fault) =>
    withDisk(fault, (host) => {
      host.disk.freeBytes = 0;
      return () => {
        host.disk.freeBytes = host.disk.totalBytes;
      };
    }),
  'full-once': async (fault) => {
    const { disk } = fault.anyPeer();
    if (fault.chance.isLikely(0.7)) disk.fileFault = 'no-space';
    else disk.commitFault = 'no-space';
  },
  'failed-sync': async (fault) => {
    const { disk } = fault.anyPeer();
    const kind = fault.chance.between(0, 1);
    if (kind < 0.2) disk.smallFileFault = 'failure';
    else if (kind < 0.4) disk.fileFault = 'failure';
    else disk.commitFault = 'failure';
  },
  'slow-disk': (fault) =>
    withDisk(fault, (host) => {
      host.syncMs = { leastMs: 5, mostMs: fault.chance.between(20, 700) };
      return () => {
        host.syncMs = usualSyncMs;
      };
    }),
  'slow-link': async (fault) => {
    const { network } = fault.cluster;
    const { name } = fault.anyHost();
    network.slowDown(name, fault.chance.between(20, 2000));
    await fault.sleep(fault.aWhile());
    network.restore(name);
  },
  /** Somebody sets the clock: it jumps by up to a minute. */
  'clock-jump': async (fault) => {
    fault.anyHost().wallAheadMs += fault.chance.between(-60_000, 60_000);
  },
  'rot-file': rotFile,
  'fail-reads': failReads,
  'rot-entry': rotEntry,
} as const satisfies Record<string, (fault: Fault) => Promise<void>>;

export type FaultKind = keyof typeof acts;
export function isAtPoint(kind: FaultKind): boolean {
  return kind === 'crash-at-point' || kind === 'pause-at-point';
}

/** Those that leave a good copy of everything. */
export const faultKinds = (Object.keys(acts) as FaultKind[]).filter((kind) => kind !== 'lose-disk');
