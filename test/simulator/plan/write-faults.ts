/**
 * Faults that aim at one change on its way: one replica has no room for it while another holds it already, its bytes
 * arrive once more after everything else, its primary is deposed meanwhile, or only some have it when its primary dies,
 * and the next one soon after.
 */
import type { SlotNumber } from '../../../src/core/ids.js';
import type { Moment, PointName } from '../../../src/core/probe.js';
import type { SimHost } from '../world/sim-host.js';
import type { Fault } from './fault.js';
import { atPoint, crash } from './strikes.js';

/** A change in whose way something is put: who sends it, and two of those who are to hold it. */
interface Target {
  readonly slot: SlotNumber;
  readonly primary: SimHost;
  /** Has no room for it. */
  readonly full: SimHost;
  readonly other: SimHost;
}

// --- Bytes that come late --------------------------------------------------------------------------------------------

/** A connection breaks for its sender only, who opens another: what it had sent arrives long after that. */
async function sendLate(fault: Fault, from: SimHost, to: SimHost): Promise<void> {
  const { chance, cluster } = fault;
  const { network } = cluster;
  cluster.trace?.(`what ${from.name} sends to ${to.name} comes late`);
  const lateMs = chance.isLikely(0.7) ? chance.between(30, 400) : chance.between(400, 2000);
  network.stall(from.name, to.name, lateMs);
  for (let waits = 0; waits < 50 && !network.isUnderWay(from.name, to.name); waits++) await fault.sleep(5);
  await fault.sleep(chance.between(1, 15));
  network.breakHere(from.name, to.name);
  await fault.sleep(lateMs);
}

/** Of a primary, to somebody who is to hold what it sends. */
export function lateBytes(fault: Fault): Promise<void> {
  const points = ['versionGiven', 'versionGiven', 'replicated', 'afterPromiseBeforeLevelling', 'required'] as const;
  const strike = async (primary: SimHost, moment: Moment): Promise<void> => {
    const others = replicasOf(fault, moment, primary);
    if (others.length > 0) await sendLate(fault, primary, fault.chance.pick(others));
  };
  return atPoint(fault, strike, fault.chance.pick(points));
}

/** Of a client, to a primary. */
export async function lateClient(fault: Fault): Promise<void> {
  const { clients } = fault.cluster;
  if (clients.length > 0) await sendLate(fault, fault.chance.pick(clients), fault.aPrimary());
}

/**
 * Of a client, to a primary that is deposed meanwhile and leads again when they arrive, without a restart: in another
 * term.
 */
export async function lateForItsTerm(fault: Fault): Promise<void> {
  const { chance, cluster } = fault;
  const { network, master, clients } = cluster;
  const primary = fault.aPrimary();
  if (clients.length === 0) return;
  const client = chance.pick(clients);
  const late = chance.between(3500, 6000);
  network.stall(client.name, primary.name, late);
  for (let waits = 0; waits < 50 && !network.isUnderWay(client.name, primary.name); waits++) await fault.sleep(5);
  const others = [...cluster.joined, master].filter((host) => host !== primary);
  for (const { name } of others) cutBoth(fault, primary.name, name);
  await fault.sleep(chance.between(1100, 1600));
  for (const { name } of others) healBoth(fault, primary.name, name);
  const isBack = (): boolean => cluster.map?.slots.every(({ inSync }) => inSync.length > 1) === true;
  for (let waits = 0; waits < 30 && !isBack(); waits++) await fault.sleep(50);
  const next = fault.aPrimary();
  if (next !== primary && isBack()) await crash(fault, next);
}

function cutBoth({ cluster }: Fault, one: string, other: string): void {
  cluster.network.cut(one, other);
  cluster.network.cut(other, one);
}

function healBoth({ cluster }: Fault, one: string, other: string): void {
  cluster.network.heal(one, other);
  cluster.network.heal(other, one);
}

// --- Changes that outlive their primary's lead -----------------------------------------------------------------------

