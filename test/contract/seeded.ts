/**
 * Chance that one seed decides, so that a failing run can be repeated.
 */
import { seededFractions } from '../unit/cluster/fixtures.js';

export class Seeded {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seededFractions(seed);
  }

  /** A whole number from 0 to `count`−1. */
  below(count: number): number {
    return Math.floor(this.#next() * count);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('Nothing to pick from');
    return item;
  }

  /** Between `least` and `most`, with fractions. */
  between(least: number, most: number): number {
    return least + this.#next() * (most - least);
  }

  isLikely(probability: number): boolean {
    return this.#next() < probability;
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at++) bytes[at] = this.below(256);
    return bytes;
  }
}
