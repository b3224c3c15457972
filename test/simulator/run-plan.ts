/**
 * Runs a plan from the first start to the last check: faults, healing, convergence, and the judgement over all of it.
 */
import { hashOfName } from '../../src/cluster/hashing.js';
import { type ClusterMap, slotOfHash } from '../../src/cluster/map.js';
import { limits } from '../../src/core/limits.js';
import { timing } from '../../src/core/timing.js';
import type { Operation } from '../checker/history.js';
import { judge, nothingAnswered } from '../checker/verdict.js';
import { deepComplaints, orphanComplaints } from './checks/deep-check.js';
import { lossComplaints, reportComplaints } from './checks/invariants-loss.js';
import { SimCluster } from './cluster.js';
import { segmentBytes } from './plan/client-worker.js';
import { Clients } from './plan/clients.js';
import { Faults } from './plan/faults.js';
import type { ClientPlan, Plan, Setting } from './plan/plan.js';
import { watchRejections } from './world/rejections.js';
import type { Trace } from './world/sim-host.js';

export interface PlanResult {
  readonly complaints: readonly string[];
  readonly operations: readonly Operation[];
  readonly counts: Counts;
  /** Equal for two runs in which the very same happened. */
  readonly digest: string;
}

/** What happened, to show that a run tried something. */
export interface Counts {
  readonly virtualMs: number;
  readonly events: number;
  readonly operations: number;
  readonly acknowledgedWrites: number;
  readonly unknownOutcomes: number;
  readonly promotions: number;
  readonly resyncs: number;
  /** Membership of the cluster: peers that joined or came with another store. */
  readonly newStores: number;
  readonly unsyncedCrashes: number;
  /** Slots of which no copy was left in the end, where that was to be expected. */
  readonly lostSlots: number;
}

export interface RunOptions {
  readonly trace?: Trace;
}

/** All slots are whole within so long after the last fault has ended. */
const wholeWithinMs = 20_000;
/** Of a peer that was cut off until the faults ended, a master may judge only now. */
const judgedWithinMs = 2000;
/** Sweeps are changes like any other: they end at different moments on different replicas. */
const equalWithinMs = 10_000;
/** A sweep that met an obstacle is tried again after at most a minute. */
const sweptWithinMs = 90_000;
/** What a host wrote down while its own clock was ahead is due so much later, and so much more for each jump. */
const jumpMs = 60_000;
const virtualMsMin = 30_000;

const shortOfMemory = {
  clientCreditBytes: 100_000,
  replicationCreditBytes: 100_000,
  smallWritesBytesMax: 500,
  replyBytesInFlightMax: 200_000,
  requestsInFlightMax: 64,
  comparePageRowsMax: 3,
  idPageRowsMax: 3,
  listPageRowsMax: 3,
} as const satisfies Partial<Record<keyof typeof limits, number>>;

/** The same plan does the same again. */
export async function runPlan(plan: Plan, options: RunOptions = {}): Promise<PlanResult> {
  const { setting } = plan;
  const cluster = new SimCluster({ seed: plan.seed, ...setting, ...options });
  const { world } = cluster;
  const stopWatching = watchRejections(world);
  const resetParameters = setParameters(setting);
  const watch = new MapWatch(cluster);
  const clients = new Clients(cluster, plan.clients);
  try {
    await cluster.start(undefined, () => clients.startEarly());
    await clients.start();
    const faults = new Faults(cluster, plan.faults);
    faults.start();
    await world.runFor(setting.faultsForMs);
    await faults.stop();
    cluster.healAll();
    await clients.stop();
    await clients.undoWishes(setting);
    await cluster.untilWhole(wholeWithinMs);
    await clients.readAll();
    await clients.readCheckpoints();
    const lost = cluster.monitor.lostSlots();
    world.complaints.push(
      ...clients.unreadComplaints((name, sizeBytes) => {
        const hasSegments = sizeBytes > segmentBytes;
        return lost.has(slotOf(name, setting.slots)) || (hasSegments && lost.size > 0);
      }),
    );
    if (!setting.expectsLoss) world.complaints.push(...lossComplaints(cluster));
    world.complaints.push(...(await lasting(cluster, reportComplaints, judgedWithinMs)));
    // Else its checks of maps were off for some time.
    if (cluster.monitor.map?.epoch !== cluster.map?.epoch) world.complaints.push('The monitor lost the cluster map');
    world.complaints.push(...(await lasting(cluster, deepComplaints, equalWithinMs)));
    const sweepsSoon = setting.sweepAfterMs < 10_000 && setting.replacedGraceMs < 10_000;
    const jumps = plan.faults.filter(({ kind }) => kind === 'clock-jump').length;
    const withinMs = sweptWithinMs + (1 + jumps) * jumpMs;
    if (sweepsSoon) world.complaints.push(...(await lasting(cluster, orphanComplaints, withinMs)));
    await world.runFor(Math.max(0, virtualMsMin - world.nowMs));
  } catch (error) {
    world.complaints.push((error as Error).stack ?? String(error));
  } finally {
    stopWatching();
    resetParameters();
  }
  const { operations } = clients;
  const verdict = judge({ victimNames: [], operations });
  const mayBeSilent = operations.length === 0 || cluster.monitor.lostSlots().size === setting.slots;
  return {
    complaints: [
      ...world.complaints,
      ...verdict.complaints.filter((complaint) => complaint !== nothingAnswered || !mayBeSilent),
      ...(servesEveryone(plan) ? clients.idleComplaints() : []),
    ],
    operations,
    digest: world.digest,
    counts: {
      virtualMs: world.nowMs,
      events: world.eventCount,
      operations: operations.length,
      acknowledgedWrites: operations.filter(isAcknowledgedWrite).length,
      unknownOutcomes: verdict.unknown,
      unsyncedCrashes: [cluster.master, ...cluster.joined].reduce((sum, { disk }) => sum + disk.unsyncedCrashes, 0),
      lostSlots: cluster.monitor.lostSlots().size,
      ...watch.counts,
    },
  };
}

