/**
 * Time that only moves from event to event, and the processes that live in it.
 *
 * Events run in order of time, then of their making; between two of them everything that promises can settle has
 * settled. An event belongs to a process, or to the world: a dead process gets none, a paused one gets its own when it
 * goes on, those of sockets and disks before those of timers, as a stopped program does after SIGCONT.
 */
import type { Clock, Timer } from '../../../src/core/environment.js';
import { Seeded } from '../../contract/seeded.js';

export type EventKind = 'io' | 'timer';

class Event implements Timer {
  readonly atMs: number;
  readonly order: number;
  readonly process: SimProcess | undefined;
  readonly kind: EventKind;
  readonly run: () => void;
  cancelled = false;

  constructor(at: { atMs: number; order: number }, process: SimProcess | undefined, kind: EventKind, run: () => void) {
    this.atMs = at.atMs;
    this.order = at.order;
    this.process = process;
    this.kind = kind;
    this.run = run;
  }

  cancel(): void {
    this.cancelled = true;
  }
}

const wallStartMs = 1_750_000_000_000;
/** After so many events the platform gets a turn, for signals and output; nothing in the world depends on it. */
const eventsPerTurn = 20_000;
// Taken before a sandbox forbids it.
const { setImmediate } = globalThis;

/**
 * Runs every promise callback that is ready, and those they make ready, and reports rejections nobody handled: what the
 * platform does between two of its callbacks. Node offers no public call for it, and a whole turn of its loop instead
 * would cost more than the event itself. Does nothing from within a promise callback.
 */
const settle: () => void = (() => {
  const { _tickCallback } = process as unknown as { readonly _tickCallback?: () => void };
  if (_tickCallback === undefined) throw new Error('This version of Node cannot settle promises on demand');
  return _tickCallback;
})();

export class World {
  readonly #seed: number;
  /** For whoever drives the world; what lives in it has streams of its own. */
  readonly chance: Seeded;
  /** Bugs met on the way: what no process may do, whatever the faults. */
  readonly complaints: string[] = [];
  #nowMs = 0;
  #order = 0;
  readonly #heap: Event[] = [];
  #digest = 0x811c9dc5;
  #running: SimProcess | undefined;
  eventCount = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.chance = new Seeded(seed);
  }

  /** Chance that belongs to one thing: what others draw does not change it, so that a shortened run stays alike. */
  stream(name: string): Seeded {
    let hash = this.#seed ^ 0x9e3779b9;
    for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
    return new Seeded(hash);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Whose code runs, or ran last: promises that settle now are its own. */
  get running(): SimProcess | undefined {
    return this.#running;
  }

  /** Stands for all that happened so far: every event with its time, every message, every effect on a disk. */
  get digest(): string {
    return `${this.eventCount}-${(this.#digest >>> 0).toString(16)}`;
  }

  /** Adds to the digest what happens now. */
  note(first: number, second = 0, third = 0): void {
    let digest = Math.imul(this.#digest ^ first ^ (first / 2 ** 32), 0x01000193);
    digest = Math.imul(digest ^ second ^ (second / 2 ** 32), 0x01000193);
    this.#digest = Math.imul(digest ^ third ^ (third / 2 ** 32), 0x01000193);
  }

  /** Runs `run` after so long; `process` undefined: whatever happens to any process. */
  schedule(delayMs: number, run: () => void, owner: { process?: SimProcess; kind?: EventKind } = {}): Timer {
    const atMs = this.#nowMs + Math.max(0, delayMs);
    const event = new Event({ atMs, order: this.#order++ }, owner.process, owner.kind ?? 'io', run);
    this.#push(event);
    return event;
  }

  /** Goes on until `isDone`, or for so long; resolves to whether it was done. */
  runUntil(isDone: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.#nowMs + limitMs;
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        try {
          const outcome = this.#runEvents(isDone, endMs);
          if (outcome === undefined) {
            setImmediate(turn);
            return;
          }
          resolve(outcome);
        } catch (error) {
          reject(error);
        }
      };
      setImmediate(turn);
    });
  }

  /** Whether it was done; undefined when there is more to run. */
  #runEvents(isDone: () => boolean, endMs: number): boolean | undefined {
    settle();
    for (let count = 0; count < eventsPerTurn; count++) {
      if (isDone()) return true;
      const next = this.#heap[0];
      if (next === undefined || next.atMs > endMs) {
        this.#nowMs = endMs;
        return isDone();
      }
      this.#pop();
      if (next.cancelled) continue;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      if (this.#fire(next)) settle();
    }
    return undefined;
  }

  async runFor(forMs: number): Promise<void> {
    await this.runUntil(() => false, forMs);
  }

  /** The value of a promise that the world's events settle. */
  async until<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let outcome: PromiseSettledResult<T> | undefined;
    promise.then(
      (value) => {
        outcome = { status: 'fulfilled', value };
      },
      (reason: unknown) => {
        outcome = { status: 'rejected', reason };
      },
    );
    if (!(await this.runUntil(() => outcome !== undefined, limitMs))) {
      throw new Error(`Not settled within ${limitMs} ms of virtual time`);
    }
    const known = outcome as PromiseSettledResult<T> | undefined;
    if (known?.status === 'fulfilled') return known.value;
    throw known?.reason;
  }

  /**
   * Within an event of the world's: runs `run` as the process's own. What it throws is the process's failure. False
   * when the process is dead or paused, and nothing was run.
   */
  enter(process: SimProcess, run: () => void): boolean {
    if (process.isDead || process.isPaused) return false;
    this.#running = process;
    try {
      run();
    } catch (error) {
      process.onFailed(error);
    }
    return true;
  }

  #fire(event: Event): boolean {
    const { process } = event;
    this.eventCount++;
    this.#running = undefined;
    if (process === undefined) event.run();
    else if (!this.enter(process, event.run)) {
      process.hold(event);
      return false;
    }
    this.note(event.order, event.atMs * 1e6);
    return true;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** One run of a program: dies once, may be paused. */
