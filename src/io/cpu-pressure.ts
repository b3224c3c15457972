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

/** Each call answers for the time since the last look, half a second or more ago; undefined where nobody can tell. */
export function cpuPressureOf(clock: Clock, readText = () => readFileSync(file, 'latin1')): () => number | undefined {
  let last = { atMs: Number.NEGATIVE_INFINITY, waitedMs: 0 };
  let share: number | undefined;
  return () => {
    const atMs = clock.monotonicMs();
    if (atMs - last.atMs < leastMs) return share;
    const waitedMs = waitedMsIn(readText);
    share =
      waitedMs === undefined || atMs - last.atMs > mostMs ? undefined : (waitedMs - last.waitedMs) / (atMs - last.atMs);
    last = { atMs, waitedMs: waitedMs ?? 0 };
    return share;
  };
}

/** Since the host was started; undefined on another system, or where the kernel was told not to count. */
function waitedMsIn(readText: () => string): number | undefined {
  try {
    const [, totalUs] = /^some .*total=(\d+)$/m.exec(readText()) ?? [];
    return totalUs === undefined ? undefined : Number(totalUs) / 1000;
  } catch {
    return undefined;
  }
}
