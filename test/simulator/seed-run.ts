/**
 * One seed: a cluster, a workload and faults by chance, and the judgement over all of it.
 */
import { judge } from '../checker/verdict.js';
import { SimCluster } from './cluster.js';
import { deepComplaints, orphanComplaints } from './deep-check.js';
import { type FaultKind, Faults, faultKinds } from './faults.js';
import { watchRejections } from './rejections.js';
import type { Trace } from './sim-host.js';
import { World } from './virtual-clock.js';
import { Workload } from './workload.js';

export interface SeedResult {
  readonly seed: number;
  readonly setting: string;
  readonly operations: number;
  readonly events: number;
  readonly complaints: readonly string[];
}

interface Setting {
  readonly peers: number;
  readonly replicas: number;
  readonly minInSync: number;
  readonly slots: number;
  readonly reads: 'lease' | 'confirm';
  readonly names: number;
  readonly writers: number;
  readonly readers: number;
  readonly sizes: readonly number[];
  readonly sweepAfterMs: number;
  readonly replacedGraceMs: number;
  readonly kinds: readonly FaultKind[];
  readonly everyMs: number;
  readonly forMs: number;
}

function settingOf(seed: number): Setting {
  const { chance } = new World(seed ^ 0x5eed);
  const peers = chance.pick([2, 3, 3, 3, 4, 5]);
  const replicas = Math.min(peers, chance.pick([1, 2, 2, 2, 3, 3]));
  const kinds = faultKinds.filter(() => chance.below(3) > 0);
  return {
    peers,
    replicas,
    minInSync: 1 + chance.below(replicas),
    slots: chance.pick([1, 2, 4, 8]),
    reads: chance.pick(['lease', 'lease', 'confirm']),
    names: 1 + chance.below(6),
    writers: 1 + chance.below(4),
    readers: 1 + chance.below(2),
    sizes: chance.pick([[100], [100, 5000, 70_000], [100, 70_000, 1_200_000], [100, 2_500_000]]),
    sweepAfterMs: chance.pick([2500, 24 * 3_600_000]),
    replacedGraceMs: chance.pick([1500, 600_000]),
    kinds: kinds.length > 0 ? kinds : ['crash'],
    everyMs: chance.pick([200, 600, 1500, 4000]),
    forMs: chance.pick([3000, 8000, 15_000]),
  };
}

/** Runs one seed to its end. The same seed does the same again. */
export async function runSeed(seed: number, trace?: Trace): Promise<SeedResult> {
  const setting = settingOf(seed);
  const cluster = new SimCluster({ seed, ...setting, ...(trace === undefined ? {} : { trace }) });
  const { world } = cluster;
  const stopWatching = watchRejections(world);
  const workload = new Workload(cluster, {
    ...setting,
    names: Array.from({ length: setting.names }, (_, at) => `name-${at}`),
    thinkMs: 60,
  });
  try {
    await cluster.start();
    await workload.start();
    const faults = new Faults(cluster, setting);
    faults.start();
    await world.runFor(setting.forMs);
    await faults.stop();
    cluster.healAll();
    await workload.stop();
    await cluster.untilWhole(20_000);
    await workload.readAll();
    // Sweeps are changes like any other: they end at different moments on different replicas.
    world.complaints.push(...(await lastingComplaints(cluster, deepComplaints, 10_000)));
    const sweepsSoon = setting.sweepAfterMs < 10_000 && setting.replacedGraceMs < 10_000;
    if (sweepsSoon) world.complaints.push(...(await lastingComplaints(cluster, orphanComplaints, 90_000)));
  } catch (error) {
    world.complaints.push((error as Error).stack ?? String(error));
  } finally {
    stopWatching();
  }
  const verdict = judge({ victimNames: [], operations: workload.operations });
  return {
    seed,
    setting: JSON.stringify(setting),
    operations: workload.operations.length,
    events: world.eventCount,
    complaints: [...world.complaints, ...verdict.complaints],
  };
}

/** What is still complained about after so long. */
async function lastingComplaints(
  cluster: SimCluster,
  look: (cluster: SimCluster) => string[],
  limitMs: number,
): Promise<string[]> {
  const endMs = cluster.world.nowMs + limitMs;
  while (cluster.world.nowMs < endMs && look(cluster).length > 0) await cluster.world.runFor(500);
  return look(cluster);
}
