/**
 * Faults that aim at one rare window of the protocol: two things go wrong at one chosen moment, or one with whom it
 * concerns most.
 */
import { type ClusterMap, isWaiting, namedIn, peerOf, type SlotRecord } from '../../../src/cluster/map.js';
import type { PeerId, SlotNumber } from '../../../src/core/ids.js';
import type { Moment } from '../../../src/core/probe.js';
import { masterAddress } from '../cluster.js';
import { type SimHost, usualSyncMs } from '../world/sim-host.js';
import { wipeAtOnce } from './disk-faults.js';
import type { Fault } from './fault.js';
import { atPoint, crash } from './strikes.js';

/**
 * A replica loses its store while it is being made a member, and is back at once; its primary may not hear from the
 * master that it left the slot in between, or has just been paused until it counted as down.
 */
export function wipeJoiner(fault: Fault, { isAfterPause = false } = {}): Promise<void> {
  const { chance, cluster } = fault;
  const strike = async (primary: SimHost, moment: Moment): Promise<void> => {
    const peer = 'peer' in moment ? moment.peer : undefined;
    if (isAfterPause) {
      primary.pause();
      await fault.sleep(chance.between(1100, 2000));
      primary.resume();
    }
    if (peer === undefined || !isElsewhere(fault, peer)) return;
    const isDeaf = chance.isLikely(0.6);
    await Promise.all([
      isDeaf && deafen(fault, primary, chance.between(300, 1500)),
      wipeAtOnce(fault, cluster.hostOf(peer)),
    ]);
  };
  return atPoint(fault, strike, chance.pick(['required', 'comparedAgain', 'askedToAdd']));
}

/** A peer begins anew when it has just been made a slot's primary: what it granted as a replica it has forgotten. */
export function flapSuccessor(fault: Fault): Promise<void> {
  const strike = async (_master: SimHost, moment: Moment): Promise<void> => {
    const [peer] = successors(moment);
    if (peer !== undefined) await crash(fault, fault.cluster.hostOf(peer), 20);
  };
  return atPoint(fault, strike, 'mapCommitted', (moment) => successors(moment).length > 0);
}

/** A peer loses its store when it has just been made a slot's primary, before it can have heard so; back at once. */
export function wipeSuccessor(fault: Fault): Promise<void> {
  const strike = async (_master: SimHost, moment: Moment): Promise<void> => {
    const peer = successors(moment).find((successor) => isElsewhere(fault, successor));
    if (peer !== undefined) await wipeAtOnce(fault, fault.cluster.hostOf(peer));
  };
  const isMeant = (moment: Moment): boolean => successors(moment).some((peer) => isElsewhere(fault, peer));
  return atPoint(fault, strike, 'mapCommitted', isMeant);
}

/** Whether others have all that the peer may hold, and will: nobody is about to leave a set, or to be taken out. */
function isElsewhere({ cluster, ward }: Fault, peer: PeerId): boolean {
  const { map, network } = cluster;
  if (map === undefined || ward.isWounded || ward.isRotting) return false;
  const host = cluster.hostOf(peer);
  const stays = (member: PeerId): boolean => {
    const other = cluster.hostOf(member);
    const isHeard = network.isOpen(host.name, other.name) && network.isOpen(other.name, host.name);
    return other !== host && other.isRunning && !other.isPaused && !other.isStopping && isHeard;
  };
  const isHeldByOthers = (record: SlotRecord): boolean => {
    if (isWaiting(record)) return false;
    if (!namedIn(record).includes(peer)) return true;
    // By a record that nobody can have taken yet, nobody is superfluous.
    const superfluous = record.slotEpoch === map.epoch ? 0 : Math.max(0, record.inSync.length - map.pool.replicas);
    return record.inSync.filter(stays).length > superfluous;
  };
  return map.slots.every(isHeldByOthers);
}

/**
 * That a replica is to be added reaches the master late: after the replica has gone and begun to join anew, on a slow
 * disk, so that it still lacks what was written without it.
 */
export function lateAdd(fault: Fault): Promise<void> {
  const { chance, cluster } = fault;
  const strike = async (primary: SimHost, moment: Moment): Promise<void> => {
    const replica = cluster.hostOf('peer' in moment ? moment.peer : undefined);
    const lateMs = chance.between(1000, 2000);
    cluster.network.stallTo(primary.name, masterAddress, lateMs);
    replica.crash();
    await fault.sleep(chance.between(200, 700));
    replica.start();
    replica.syncMs = { leastMs: 20, mostMs: chance.between(50, 300) };
    await fault.sleep(lateMs);
    replica.syncMs = usualSyncMs;
  };
  return atPoint(fault, strike, 'askedToAdd');
}

