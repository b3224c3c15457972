/**
 * An operator at work while everything else goes on: drains peers, puts them under maintenance, weighs them anew,
 * removes them for good, changes the number of copies, pauses moves, slows copying down, makes and removes
 * checkpoints; and asks what would be lost.
 */
import type { FileClient } from '../../../src/client/file-client.js';
import type { PeerRecord, SlotRecord } from '../../../src/cluster/map.js';
import { DfsError, isRefusal } from '../../../src/core/errors.js';
import type { PeerId } from '../../../src/core/ids.js';
import type { Seeded } from '../../contract/seeded.js';
import type { SimCluster } from '../cluster.js';
import { take, takeBack } from './checkpoints.js';
import type { Setting } from './plan.js';

export type OperatorWish =
  | { readonly of: 'peer'; readonly op: 'drain' | 'enable' | 'maintenance' | 'repair'; readonly peerAt: number }
  | { readonly of: 'weight'; readonly peerAt: number; readonly weight: number }
  | { readonly of: 'copies'; readonly replicas: number; readonly minInSync: number }
  | { readonly of: 'moves'; readonly isPaused: boolean }
  | { readonly of: 'speed'; readonly bytesPerSecond: number }
  | { readonly of: 'removal'; readonly peerAt: number }
  | { readonly of: 'what-if'; readonly peersAt: readonly number[] }
  | { readonly of: 'checkpoint'; readonly op: 'create' | 'remove' };

const wishes = [
  'peer',
  'peer',
  'weight',
  'copies',
  'moves',
  'speed',
  'removal',
  'what-if',
  'checkpoint',
  'checkpoint',
] as const;

export function drawWish(chance: Seeded): OperatorWish {
  const peerAt = chance.below(8);
  switch (chance.pick(wishes)) {
    case 'peer':
      return { of: 'peer', op: chance.pick(['drain', 'enable', 'enable', 'maintenance', 'repair'] as const), peerAt };
    case 'weight':
      return { of: 'weight', peerAt, weight: chance.pick([0, 0.5, 1, 2]) };
    case 'copies': {
      const replicas = 1 + chance.below(3);
      return { of: 'copies', replicas, minInSync: chance.isLikely(0.8) ? 1 : replicas };
    }
    case 'moves':
      return { of: 'moves', isPaused: chance.isLikely(0.5) };
    case 'checkpoint':
      return { of: 'checkpoint', op: chance.pick(['create', 'create', 'create', 'remove'] as const) };
    case 'speed':
      return { of: 'speed', bytesPerSecond: chance.pick([0, 20_000, 2_000_000]) };
    case 'removal':
      return { of: 'removal', peerAt };
    case 'what-if':
      return { of: 'what-if', peersAt: chance.isLikely(0.5) ? [peerAt] : [peerAt, chance.below(8)] };
  }
}

/** What is refused, or answered by nobody, is none of the operator's doing. */
export async function wish(client: FileClient, cluster: SimCluster, wanted: OperatorWish): Promise<void> {
  const { operations } = client;
  const peers = cluster.map?.peers ?? [];
  const peerAt = (at: number): string => peers[at % Math.max(1, peers.length)]?.id ?? 'p1';
  const perform = (): Promise<unknown> => {
    switch (wanted.of) {
      case 'peer':
        return operations.changePeer(peerAt(wanted.peerAt), wanted.op);
      case 'weight':
        return operations.changePeer(peerAt(wanted.peerAt), 'set', { weight: wanted.weight });
      case 'copies':
        return operations.changeCluster({ replicas: wanted.replicas, minInSync: wanted.minInSync });
      case 'moves':
        return operations.changeCluster({ movesPaused: wanted.isPaused });
      case 'speed':
        return operations.changeCluster({ repairBytesPerSecond: wanted.bytesPerSecond });
      case 'removal':
        return remove(client, cluster, peerAt(wanted.peerAt));
      case 'what-if':
        return askWhatIf(client, cluster, [...new Set(wanted.peersAt.map(peerAt))]);
      case 'checkpoint':
        return wanted.op === 'create' ? take(client, cluster) : takeBack(client, cluster);
    }
  };
  await perform().catch((error: unknown) => {
    if (!(error instanceof DfsError)) throw error;
  });
}