/** What a primary sends one replica is durable there once its successor has levelled it; others get it later or not. */
export function lateForTheSuccessor(fault: Fault): Promise<void> {
  const { chance, cluster } = fault;
  const strike = async (primary: SimHost, moment: Moment): Promise<void> => {
    const [late, ...others] = shuffled(fault, replicasOf(fault, moment, primary));
    if (late === undefined) return;
    // The successor waits for the lease that it has just given, or has given none for long.
    const areReached = chance.isLikely(0.5);
    const unreached = areReached ? [] : others;
    if (areReached) for (const host of others) host.fileSyncMs = { leastMs: 2500, mostMs: 4000 };
    if (chance.isLikely(0.3)) cluster.network.stall(primary.name, late.name, chance.between(1200, 1900));
    else late.fileSyncMs = { leastMs: 1100, mostMs: chance.between(1200, 1900) };
    // It answers its successor before it hears from the master who that is.
    const isDeaf = chance.isLikely(0.7);
    await Promise.all([cutOff(fault, primary, unreached), isDeaf && deafForAMoment(fault, late)]);
    for (const host of [late, ...others]) host.fileSyncMs = undefined;
  };
  return atPoint(fault, strike, 'versionGiven');
}

/** A primary's own bytes take longer than what replicas need, and than it takes to depose it; its index is quick. */
export function deposedAmidBytes(fault: Fault): Promise<void> {
  const { chance } = fault;
  const strike = async (primary: SimHost): Promise<void> => {
    primary.fileSyncMs = { leastMs: 1200, mostMs: chance.between(1500, 4000) };
    await cutOff(fault, primary, []);
    primary.fileSyncMs = undefined;
  };
  return atPoint(fault, strike, 'versionGiven');
}

/** Not for so long that it would be taken for dead. */
async function deafForAMoment(fault: Fault, host: SimHost): Promise<void> {
  const { chance, cluster } = fault;
  const { master, network } = cluster;
  await fault.sleep(chance.between(800, 1000));
  network.cut(master.name, host.name);
  await fault.sleep(chance.between(600, 950));
  network.heal(master.name, host.name);
}

/** From the master and some others, for long enough to be deposed. */
async function cutOff(fault: Fault, primary: SimHost, others: readonly SimHost[]): Promise<void> {
  const unheard = [fault.cluster.master, ...others];
  for (const { name } of unheard) cutBoth(fault, primary.name, name);
  await fault.sleep(fault.chance.between(1500, 3500));
  for (const { name } of unheard) healBoth(fault, primary.name, name);
}

// --- Changes that are taken back -------------------------------------------------------------------------------------

/** For a moment one replica, or the primary, has no room, and something else goes wrong while that is taken back. */
function refused(fault: Fault, alongside: (target: Target) => Promise<void>): Promise<void> {
  const { chance } = fault;
  const strike = async (primary: SimHost, moment: Moment): Promise<void> => {
    const [other, full = primary] = shuffled(fault, replicasOf(fault, moment, primary));
    if (other === undefined || moment.point !== 'versionGiven') return;
    const { disk } = full;
    // Full for what is staged, and for the entry alone.
    if (chance.isLikely(0.5) || full === primary) disk.fileFault = 'no-space';
    else disk.commitFault = 'no-space';
    if (full !== primary) disk.freeBytes = 0;
    const target = { slot: moment.slot, primary, full, other };
    const goneWrong = alongside(target);
    await fault.sleep(chance.between(5, 100));
    disk.freeBytes = disk.totalBytes;
    disk.fileFault = undefined;
    disk.commitFault = undefined;
    await goneWrong;
  };
  return atPoint(fault, strike, 'versionGiven');
}

/** The other takes long to store it, and its connection may break meanwhile. */
export function refusedSlowly(fault: Fault): Promise<void> {
  const { chance, cluster } = fault;
  return refused(fault, async ({ primary, other }) => {
    const usual = other.syncMs;
    other.syncMs = { leastMs: 5, mostMs: chance.between(20, 700) };
    for (let resets = chance.below(4); resets > 0; resets--) {
      await fault.sleep(chance.between(5, 100));
      cluster.network.reset(primary.name, other.name);
    }
    await fault.sleep(chance.between(50, 500));
    other.syncMs = usual;
  });
}