/**
 * Somebody may be told no to the end who asks for what is lost, for more copies than there often are, or for a few
 * seconds alone; where all holders may say goodbye, for as long as they may stay away.
 */
function servesEveryone({ setting, faults, clients }: Plan): boolean {
  const mayAllLeave = faults.filter(({ kind }) => kind === 'leave').length >= setting.replicas;
  const enoughMs = mayAllLeave ? 15_000 : 7_000;
  const isEasy = !setting.expectsLoss && setting.minInSync === 1 && setting.faultsForMs > enoughMs;
  return isEasy && !clients.some(wishesForMoreInSync);
}

/** An operator who lets nobody write unless several copies are in sync. */
function wishesForMoreInSync({ steps }: ClientPlan): boolean {
  return steps.some(
    ({ action }) => action.kind === 'operate' && action.wish.of === 'copies' && action.wish.minInSync > 1,
  );
}

function isAcknowledgedWrite({ action, outcome }: Operation): boolean {
  return action.kind !== 'get' && outcome.state === 'done';
}

function slotOf(name: string, slots: number): number {
  return slotOfHash(hashOfName(name), slots);
}

/**
 * Sets what the programs take for constants, where their usual values could not be met in a run: ids, tables and
 * tombstones outlive it, and memory for payloads is never short. Returns how to undo that.
 */
function setParameters({ idsKeptForMs, isShortOfMemory }: Setting): () => void {
  const { requestIdMaxAgeMs, idTableMs, idKeepMs } = timing;
  const usual = { ...limits };
  const share = idsKeptForMs / idKeepMs;
  Object.assign(timing, {
    requestIdMaxAgeMs: requestIdMaxAgeMs * share,
    idTableMs: idTableMs * share,
    idKeepMs: idKeepMs * share,
  });
  if (isShortOfMemory) {
    Object.assign(limits, shortOfMemory);
  }
  return () => {
    Object.assign(timing, { requestIdMaxAgeMs, idTableMs, idKeepMs });
    Object.assign(limits, usual);
  };
}

/** What is still complained about after so long. */
async function lasting(
  cluster: SimCluster,
  look: (cluster: SimCluster) => string[],
  limitMs: number,
): Promise<string[]> {
  const endMs = cluster.world.nowMs + limitMs;
  for (;;) {
    const complaints = look(cluster);
    if (complaints.length === 0 || cluster.world.nowMs >= endMs) return complaints;
    await cluster.world.runFor(500);
  }
}

/** Counts what the master's maps say, a few times a second: what comes and goes in between is not counted. */
class MapWatch {
  readonly #cluster: SimCluster;
  #last: ClusterMap | undefined;
  readonly counts = { promotions: 0, resyncs: 0, newStores: 0 };

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    this.#look();
  }

  #look(): void {
    const { map, world } = this.#cluster;
    if (map !== undefined && map.epoch !== this.#last?.epoch) this.#compare(map);
    world.schedule(250, () => this.#look());
  }

  #compare(map: ClusterMap): void {
    const before = this.#last;
    this.#last = map;
    if (before === undefined) return;
    const stores = new Set(before.peers.map(({ storeId }) => storeId));
    this.counts.newStores += map.peers.filter(({ storeId }) => !stores.has(storeId)).length;
    map.slots.forEach((record, slot) => {
      const old = before.slots[slot];
      if (old === undefined) return;
      if (record.primary !== old.primary && record.handoverOf === undefined) this.counts.promotions++;
      this.counts.resyncs += record.inSync.filter((peer) => !old.inSync.includes(peer)).length;
    });
  }
}
