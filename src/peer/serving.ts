/**
 * Whether this peer may answer for a slot now: it leads the very term a request was routed by, is level, and, for
 * answers that must be current, holds a lease or has just confirmed.
 *
 * The check is made against this host's clock inside the request, never by a flag that a timer sets: after a pause
 * sockets may run before timers. Gray & Cheriton, "Leases" (1989). Serves S2, S3.
 */
import type { Environment } from '../core/environment.js';
import { sleep } from '../core/environment.js';
import { refuse } from '../core/errors.js';
import type { Epoch, SlotNumber } from '../core/ids.js';
import { timing } from '../core/timing.js';
import type { Leadership } from './leadership.js';
import type { LedSlot } from './led-slot.js';
import type { MapKeeper } from './map-keeper.js';

export type ReadMode = 'lease' | 'confirm';

export interface ServingParts {
  readonly environment: Environment;
  readonly maps: MapKeeper;
  readonly leadership: Leadership;
  readonly reads: ReadMode;
  fetchMap(): void;
}

const pollMs = 5;
const newerMapWaitMs = 100;

export class Serving {
  readonly #parts: ServingParts;

  constructor(parts: ServingParts) {
    this.#parts = parts;
  }

  /**
   * The slot, once it serves in this term. A request that came early (the map or the levelling is still under way) is
   * held, not refused, so that a failover costs its client one wait. Refuses `stale-term`, `timed-out`.
   */
  async route(routed: { slot: SlotNumber; term: Epoch }, deadlineMs: number): Promise<LedSlot> {
    const { maps, leadership, environment } = this.#parts;
    for (;;) {
      const led = leadership.led(routed.slot);
      if (led?.term === routed.term) {
        await this.untilServing(led, deadlineMs);
        return led;
      }
      const record = maps.map?.slots[routed.slot];
      if (record === undefined && maps.map !== undefined) {
        refuse('invalid', `There is no slot ${routed.slot}: this cluster has ${maps.map.slots.length}`);
      }
      const isAhead = record === undefined || record.term < routed.term;
      const isStarting = record?.term === routed.term && leadership.willLead(routed.slot);
      if (!isAhead && !isStarting) {
        refuse('stale-term', `Slot ${routed.slot} is not served here in term ${routed.term}`, {
          advice: 'Fetch a newer cluster map',
        });
      }
      this.checkDeadline(deadlineMs, routed.slot);
      if (!isAhead) await sleep(environment.clock, pollMs);
      else {
        this.#parts.fetchMap();
        await maps.newerThan(maps.epoch, newerMapWaitMs);
      }
    }
  }

  async untilServing(led: LedSlot, deadlineMs: number): Promise<void> {
    if (led.phase === 'serving') return;
    let settled = false;
    const serving = led.whenServing().finally(() => {
      settled = true;
    });
    serving.catch((error: unknown) => error); // the deadline may come first, and then nobody awaits it any more
    while (!settled) {
      this.checkDeadline(deadlineMs, led.slot);
      await Promise.race([serving, sleep(this.#parts.environment.clock, timing.beaconIntervalMs)]);
    }
    await serving;
  }

  /** Resolves when answers from the index are current: S2 rests on this line in every read. */
  async ensureCurrent(led: LedSlot, deadlineMs: number): Promise<void> {
    const { clock } = this.#parts.environment;
    const sinceMs = clock.monotonicMs();
    for (;;) {
      if (led.phase !== 'serving') await this.untilServing(led, deadlineMs);
      if (led.isAlone()) return;
      const isCurrent =
        this.#parts.reads === 'lease'
          ? clock.monotonicMs() < led.leaseUntilMs()
          : this.#parts.leadership.confirmedSince(led, sinceMs);
      if (isCurrent) return;
      this.checkDeadline(deadlineMs, led.slot);
      await this.#parts.leadership.confirm(led);
    }
  }

  checkDeadline(deadlineMs: number, slot: SlotNumber): void {
    if (this.#parts.environment.clock.monotonicMs() < deadlineMs) return;
    refuse('timed-out', `Slot ${slot} could not be served before the deadline`);
  }
}
