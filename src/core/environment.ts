/**
 * What the world gives to the programs: time, chance, network, storage and a log.
 *
 * Nothing outside src/io reaches for these in any other way, so that a simulator can hand in its own.
 */
import type { Network } from './network.js';
import type { Probe } from './probe.js';

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since some fixed moment, with fractions; never goes back, stands still in no pause. */
  monotonicMs(): number;
  /** Milliseconds since 1970 by this machine; may jump. */
  wallMs(): number;
  /** Calls `onDue` once, not before `delayMs` have passed. */
  after(delayMs: number, onDue: () => void): Timer;
}

export interface Random {
  bytes(count: number): Uint8Array;
  /** In [0, 1). */
  fraction(): number;
}

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** For libraries: says nothing. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export interface Environment {
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly log: Log;
  /** The share of recent time in which something on this host waited for a processor, 0 to 1; undefined: not known. */
  cpuPressure?(): number | undefined;
  /** Told of the protocol's named points; absent in the programs. */
  readonly probe?: Probe;
}

export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.after(delayMs, resolve));
}

/** Runs `task` again and again, `intervalMs` after it last ended, until stopped. Errors go to `onError`. */
export function every(
  clock: Clock,
  intervalMs: number,
  task: () => void | Promise<void>,
  onError: (error: unknown) => void,
): { stop(): void } {
  let stopped = false;
  let timer: Timer | undefined;
  const schedule = (): void => {
    if (!stopped) timer = clock.after(intervalMs, run);
  };
  const run = async (): Promise<void> => {
    try {
      await task();
    } catch (error) {
      onError(error);
    }
    schedule();
  };
  schedule();
  return {
    stop(): void {
      stopped = true;
      timer?.cancel();
    },
  };
}
