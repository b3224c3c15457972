/**
 * How long one call of a user may go on: until it is cancelled, its deadline has passed, or nothing has moved for its
 * time-out. Pure but for the clock handed in.
 */
import type { Clock } from '../core/environment.js';
import { sleep } from '../core/environment.js';
import { DfsError } from '../core/errors.js';

export interface PatienceOptions {
  /** Longest time without progress. */
  readonly timeoutMs: number;
  /** Longest time for everything. */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type Ending = 'cancelled' | 'deadline' | 'no-progress';

export class Patience {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #deadlineAtMs: number;
  readonly #signal: AbortSignal | undefined;
  #progressAtMs: number;
  #abandoned = false;

  constructor(clock: Clock, options: PatienceOptions) {
    this.#clock = clock;
    this.#timeoutMs = options.timeoutMs;
    this.#signal = options.signal;
    this.#progressAtMs = clock.monotonicMs();
    this.#deadlineAtMs = this.#progressAtMs + (options.deadlineMs ?? Number.POSITIVE_INFINITY);
  }

  /** Something moved: the time-out starts again. */
  progress(): void {
    this.#progressAtMs = this.#clock.monotonicMs();
  }

  /** The caller has lost interest in whatever is under way. */
  abandon(): void {
    this.#abandoned = true;
  }

  get isCancelled(): boolean {
    return this.#abandoned || this.#signal?.aborted === true;
  }

  ending(nowMs: number): Ending | undefined {
    if (this.isCancelled) return 'cancelled';
    if (nowMs >= this.#deadlineAtMs) return 'deadline';
    return nowMs >= this.#progressAtMs + this.#timeoutMs ? 'no-progress' : undefined;
  }

  /** How long a request sent now may take; travels with it. */
  remainingMs(nowMs: number): number {
    return Math.max(1, Math.min(this.#timeoutMs, this.#deadlineAtMs - nowMs));
  }

  /** Sleeps, but not past the end of the patience. */
  sleep(delayMs: number): Promise<void> {
    return sleep(this.#clock, Math.min(delayMs, this.remainingMs(this.#clock.monotonicMs())));
  }

  /** Throws `cancelled` when the caller gave up, `timed-out` when the time is over. */
  check(about: string): void {
    const ending = this.ending(this.#clock.monotonicMs());
    if (ending !== undefined) throw this.errorOf(ending, about);
  }

  /** Calls back once when the caller cancels or the deadline passes, unless told to stop watching before. */
  watch(onEnding: (ending: Ending) => void): { stop(): void } {
    const onAbort = (): void => onEnding('cancelled');
    const leftMs = this.#deadlineAtMs - this.#clock.monotonicMs();
    const timer = Number.isFinite(leftMs) ? this.#clock.after(leftMs, () => onEnding('deadline')) : undefined;
    this.#signal?.addEventListener('abort', onAbort, { once: true });
    if (this.#signal?.aborted) onAbort();
    return {
      stop: () => {
        timer?.cancel();
        this.#signal?.removeEventListener('abort', onAbort);
      },
    };
  }

  errorOf(ending: Ending, about: string): DfsError {
    if (ending === 'cancelled') {
      return new DfsError('cancelled', `${about} was cancelled`, { cause: this.#signal?.reason });
    }
    const why = ending === 'deadline' ? 'the deadline passed' : `nothing moved for ${this.#timeoutMs} ms`;
    return new DfsError('timed-out', `${about} did not finish: ${why}`, {
      advice: 'Try again; "dfs status" shows whether the cluster is available',
    });
  }
}
