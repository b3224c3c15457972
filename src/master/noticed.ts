/**
 * What an operator should hear of once, and then not again until it is otherwise: the cluster's health, and slots that
 * wait because nobody who can be reached holds them.
 */
import { healthOf } from '../cluster/health.js';
import type { ClusterMap } from '../cluster/map.js';
import type { Placement } from '../cluster/placement.js';
import type { NewEvent } from './events.js';
import { waitingSlots } from './map-events.js';

export class Noticed {
  #waitingSlots = '';
  #health: string | undefined;

  /** The events to tell: one, when it has changed since the last time. So for all. */
  health(map: ClusterMap, wanted: Placement): readonly NewEvent[] {
    const { health, reasons } = healthOf(map, wanted);
    if (health === this.#health) return [];
    this.#health = health;
    const text = reasons[0] === undefined ? `The cluster is ${health}` : `The cluster is ${health}: ${reasons[0]}`;
    return [{ kind: 'health', text, data: { health, reasons } }];
  }

  waiting(map: ClusterMap): readonly NewEvent[] {
    const slots = waitingSlots(map);
    const key = slots.join();
    if (key === this.#waitingSlots) return [];
    this.#waitingSlots = key;
    if (slots.length === 0) return [];
    return [{ kind: 'waiting', slots, text: `Nobody who can be reached holds ${slots.length} slots; they wait` }];
  }
}
