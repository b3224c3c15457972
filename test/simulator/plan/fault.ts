/**
 * One fault at work: what it may look at, whom it picks, and what it has to agree on with the others of its run.
 */
import { Seeded } from '../../contract/seeded.js';
import type { SimCluster } from '../cluster.js';
import type { SimHost } from '../world/sim-host.js';
import type { FaultStep } from './plan.js';

/** What the faults of a run have to agree on. */
export class Ward {
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
  /** Steps that have begun. */
  begun = 0;
  /** Some step loses a disk, whoever else has what was on it. */
  readonly mayLoseDisks: boolean;
  /** Gives the master the files it had when the faults began. */
  readonly restoreOldMaster: () => void;
  readonly firstEpoch: number;

  constructor(cluster: SimCluster, steps: readonly FaultStep[]) {
    this.cluster = cluster;
    this.mayLoseDisks = steps.some(({ kind }) => kind === 'lose-disk');
    this.restoreOldMaster = cluster.master.disk.backUpSmallFiles();
    this.firstEpoch = cluster.map?.epoch ?? 0;
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.cluster.world.schedule(delayMs, resolve));
  }
}

/** One step at work, with chance of its own. */
export class Fault {
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
