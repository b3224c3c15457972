/**
 * The settings of a cluster that can be changed while it runs, and what must hold between them. Pure.
 */
import { refuse } from '../core/errors.js';
import { limits } from '../core/limits.js';
import type { ClusterMap } from './map.js';

export interface ChangeableSettings {
  readonly replicas: number;
  readonly minInSync: number;
  readonly repairGraceMs: number;
  readonly quarantineMs: number;
  readonly repairBytesPerSecond: number;
  readonly movesPaused: boolean;
}

/** Refuses settings that cannot hold (`invalid`, rule F25). Returns the same map when nothing changes. */
export function withSettings(map: ClusterMap, settings: Partial<ChangeableSettings>): ClusterMap {
  const before = settingsOf(map);
  const after = { ...before, ...settings };
  checkCopies(after);
  const isSame = (Object.keys(before) as (keyof ChangeableSettings)[]).every((name) => before[name] === after[name]);
  if (isSame) return map;
  const { replicas, minInSync, ...rest } = after;
  return { ...map, ...rest, epoch: map.epoch + 1, pool: { ...map.pool, replicas, minInSync } };
}

export function settingsOf(map: ClusterMap): ChangeableSettings {
  const { repairGraceMs, quarantineMs, repairBytesPerSecond, movesPaused, pool } = map;
  const { replicas, minInSync } = pool;
  return { replicas, minInSync, repairGraceMs, quarantineMs, repairBytesPerSecond, movesPaused };
}

/** Refuses numbers of copies that cannot hold (`invalid`). */
export function checkCopies(pool: { replicas: number; minInSync: number }): void {
  const { replicas, minInSync } = pool;
  if (!Number.isInteger(replicas) || replicas < 1 || replicas > limits.replicasMax) {
    refuse('invalid', `The number of replicas must be 1 to ${limits.replicasMax}, not ${replicas}`);
  }
  if (!Number.isInteger(minInSync) || minInSync < 1 || minInSync > replicas) {
    refuse('invalid', `min-in-sync must be 1 to the number of replicas (${replicas}), not ${minInSync}`);
  }
}
