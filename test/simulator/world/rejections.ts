/**
 * What becomes of promises that are rejected and that nobody handles: a real process ends of them.
 */
import type { World } from './virtual-clock.js';

/** From now on the simulated process that made such a promise fails of it; returns how to end that. */
export function watchRejections(world: World): () => void {
  const others = process.listeners('unhandledRejection');
  const onRejection = (error: unknown): void => {
    if (world.running !== undefined) world.running.onFailed(error);
    else world.complaints.push(`Nobody handled ${error instanceof Error ? error.stack : String(error)}`);
  };
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', onRejection);
  return () => {
    process.removeAllListeners('unhandledRejection');
    for (const other of others) process.on('unhandledRejection', other);
  };
}
