/**
 * Lets copying give way to clients: while any are at work here, copies go to each replica in small batches, and after
 * each that flow rests for some times as long as the batch took, the longer the more flows there are, and the longer
 * where processors are what there is too little of.
 *
 * So what this peer gives takes a small share of anything, whatever a host can do: where disks, network or processors
 * have much to do a batch takes longer, and so does its rest. Little is under way at any time, because whatever a
 * client asks waits behind it. Compare LEDBAT (RFC 6817), which yields by time, too, and not by a speed that somebody
 * would have to set.
 */
import type { Clock, Environment, Timer } from '../core/environment.js';
import type { PeerId } from '../core/ids.js';

/** One larger than this goes alone. */
const batchBytes = 128 * 1024;
/** A rest, in times that a batch took: on a host with processors to spare, and on one that is crowded. */
const restShares = { least: 2, most: 20 };
/** The most where there is only one copy: it must not be the only one for long. */
const loneRestShare = 5;
/** So crowded that clients would wait for what copying takes (`cpuPressure`). */
const crowded = 0.1;
/** Longer rests would follow from a slow disk or an obstacle, which say nothing about what clients feel. */
const longestRestMs = 1000;
/** So long after its last request a client is taken to be at work. */
const atWorkForMs = 1000;

export class GiveWay {
  readonly #environment: Pick<Environment, 'clock' | 'cpuPressure'>;
  readonly #lastClientMs: () => number;
  readonly #flows = new Map<PeerId, Flow>();

  /** `lastClientMs`: when a client last asked something, by the monotonic clock. */
  constructor(environment: Pick<Environment, 'clock' | 'cpuPressure'>, lastClientMs: () => number) {
    this.#environment = environment;
    this.#lastClientMs = lastClientMs;
  }

  /**
   * Runs a task that moves about so many bytes to a replica when it is its turn, in the order of asking. A replica that
   * does not answer holds up no other. `isLone`: nobody else has a copy.
   */
  run<T>(replica: PeerId, bytes: number, task: () => Promise<T>, isLone = false): Promise<T> {
    let flow = this.#flows.get(replica);
    if (flow === undefined) {
      const { clock } = this.#environment;
      flow = new Flow(clock, {
        areClientsAtWork: () => clock.monotonicMs() - this.#lastClientMs() < atWorkForMs,
        restShare: (hasLone) => this.#restShare(hasLone),
      });
      this.#flows.set(replica, flow);
    }
    return flow.run({ bytes, isLone }, task);
  }

  /** Of a host of which nobody can tell how crowded it is, it is taken to be. */
  #restShare(hasLone: boolean): number {
    const crowding = Math.min(1, (this.#environment.cpuPressure?.() ?? 1) / crowded);
    const flows = [...this.#flows.values()].filter(({ isBusy }) => isBusy).length;
    const share = restShares.least + (restShares.most - restShares.least) * crowding;
    return flows * (hasLone ? Math.min(share, loneRestShare) : share);
  }
}

interface Piece {
  readonly bytes: number;
  readonly isLone: boolean;
}

interface Waiting extends Piece {
  begin(): void;
}

/** To one replica. */
class Flow {
  readonly #clock: Clock;
  readonly #world: { areClientsAtWork(): boolean; restShare(hasLone: boolean): number };
  readonly #waiting: Waiting[] = [];
  #running = 0;
  #admittedBytes = 0;
  #hasLone = false;
  #begunMs = 0;
  #rest: Timer | undefined;

  constructor(clock: Clock, world: { areClientsAtWork(): boolean; restShare(hasLone: boolean): number }) {
    this.#clock = clock;
    this.#world = world;
  }

  get isBusy(): boolean {
    return this.#running > 0 || this.#waiting.length > 0;
  }

  async run<T>(piece: Piece, task: () => Promise<T>): Promise<T> {
    await new Promise<void>((begin) => {
      this.#waiting.push({ ...piece, begin });
      this.#admit();
    });
    try {
      return await task();
    } finally {
      this.#running -= 1;
      if (this.#running === 0) this.#endBatch();
    }
  }

  #admit(): void {
    if (this.#rest !== undefined) return;
    for (let next = this.#waiting[0]; next !== undefined && this.#mayBegin(next); next = this.#waiting[0]) {
      this.#waiting.shift();
      if (this.#running === 0) {
        this.#begunMs = this.#clock.monotonicMs();
        this.#admittedBytes = 0;
        this.#hasLone = false;
      }
      this.#running += 1;
      this.#hasLone ||= next.isLone;
      this.#admittedBytes += next.bytes;
      next.begin();
    }
  }

  #mayBegin({ bytes }: Waiting): boolean {
    return !this.#world.areClientsAtWork() || this.#running === 0 || this.#admittedBytes + bytes <= batchBytes;
  }

  #endBatch(): void {
    const tookMs = this.#clock.monotonicMs() - this.#begunMs;
    if (!this.#world.areClientsAtWork() || this.#waiting.length === 0) {
      this.#admit();
      return;
    }
    this.#rest = this.#clock.after(Math.min(tookMs * this.#world.restShare(this.#hasLone), longestRestMs), () => {
      this.#rest = undefined;
      this.#admit();
    });
  }
}
