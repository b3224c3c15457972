/**
 * What becomes of promises that are rejected and that nobody handles: a real process ends of them.
 */
import { StorageFailure } from '../../src/core/errors.js';
import type { World } from './virtual-clock.js';

/** From now on such a rejection is a complaint, unless the disk had failed; returns how to end that. */
export function watchRejections(world: World): () => void {
  const others = process.listeners('unhandledRejection');
  const onRejection = (error: unknown): void => {
    if (!(error instanceof StorageFailure)) world.complaints.push(`Nobody handled ${(error as Error).stack ?? error}`);
  };
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', onRejection);
  return () => {
    process.removeAllListeners('unhandledRejection');
    for (const other of others) process.on('unhandledRejection', other);
  };
}