/** What the other is told of the roll-back comes late, and again. */
export function refusedLate(fault: Fault): Promise<void> {
  return refused(fault, async ({ primary, other }) => {
    await fault.sleep(fault.chance.between(0, 8));
    await sendLate(fault, primary, other);
  });
}

/** The primary hears neither of the other nor of the master, who may make the other its successor. */
export function refusedUnheard(fault: Fault): Promise<void> {
  const { chance, cluster } = fault;
  return refused(fault, async ({ primary, other }) => {
    await fault.sleep(chance.between(1, 6));
    const unheard = [other, cluster.master];
    for (const { name } of unheard) cutBoth(fault, primary.name, name);
    await fault.sleep(chance.between(1000, 3000));
    for (const { name } of unheard) healBoth(fault, primary.name, name);
  });
}

/** The primary dies while the other takes it back. */
export function refusedAndGone(fault: Fault): Promise<void> {
  return refused(fault, ({ slot }) => crashAtSettled(fault, slot));
}

// --- Changes that only some hold when their primary dies -------------------------------------------------------------

/** One replica gets it, another does not; then the primary dies, and its successor while it makes the others equal. */
export function tornWrite(fault: Fault): Promise<void> {
  const { chance, cluster } = fault;
  const strike = async (primary: SimHost, moment: Moment): Promise<void> => {
    const [without] = shuffled(fault, replicasOf(fault, moment, primary));
    if (without === undefined || !('slot' in moment)) return;
    cluster.network.cut(primary.name, without.name);
    await fault.sleep(chance.between(2, 10));
    primary.crash({ isHost: chance.isLikely(0.3) });
    cluster.network.heal(primary.name, without.name);
    const second = crashAtSettled(fault, moment.slot);
    await fault.sleep(chance.between(500, 3000));
    primary.start();
    await second;
  };
  return atPoint(fault, strike, 'versionGiven');
}

const settlesWithinMs = 3000;

/** The slot's primary dies when a replica has taken over one of its entries, of which more was to come. */
async function crashAtSettled(fault: Fault, slot: SlotNumber): Promise<void> {
  const { chance, cluster } = fault;
  const isMeant = (moment: Moment): boolean => moment.point === 'settled' && moment.slot === slot;
  const primary = await reached(fault, 'settled', isMeant, () => {
    const id = cluster.map?.slots[slot]?.primary;
    const host = id === undefined ? undefined : cluster.hostOf(id);
    host?.crash({ isHost: chance.isLikely(0.3) });
    return host;
  });
  await fault.sleep(chance.between(300, 2500));
  primary?.start();
}

/** What `act` makes of it when the point is reached in time; undefined when it is not. */
function reached<Result>(
  fault: Fault,
  point: PointName,
  isMeant: (moment: Moment) => boolean,
  act: () => Result,
): Promise<Result | undefined> {
  const { cluster, ward } = fault;
  return new Promise((resolve) => {
    let isArmed = true;
    cluster.points.arm({
      point,
      skip: 0,
      isMeant,
      act: () => {
        if (isArmed && !ward.isStopping) resolve(act());
        isArmed = false;
      },
    });
    cluster.world.schedule(settlesWithinMs, () => {
      isArmed = false;
      resolve(undefined);
    });
  });
}

/** The members of the moment's slot that are not this one. */
function replicasOf({ cluster }: Fault, moment: Moment, primary: SimHost): readonly SimHost[] {
  const record = 'slot' in moment ? cluster.map?.slots[moment.slot] : undefined;
  return (record?.inSync ?? []).map((peer) => cluster.hostOf(peer)).filter((host) => host !== primary);
}

function shuffled<Item>({ chance }: Fault, items: readonly Item[]): readonly Item[] {
  const left = [...items];
  return items.map(() => left.splice(chance.below(left.length), 1)[0] as Item);
}
