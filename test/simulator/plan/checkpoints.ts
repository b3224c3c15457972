/**
 * Checkpoints that an operator made while everything else went on: at the end each complete one is read whole, as reads
 * made while it was; then all are removed, and nothing may be left of them.
 */
import type { CheckpointReader } from '../../../src/client/checkpoint-reader.js';
import type { FileClient } from '../../../src/client/file-client.js';
import type { Checkpoint } from '../../../src/client/results.js';
import { DfsError, isRefusal } from '../../../src/core/errors.js';
import type { PeerId } from '../../../src/core/ids.js';
import type { Operation, Outcome } from '../../checker/history.js';
import type { SimCluster } from '../cluster.js';
import { seen } from './outcomes.js';
import { isMetadataName } from './plan.js';

export interface Taken {
  readonly checkpoint: Checkpoint;
  readonly calledMs: number;
  readonly returnedMs: number;
}

/** Whoever waits no longer knows nothing of it. */
const createWithinMs = 15_000;
const removedWithinMs = 60_000;

export async function take(client: FileClient, cluster: SimCluster): Promise<void> {
  const calledMs = cluster.world.nowMs;
  const checkpoint = await client.checkpoints.create({ deadlineMs: createWithinMs });
  cluster.trace?.(`    checkpoint ${checkpoint.id}: ${checkpoint.state} ${checkpoint.reasons.join('; ')}`);
  if (checkpoint.state === 'complete') cluster.taken.push({ checkpoint, calledMs, returnedMs: cluster.world.nowMs });
}

/** The oldest one. */
export async function takeBack(client: FileClient, cluster: SimCluster): Promise<void> {
  const oldest = cluster.taken.shift();
  if (oldest !== undefined) await client.checkpoints.remove(oldest.checkpoint.id);
}

/** What each complete checkpoint says of the names. */
export async function readTaken(
  client: FileClient,
  cluster: SimCluster,
  names: readonly string[],
): Promise<readonly Operation[]> {
  const operations: Operation[] = [];
  for (const { checkpoint, ...times } of cluster.taken) {
    const { id, peers } = checkpoint;
    // With a disk that was lost its part is gone; one that was removed for good answers nobody.
    const isRemoved = (peer: PeerId): boolean =>
      cluster.map?.peers.some(({ id, state }) => id === peer && state === 'removed') === true;
    const isWhole = peers.every((peer) => !isRemoved(peer) && cluster.hostOf(peer).disk.copies.names.includes(id));
    if (!isWhole) continue;
    const reader = await cluster.world.until(client.checkpoints.open(id), 60_000);
    if (reader.missingSlots.length > 0) cluster.monitor.complain(`Checkpoint ${id} lacks slots ${reader.missingSlots}`);
    for (const name of names) {
      const outcome = await cluster.world.until(read(reader, name), 60_000);
      // Nobody mends what rots in a checkpoint.
      const mayBeBad = cluster.hasRotted && outcome.state === 'refused';
      if (outcome.state === 'refused' && !mayBeBad) {
        cluster.monitor.complain(`${name} of checkpoint ${id} cannot be read: ${outcome.code}`);
      }
      operations.push({ worker: `checkpoint ${id}`, name, action: { kind: 'get' }, ...times, outcome });
    }
  }
  return operations;
}

async function read(reader: CheckpointReader, name: string): Promise<Outcome> {
  try {
    const { stat, body } = await reader.open({ bucket: 'files', name });
    const { version, metadata } = stat;
    if (isMetadataName(name)) return { state: 'done', value: metadata.value ?? '', version };
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece);
    return seen(name, Buffer.concat(pieces), version);
  } catch (error) {
    if (isRefusal(error, 'not-found')) return { state: 'absent' };
    if (!(error instanceof DfsError)) throw error;
    return { state: 'refused', code: error.code };
  }
}

/** Removes all there are; complains of what is left. */
export async function removeAll(client: FileClient, cluster: SimCluster): Promise<void> {
  const { world } = cluster;
  const peers = cluster.map?.peers.filter(({ state }) => state !== 'removed') ?? [];
  const hosts = peers.map(({ id }) => cluster.hostOf(id));
  const isLeft = (): boolean => hosts.some(({ disk }) => disk.copies.names.length > 0);
  const endMs = world.nowMs + removedWithinMs;
  for (;;) {
    const found = await world.until(client.checkpoints.list(), 60_000);
    if ((found.length === 0 && !isLeft()) || world.nowMs >= endMs) break;
    for (const { id, state } of found) {
      // One that is being made is removed when it is there.
      if (state !== 'removing') await world.until(client.checkpoints.remove(id).catch(refused), 60_000);
    }
    await world.runFor(1000);
  }
  for (const { name, disk } of hosts) {
    if (disk.copies.names.length > 0) world.complaints.push(`${name} keeps checkpoints ${disk.copies.names}`);
  }
}

function refused(error: unknown): void {
  if (!(error instanceof DfsError)) throw error;
}
