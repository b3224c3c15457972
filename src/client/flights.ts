/**
 * The attempts under way, looked at together: which have been unanswered for too long, which have lost their slot's
 * term, whose caller has run out of patience. One timer for all of them keeps a small request cheap.
 */
import type { ClusterMap } from '../cluster/map.js';
import type { Clock, Timer } from '../core/environment.js';
import type { Epoch, SlotNumber } from '../core/ids.js';
import { timing } from '../core/timing.js';
import type { Ending, Patience } from './patience.js';

const lookIntervalMs = 25;

export interface Flight {
  readonly slot: SlotNumber;
  /** The term it was routed by; undefined when it may be answered whatever the term (stored segments). */
  readonly term: Epoch | undefined;
  readonly startedMs: number;
  readonly patience: Patience;
  /** Called at each look once it has been unanswered for `timing.clientHedgeMs`. */
  onSlow(nowMs: number): void;
  /** The slot has another term now, or the caller's patience has ended. */
  stop(reason: 'moved' | Ending): void;
}

export class Flights {
  readonly #clock: Clock;
  readonly #flights = new Set<Flight>();
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#flights.size;
  }

  add(flight: Flight): void {
    this.#flights.add(flight);
    this.#timer ??= this.#clock.after(lookIntervalMs, this.#look);
  }

  remove(flight: Flight): void {
    this.#flights.delete(flight);
  }

  /** A newer map: attempts routed by a term that is over are abandoned. */
  onMap(map: ClusterMap): void {
    for (const flight of this.#flights) {
      if (flight.term !== undefined && map.slots[flight.slot]?.term !== flight.term) flight.stop('moved');
    }
  }

  readonly #look = (): void => {
    const nowMs = this.#clock.monotonicMs();
    for (const flight of this.#flights) {
      const ending = flight.patience.ending(nowMs);
      if (ending !== undefined) flight.stop(ending);
      else if (nowMs - flight.startedMs >= timing.clientHedgeMs) flight.onSlow(nowMs);
    }
    this.#timer = this.#flights.size > 0 ? this.#clock.after(lookIntervalMs, this.#look) : undefined;
  };
}
