/**
 * The slots that one replica is to be brought in step with: which are compared now, and which come next.
 *
 * Some at a time, while the replica's link is up; those of which there are the fewest copies first. A slot that is in
 * step and waits for the master gives its place to the next. Serves S7.
 */
import type { Settled } from './comparison.js';
import type { LedSlot } from './led-slot.js';

/** Slots compared at once with one replica; bounds their pages. */
const parallelJoins = 64;

interface JoinQueueParts {
  canRun(): boolean;
  run(led: LedSlot): Promise<Settled>;
  isWanted(led: LedSlot): boolean;
  /** Nothing is left to do: what was copied since the last time. */
  onDrained(copied: Settled & { slots: number }): void;
}

export class JoinQueue {
  readonly #parts: JoinQueueParts;
  readonly #waiting = new Set<LedSlot>();
  readonly #comparing = new Set<LedSlot>();
  /** Compared; the master has yet to add them. */
  readonly #inStep = new Set<LedSlot>();
  #copied = { slots: 0, keys: 0, bytes: 0 };

  constructor(parts: JoinQueueParts) {
    this.#parts = parts;
  }

  /** Some are not in step yet that can be now. */
  get isBusy(): boolean {
    return this.#comparing.size > 0 || (this.#waiting.size > 0 && this.#parts.canRun());
  }

  add(led: LedSlot): void {
    if (!this.#comparing.has(led) && !this.#inStep.has(led)) this.#waiting.add(led);
    this.wake();
  }

  onInStep(led: LedSlot): void {
    if (this.#comparing.delete(led)) this.#inStep.add(led);
    this.wake();
  }

  wake(): void {
    while (this.#comparing.size < parallelJoins && this.#waiting.size > 0 && this.#parts.canRun()) {
      const led = leastCopied(this.#waiting);
      this.#waiting.delete(led);
      if (!this.#parts.isWanted(led)) continue;
      this.#comparing.add(led);
      void this.#parts.run(led).then((copied) => this.#onDone(led, copied));
    }
  }

  #onDone(led: LedSlot, { keys, bytes }: Settled): void {
    this.#comparing.delete(led);
    this.#inStep.delete(led);
    this.#copied = {
      slots: this.#copied.slots + 1,
      keys: this.#copied.keys + keys,
      bytes: this.#copied.bytes + bytes,
    };
    if (this.#parts.isWanted(led)) this.#waiting.add(led);
    this.wake();
    if (this.#comparing.size + this.#inStep.size + this.#waiting.size > 0) return;
    this.#parts.onDrained(this.#copied);
    this.#copied = { slots: 0, keys: 0, bytes: 0 };
  }
}

/** The first of those with the fewest copies in sync. */
function leastCopied(slots: Iterable<LedSlot>): LedSlot {
  const copies = ({ record }: LedSlot): number => record.inSync.length;
  return [...slots].reduce((least, led) => (copies(led) < copies(least) ? led : least));
}