/** Mostly refused, because something still depends on it. */
async function remove({ operations }: FileClient, cluster: SimCluster, id: PeerId): Promise<void> {
  const { peers = [] } = cluster.map ?? {};
  if (peers.find((peer) => peer.id === id)?.state === 'removed') return;
  const host = cluster.hostOf(id);
  // A request that was not answered may be heard long after.
  let isOpen = host.mayRefuseToRun;
  // Its program tells whoever looks that it was removed, and ends.
  host.mayRefuseToRun = true;
  try {
    await operations.changePeer(id, 'remove');
  } catch (error) {
    isOpen ||= isRefusal(error, 'unknown-outcome', 'timed-out', 'unavailable');
    throw error;
  } finally {
    replaceRemoved(cluster);
    const isThere = cluster.map?.peers.some((peer) => peer.id === id && peer.state !== 'removed') === true;
    host.mayRefuseToRun = isOpen || !isThere;
  }
}

/** The hosts of removed peers join again with nothing, as new ones. */
function replaceRemoved(cluster: SimCluster): void {
  const { monitor, map } = cluster;
  for (const { id, storeId, state } of map?.peers ?? []) {
    if (state !== 'removed' || monitor.isGone(storeId)) continue;
    const host = cluster.hostOf(id);
    host.crash();
    host.wipe();
    host.start();
    host.mayRefuseToRun = false;
  }
}

/** What the master says is compared with the map it has, as long as that is the same one. */
async function askWhatIf({ operations }: FileClient, cluster: SimCluster, stop: readonly PeerId[]): Promise<void> {
  const { map, world } = cluster;
  const told = await operations.whatIf(stop);
  if (map === undefined || cluster.map !== map) return;
  const stopped = new Set(stop);
  const runs = ({ id, state }: PeerRecord): boolean => state === 'up' && !stopped.has(id);
  const running = new Set(map.peers.filter(runs).map(({ id }) => id));
  const those = (isSo: (record: SlotRecord) => boolean): string =>
    map.slots.flatMap((record, slot) => (isSo(record) ? [slot] : [])).join();
  const isConcerned = ({ inSync }: SlotRecord): boolean => inSync.some((id) => stopped.has(id));
  const left = ({ inSync }: SlotRecord): number => inSync.filter((id) => running.has(id)).length;
  const expected = {
    unreadable: those((record) => isConcerned(record) && left(record) === 0),
    unwritable: those((record) => isConcerned(record) && left(record) < map.pool.minInSync),
    lost: those(({ inSync }) => inSync.length > 0 && inSync.every((id) => stopped.has(id))),
  };
  for (const kind of ['unreadable', 'unwritable', 'lost'] as const) {
    const slots = told[kind].slotNumbers.join();
    if (slots === expected[kind]) continue;
    world.complaints.push(`Without ${stop.join()} slots ${expected[kind]} were ${kind}; it is said that ${slots} were`);
  }
}

/** Everything as the setting has it: what follows must become whole. */
export async function undoWishes(client: FileClient, cluster: SimCluster, setting: Setting): Promise<void> {
  const { operations } = client;
  const { replicas, minInSync } = setting;
  const peers = cluster.map?.peers ?? [];
  replaceRemoved(cluster);
  const present = peers.filter(({ state }) => state !== 'removed');
  for (const { id, mode } of present) if (mode !== 'normal') await operations.changePeer(id, 'enable');
  // The heaviest first: the last one that holds anything may not be made weightless.
  for (const { id, weight, flagWeight } of present.sort((a, b) => b.flagWeight - a.flagWeight)) {
    if (weight !== flagWeight) await operations.changePeer(id, 'set', { weight: flagWeight });
  }
  await operations.changeCluster({ replicas, minInSync, movesPaused: false, repairBytesPerSecond: 0 });
}
