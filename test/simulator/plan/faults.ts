/**
 * What goes wrong in a simulated cluster: processes, hosts, links, disks, clocks, alone and shortly after another.
 *
 * Nothing is done that the promises do not cover: a disk is lost or rotten only where others are known to hold all
 * that it holds, and one at a time; but for plans that expect a loss.
 */
import type { SimCluster } from '../cluster.js';
import type { SimHost } from '../world/sim-host.js';
import {
  failReads,
  loseDisk,
  loseIndex,
  rotEntries,
  rotFiles,
  rotWhileCopied,
  spoilCopies,
  wipe,
  withDisk,
  withSlowDisk,
} from './disk-faults.js';
import { Fault, Ward } from './fault.js';
import type { FaultStep } from './plan.js';
import { atPoint, crash, cutPair, pauseHost, soonMs } from './strikes.js';
import {
  deafAmidHandover,
  deafenJoiner,
  fillAtSweep,
  flapSuccessor,
  joinAmidSweeps,
  lateAdd,
  wipeJoiner,
  wipeSuccessor,
} from './targeted-faults.js';
import {
  deposedAmidBytes,
  lateBytes,
  lateClient,
  lateForItsTerm,
  lateForTheSuccessor,
  refusedAndGone,
  refusedLate,
  refusedSlowly,
  refusedUnheard,
  tornWrite,
} from './write-faults.js';

export class Faults {
  readonly #ward: Ward;
  readonly #steps: readonly FaultStep[];

