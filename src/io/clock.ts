/**
 * The clock of this machine.
 */
import type { Clock, Timer } from '../core/environment.js';

const delayMsMax = 2 ** 31 - 1; // setTimeout fires at once for anything longer

/** Timers of the platform may fire a fraction early; leases are counted on, so this one looks again. */
function after(delayMs: number, onDue: () => void): Timer {
  const dueMs = performance.now() + delayMs;
  let handle: NodeJS.Timeout;
  const arm = (): void => {
    const restMs = dueMs - performance.now();
    handle = setTimeout(fire, Math.min(Math.max(Math.ceil(restMs), 0), delayMsMax));
  };
  const fire = (): void => {
    if (performance.now() < dueMs) arm();
    else onDue();
  };
  arm();
  return { cancel: () => clearTimeout(handle) };
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after,
};
