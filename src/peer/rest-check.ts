/**
 * Compares the slots this peer leads with their replicas while nothing else does, one slot at a time: digests that
 * differ on a quiet slot should not be, and are settled in the primary's favour (F2, F22). Serves S7.
 */
import type { Log } from '../core/environment.js';
import { DfsError } from '../core/errors.js';
import type { SlotNumber } from '../core/ids.js';
import type { Comparison } from './comparison.js';
import type { Leadership } from './leadership.js';
import type { LedSlot } from './led-slot.js';

export interface RestCheckParts {
  readonly log: Log;
  readonly leadership: Leadership;
  readonly comparison: Comparison;
}

export class RestCheck {
  readonly #parts: RestCheckParts;
  #lastSlot: SlotNumber = -1;

  constructor(parts: RestCheckParts) {
    this.#parts = parts;
  }

  /** One slot; to be called every second: a peer that leads 512 of them has looked at all in ten minutes. */
  async look(): Promise<void> {
    const led = this.#next();
    if (led === undefined) return;
    this.#lastSlot = led.slot;
    if (led.phase !== 'serving' || led.record.joining.length > 0) return;
    for (const peer of led.required()) {
      if (!this.#parts.leadership.isReached(peer)) continue;
      try {
        const { keys } = await this.#parts.comparison.settleSlot(led, peer);
        if (keys > 0) this.#parts.log.debug({ slot: led.slot, peer, keys }, 'compared a slot at rest');
      } catch (error) {
        if (!(error instanceof DfsError)) throw error;
        this.#parts.log.debug({ slot: led.slot, peer, error: error.message }, 'a slot is compared later');
      }
    }
  }

  #next(): LedSlot | undefined {
    const all = [...this.#parts.leadership.all()].sort((a, b) => a.slot - b.slot);
    return all.find(({ slot }) => slot > this.#lastSlot) ?? all[0];
  }
}
