/**
 * How crowded this host's processors are, as Linux tells it: the share of recent time in which something that could
 * have run waited for one (PSI, Documentation/accounting/psi.rst of the kernel).
 */
import { readFileSync } from 'node:fs';
import type { Clock } from '../core/environment.js';

const file = '/proc/pressure/cpu';
const leastMs = 500;
/** Two looks further apart say nothing about now. */
const mostMs = 5000;

/**
 * Each call answers for the time since the last look, half a second or more ago, or for ten seconds when that was long
 * ago; undefined where nobody can tell. It is the host's, also for a process that may use a part of it only.
 */
export function cpuPressureOf(clock: Clock, readText = () => readFileSync(file, 'latin1')): () => number | undefined {
  let last: (Told & { readonly atMs: number }) | undefined;
  let share: number | undefined;
  return () => {
    const atMs = clock.monotonicMs();
    const sinceMs = atMs - (last?.atMs ?? Number.NEGATIVE_INFINITY);
    if (sinceMs < leastMs) return share;
    const told = toldBy(readText);
    share = told?.ofTenSeconds;
    if (told !== undefined && last !== undefined && sinceMs <= mostMs)
      share = (told.waitedMs - last.waitedMs) / sinceMs;
    last = told && { ...told, atMs };
    return share;
  };
}

interface Told {
  /** Since the host was started. */
  readonly waitedMs: number;
  readonly ofTenSeconds: number;
}

/** Undefined on another system, or where the kernel was told not to count. */
function toldBy(readText: () => string): Told | undefined {
  try {
    const [, percent, totalUs] = /^some avg10=([\d.]+) .*total=(\d+)$/m.exec(readText()) ?? [];
    return totalUs === undefined
      ? undefined
      : { waitedMs: Number(totalUs) / 1000, ofTenSeconds: Number(percent) / 100 };
  } catch {
    return undefined;
  }
}
