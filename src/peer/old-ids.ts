/**
 * Drops request ids that are so old that their requests are refused: by the primary's message, never by a replica's
 * clock (rule F1).
 */
import type { PeerId } from '../core/ids.js';
import { timing } from '../core/timing.js';
import type { ClusterClock } from './cluster-clock.js';
import type { EntryIndex } from './entry-index.js';
import { idTableOf } from './index-layout.js';
import type { LedSlot } from './led-slot.js';

export class OldIds {
  readonly #index: EntryIndex;
  readonly #clock: ClusterClock;

  constructor(parts: { index: EntryIndex; clock: ClusterClock }) {
    this.#index = parts.index;
    this.#clock = parts.clock;
  }

  /** The first table that is kept. */
  keptFrom(): number {
    return idTableOf(this.#clock.nowMs() - timing.idKeepMs);
  }

  /** At a replica that was away, and so has missed being told. */
  async dropAt(led: LedSlot, peer: PeerId): Promise<void> {
    if (!this.#clock.isTold) return;
    const below = this.keptFrom();
    await led.ask(peer, 'drop-ids', (fenced) => ({ ...fenced, below }));
  }

  /** At the replicas that are named, then here. */
  async drop(led: LedSlot, peers: readonly PeerId[]): Promise<void> {
    const below = this.keptFrom();
    await led.during(async () => {
      await Promise.all(peers.map((peer) => led.ask(peer, 'drop-ids', (fenced) => ({ ...fenced, below }))));
      await this.#index.dropIds(led.fence(), below);
      led.probe?.at({ point: 'idsDropped', slot: led.slot, term: led.term });
    });
  }
}