  constructor(cluster: SimCluster, steps: readonly FaultStep[]) {
    this.#ward = new Ward(cluster, steps);
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
    const { world } = this.#ward.cluster;
    const hasEnded = await world.runUntil(() => this.#ward.running === 0, 60_000);
    if (!hasEnded) world.complaints.push(`${this.#ward.running} faults did not end`);
  }

  #begin(step: FaultStep): void {
    const { cluster, isStopping, isMasterOld } = this.#ward;
    // A master on older files is harmless only while every peer can tell it so.
    if (isStopping || isMasterOld) return;
    const when = step.point === undefined ? '' : `, when ${step.point} is reached`;
    cluster.trace?.(`--- ${step.kind}${when}`);
    this.#ward.running++;
    this.#ward.begun++;
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

/** The master runs on files of before, or on none, for a while; it gets its own back before any map can be made. */
async function misplaceMasterFiles(fault: Fault, misplace: (master: SimHost) => void): Promise<void> {
  const { cluster, chance, ward } = fault;
  const { master } = cluster;
  // What no peer has heard of may be undone: an older map is known for one only when somebody has a newer one.
  if (ward.running > 1 || !cluster.isWhole() || cluster.monitor.heardEpoch <= ward.firstEpoch) return;
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

/** The master's disk is gone, and the map is recovered from whichever peers answer then. */
async function loseMaster(fault: Fault): Promise<void> {
  const { cluster, chance, ward } = fault;
  const { master } = cluster;
  if (cluster.map === undefined || cluster.isMasterLost || ward.isWounded || ward.mayLoseDisks) return;
  // A second recovery that reaches nobody who has heard of the first makes a rival of its map; an operator would see.
  if (cluster.wasRecovered && !cluster.isWhole()) return;
  cluster.isMasterLost = true;
  master.crash({ isHost: chance.isLikely(0.5) });
  master.wipe();
  await fault.sleep(chance.between(1, 2000));
  master.start();
}

/**
 * A replica is away for so long that its primary goes on without it; then the primary is gone with the master, and who
 * comes back and answers the recovery knows less.
 */
async function loseMasterWithPrimary(fault: Fault): Promise<void> {
  const { cluster, chance } = fault;
  const primary = fault.aPrimary();
  const others = cluster.joined.filter((host) => host !== primary);
  if (others.length === 0) return;
  const replica = chance.pick(others);
  replica.crash();
  await fault.sleep(chance.between(300, 1500));
  primary.crash();
  const lost = loseMaster(fault);
  replica.start();
  await lost;
  // A recovery waits for the last master's pings to end.
  await fault.sleep(chance.between(1500, 5000));
  primary.start();
}

const acts = {
  'crash-at-point': (fault) =>
    atPoint(fault, (host) => {
      if (fault.isClient(host)) return pauseHost(fault, host);
      return crash(fault, host, fault.chance.isLikely(0.4) ? soonMs : 2000);
    }),
  /** From there on whatever its disk is asked to make durable takes long. */
  'slow-at-point': (fault) => atPoint(fault, (host) => withSlowDisk(fault, host)),
  'wipe-joiner': (fault) => wipeJoiner(fault),
  'wipe-joiner-after-a-pause': (fault) => wipeJoiner(fault, { isAfterPause: true }),
  'wipe-successor': wipeSuccessor,
  'flap-successor': flapSuccessor,
  'late-add': lateAdd,
  'deafen-joiner': deafenJoiner,
  'deaf-amid-handover': deafAmidHandover,
  'fill-at-sweep': fillAtSweep,
  'join-amid-sweeps': joinAmidSweeps,
  'late-bytes': lateBytes,
  'late-client': lateClient,
  'late-for-its-term': lateForItsTerm,
  'late-for-the-successor': lateForTheSuccessor,
  'deposed-amid-bytes': deposedAmidBytes,
  'refused-slowly': refusedSlowly,
  'refused-late': refusedLate,
  'refused-unheard': refusedUnheard,
  'refused-and-gone': refusedAndGone,
  'torn-write': tornWrite,
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
  'stop-master': async (fault) => {
    const { master } = fault.cluster;
    await Promise.race([master.stop(), fault.sleep(10_000)]);
    await fault.sleep(fault.chance.between(1, 2000));
    master.start();
  },
  /** Says goodbye and stays away for long. */
  leave: async (fault) => {
    const host = fault.anyPeer();
    await Promise.race([host.stop(), fault.sleep(10_000)]);
    await fault.sleep(fault.chance.between(4000, 10_000));
    host.start();
  },
  join: async (fault) => fault.cluster.spares.find(({ starts }) => starts === 0)?.start(),
  'lose-master': loseMaster,
  'lose-master-with-primary': loseMasterWithPrimary,
  wipe,
  'lose-index': loseIndex,
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
  /** The next thing that the master writes down, be it a map. */
  'master-disk': async (fault) => {
    fault.cluster.master.disk.smallFileFault = fault.chance.isLikely(0.5) ? 'no-space' : 'failure';
  },
  /** The primary's own commit of what its replicas hold. */
  'full-primary': async (fault) => {
    fault.aPrimary().disk.commitFault = 'no-space';
  },
  'slow-disk': (fault) => withSlowDisk(fault, fault.anyPeer()),
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
  'rot-file': rotFiles,
  'fail-reads': failReads,
  'rot-entry': rotEntries,
  'rot-while-copied': rotWhileCopied,
  'spoil-copies': spoilCopies,
} as const satisfies Record<string, (fault: Fault) => Promise<void>>;

export type FaultKind = keyof typeof acts;

/** Those that strike at a named point, not at a moment. */
export function isAtPoint(kind: FaultKind): boolean {
  return kind === 'crash-at-point' || kind === 'pause-at-point' || kind === 'slow-at-point';
}

function isLossOfTheMaster(kind: FaultKind): boolean {
  return kind === 'lose-master' || kind === 'lose-master-with-primary';
}

/**
 * Those that leave a good copy of everything, and the map with the master. A late add needs a replica that goes and
 * comes back at the right moment: few plans have one, so that only hunts draw it.
 */
export const faultKinds = (Object.keys(acts) as FaultKind[]).filter(
  (kind) => kind !== 'lose-disk' && kind !== 'late-add' && !isLossOfTheMaster(kind),
);