/** A primary asks for a handover, and hears neither what became of it nor from its successor, while clients hear it. */
export function deafAmidHandover(fault: Fault): Promise<void> {
  const { chance, cluster } = fault;
  const { network } = cluster;
  const strike = async (primary: SimHost): Promise<void> => {
    const others = [cluster.master, ...cluster.joined].filter((host) => host !== primary);
    for (const { name } of others) network.cut(name, primary.name);
    await fault.sleep(chance.between(50, 500));
    for (const { name } of others) network.heal(name, primary.name);
  };
  return atPoint(fault, strike, chance.pick(['sealed', 'handoverDrained']));
}

/** Nothing of what the master sends reaches the host; what that sends may reach the master. */
async function deafen(fault: Fault, host: SimHost, forMs: number): Promise<void> {
  const { network, master } = fault.cluster;
  network.cut(master.name, host.name);
  if (fault.chance.isLikely(0.5)) network.cut(host.name, master.name);
  await fault.sleep(forMs);
  network.heal(master.name, host.name);
  network.heal(host.name, master.name);
}

/** A peer that joins a slot hears no map for a while: by the one it has it holds a copy too many. */
export function deafenJoiner(fault: Fault): Promise<void> {
  const { chance, cluster } = fault;
  const strike = async (_master: SimHost, moment: Moment): Promise<void> => {
    const [joiner] = newJoiners(moment);
    if (joiner !== undefined) await deafen(fault, cluster.hostOf(joiner), chance.between(2500, 5000));
  };
  return atPoint(fault, strike, 'mapCommitted', (moment) => newJoiners(moment).length > 0);
}

/** Peers that lead some slot by a map that has just become durable, and did not by the one before. */
function successors(moment: Moment): readonly PeerId[] {
  if (moment.point !== 'mapCommitted') return [];
  const [before, after] = [moment.before, moment.after] as [ClusterMap | undefined, ClusterMap];
  return after.slots.flatMap(({ primary }, slot) =>
    primary === undefined || primary === before?.slots[slot]?.primary ? [] : [primary],
  );
}

/** Peers that are up and begin to join some slot in a map that has just become durable. */
function newJoiners(moment: Moment): readonly PeerId[] {
  if (moment.point !== 'mapCommitted') return [];
  const [before, after] = [moment.before, moment.after] as [ClusterMap | undefined, ClusterMap];
  const joiners = after.slots.flatMap(({ joining }, slot) =>
    joining.filter((peer) => before?.slots[slot]?.joining.includes(peer) !== true),
  );
  return joiners.filter((peer) => peerOf(after, peer)?.state === 'up');
}

/** A replica has no room for the next thing it is told: to drop what its primary sweeps. */
export function fillAtSweep(fault: Fault): Promise<void> {
  const strike = async (_primary: SimHost, moment: Moment): Promise<void> => {
    const replica = 'slot' in moment ? replicaOf(fault, moment.slot) : undefined;
    if (replica !== undefined) replica.disk.commitFault = 'no-space';
  };
  return atPoint(fault, strike, 'sweeping');
}

/** A replica that was gone for long enough to be taken out comes back while its primary sweeps, on a slow disk. */
export async function joinAmidSweeps(fault: Fault): Promise<void> {
  const { chance, cluster } = fault;
  const slot = chance.below(cluster.map?.slots.length ?? 1);
  const replica = replicaOf(fault, slot);
  if (replica === undefined) return;
  replica.crash();
  await fault.sleep(chance.between(100, 300));
  const back = async (): Promise<void> => {
    await fault.sleep(chance.between(1, 50));
    replica.start();
  };
  const strike = async (primary: SimHost): Promise<void> => {
    // Each removal takes longer than what a joiner is compared in, all of them longer than it takes to join.
    primary.syncMs = { leastMs: 50, mostMs: 300 };
    await Promise.all([back(), fault.sleep(1500)]);
    primary.syncMs = usualSyncMs;
  };
  await atPoint(fault, strike, 'sweeping');
  replica.start();
}

/** Any member but the primary. */
function replicaOf({ cluster, chance }: Fault, slot: SlotNumber): SimHost | undefined {
  const record = cluster.map?.slots[slot];
  const replicas = (record?.inSync ?? []).filter((peer) => peer !== record?.primary);
  return replicas.length === 0 ? undefined : cluster.hostOf(chance.pick(replicas));
}
