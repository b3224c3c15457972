/** Many pieces of work at once, but never more than the bounds say: memory stays small, and items start in order. */
import { limits } from '../core/limits.js';

export interface Bounds<T> {
  readonly atOnce: number;
  readonly weightMax: number;
  /** What one item takes of `weightMax`; one heavier than that runs alone. */
  weightOf(item: T): number;
}

/** Stops taking items and rejects when a task rejects, once the tasks under way have ended. */
export async function forEachBounded<T>(
  items: Iterable<T> | AsyncIterable<T>,
  bounds: Bounds<T>,
  task: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  let weight = 0;
  for await (const item of items) {
    const own = Math.min(bounds.weightOf(item), bounds.weightMax);
    while (running.size >= bounds.atOnce || (running.size > 0 && weight + own > bounds.weightMax)) {
      await Promise.race(running);
    }
    if (failures.length > 0) break;
    weight += own;
    const work: Promise<void> = task(item)
      .catch((failure: unknown) => void failures.push(failure))
      .finally(() => {
        weight -= own;
        running.delete(work);
      });
    running.add(work);
  }
  await Promise.all(running);
  if (failures.length > 0) throw failures[0];
}

/** Bounds for moving files: many small ones, few large ones. */
export function transferBounds<T>(sizeOf: (item: T) => number): Bounds<T> {
  return {
    atOnce: 16,
    weightMax: limits.clientWindowBytes,
    weightOf: (item) => Math.min(sizeOf(item), limits.clientWindowBytes),
  };
}