export class SimProcess {
  readonly name: string;
  readonly world: World;
  readonly clock: Clock;
  readonly #onFailed: (error: unknown) => void;
  #isDead = false;
  #isPaused = false;
  #held: Event[] = [];
  readonly #onDeath: (() => void)[] = [];

  /** `rate`: how fast this machine's clocks run; `wallAheadMs`: how wrong its wall clock is now. */
  constructor(
    world: World,
    options: { name: string; rate?: number; wallAheadMs?: () => number; onFailed: (error: unknown) => void },
  ) {
    const chance = world.stream(`timers of ${options.name}`);
    const { rate = 1, wallAheadMs = () => 0 } = options;
    this.world = world;
    this.name = options.name;
    this.#onFailed = options.onFailed;
    this.clock = {
      monotonicMs: () => 5000 + world.nowMs * rate,
      wallMs: () => wallStartMs + wallAheadMs() + world.nowMs * rate,
      after: (delayMs, onDue) => {
        const lateMs = chance.isLikely(0.1) ? chance.between(0, 1) : 0;
        return world.schedule(delayMs / rate + lateMs, onDue, { process: this, kind: 'timer' });
      },
    };
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  onDeath(call: () => void): void {
    this.#onDeath.push(call);
  }

  /** Nothing of it ever runs again. */
  die(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#held = [];
    for (const call of this.#onDeath) call();
  }

  pause(): void {
    if (!this.#isDead) this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused || this.#isDead) return;
    this.#isPaused = false;
    const held = this.#held;
    this.#held = [];
    const ofKind = (kind: EventKind): Event[] => held.filter((event) => event.kind === kind && !event.cancelled);
    for (const event of [...ofKind('io'), ...ofKind('timer')]) {
      const run = (): void => {
        if (!event.cancelled) event.run();
      };
      this.world.schedule(0, run, { process: this, kind: event.kind });
    }
  }

  hold(event: Event): void {
    if (!this.#isDead) this.#held.push(event);
  }

  onFailed(error: unknown): void {
    this.#onFailed(error);
  }
}
