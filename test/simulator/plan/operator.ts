/**
 * An operator at work while everything else goes on: drains peers, puts them under maintenance, weighs them anew,
 * changes the number of copies, pauses moves, slows copying down.
 */
import type { FileClient } from '../../../src/client/file-client.js';
import { DfsError } from '../../../src/core/errors.js';
import type { Seeded } from '../../contract/seeded.js';
import type { SimCluster } from '../cluster.js';
import type { Setting } from './plan.js';

export type OperatorWish =
  | { readonly of: 'peer'; readonly op: 'drain' | 'enable' | 'maintenance' | 'repair'; readonly peerAt: number }
  | { readonly of: 'weight'; readonly peerAt: number; readonly weight: number }
  | { readonly of: 'copies'; readonly replicas: number; readonly minInSync: number }
  | { readonly of: 'moves'; readonly isPaused: boolean }
  | { readonly of: 'speed'; readonly bytesPerSecond: number };

export function drawWish(chance: Seeded): OperatorWish {
  const peerAt = chance.below(8);
  switch (chance.pick(['peer', 'peer', 'weight', 'copies', 'moves', 'speed'] as const)) {
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
    case 'speed':
      return { of: 'speed', bytesPerSecond: chance.pick([0, 20_000, 2_000_000]) };
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
    }
  };
  await perform().catch((error: unknown) => {
    if (!(error instanceof DfsError)) throw error;
  });
}

/** Everything as the setting has it: what follows must become whole. */
export async function undoWishes(client: FileClient, cluster: SimCluster, setting: Setting): Promise<void> {
  const { operations } = client;
  const { replicas, minInSync } = setting;
  const peers = cluster.map?.peers ?? [];
  for (const { id, mode } of peers) if (mode !== 'normal') await operations.changePeer(id, 'enable');
  // The heaviest first: the last one that holds anything may not be made weightless.
  for (const { id, weight, flagWeight } of [...peers].sort((a, b) => b.flagWeight - a.flagWeight)) {
    if (weight !== flagWeight) await operations.changePeer(id, 'set', { weight: flagWeight });
  }
  await operations.changeCluster({ replicas, minInSync, movesPaused: false, repairBytesPerSecond: 0 });
}
