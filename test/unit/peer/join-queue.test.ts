import { expect, it } from 'vitest';
import { defer } from '../../../src/core/deferred.js';
import type { Settled } from '../../../src/peer/comparison.js';
import { JoinQueue } from '../../../src/peer/join-queue.js';
import type { LedSlot } from '../../../src/peer/led-slot.js';

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function slotOf(slot: number, copies: number): LedSlot {
  return { slot, record: { inSync: Array.from({ length: copies }, (_, at) => `p${at}`) } } as unknown as LedSlot;
}

/** Slots are compared until `end` is called with them. */
function openQueue() {
  const state = { isLinkUp: true };
  const begun: number[] = [];
  const drained: (Settled & { slots: number })[] = [];
  const ends = new Map<LedSlot, (copied: Settled) => void>();
  const unwanted = new Set<LedSlot>();
  const queue = new JoinQueue({
    canRun: () => state.isLinkUp,
    run: (led) => {
      begun.push(led.slot);
      const ended = defer<Settled>();
      ends.set(led, ended.resolve);
      return ended.promise;
    },
    isWanted: (led) => !unwanted.has(led),
    onDrained: (copied) => void drained.push(copied),
  });
  /** Its copy is in the set: nobody asks for it any more. */
  const end = (led: LedSlot, copied: Settled = { keys: 0, bytes: 0 }): Promise<void> => {
    unwanted.add(led);
    ends.get(led)?.(copied);
    return tick();
  };
  return { queue, state, begun, drained, unwanted, ends, end };
}

it('compares 64 slots at once, first those of which there are the fewest copies', async () => {
  const { queue, state, begun, end } = openQueue();
  state.isLinkUp = false;
  const twice = Array.from({ length: 70 }, (_, slot) => slotOf(slot, 2));
  const once = Array.from({ length: 10 }, (_, at) => slotOf(100 + at, 1));
  for (const led of [...twice, ...once]) queue.add(led);
  expect(begun).toEqual([]);
  state.isLinkUp = true;
  queue.wake();
  expect(begun).toHaveLength(64);
  expect(begun.slice(0, 10)).toEqual(once.map(({ slot }) => slot));
  await end(once[0] as LedSlot);
  expect(begun).toHaveLength(65);
});

it('one that is in step and waits for the master gives its place to another, and is not compared again', async () => {
  const { queue, begun, end } = openQueue();
  const slots = Array.from({ length: 65 }, (_, slot) => slotOf(slot, 1));
  for (const led of slots) queue.add(led);
  expect(begun).toHaveLength(64);
  queue.onInStep(slots[0] as LedSlot);
  expect(begun).toHaveLength(65);
  queue.add(slots[0] as LedSlot);
  await end(slots[1] as LedSlot);
  expect(begun).toHaveLength(65);
});

it('is busy while slots are compared or wait to be, not while they only wait for the master or a link', async () => {
  const { queue, state, begun, end } = openQueue();
  const [first, second] = [slotOf(0, 1), slotOf(1, 1)];
  expect(queue.isBusy).toBe(false);
  queue.add(first);
  expect(queue.isBusy).toBe(true);
  queue.onInStep(first);
  expect(queue.isBusy).toBe(false);
  state.isLinkUp = false;
  queue.add(second);
  expect(queue.isBusy).toBe(false);
  state.isLinkUp = true;
  expect(queue.isBusy).toBe(true);
  await end(first);
  expect(queue.isBusy).toBe(true);
  expect(begun).toEqual([0, 1]);
});

it('compares a slot again that is still wanted when its comparison has ended', async () => {
  const { queue, begun, ends, end, drained } = openQueue();
  const led = slotOf(7, 1);
  queue.add(led);
  ends.get(led)?.({ keys: 1, bytes: 10 });
  await tick();
  expect(begun).toEqual([7, 7]);
  expect(drained).toEqual([]);
  await end(led, { keys: 2, bytes: 20 });
  expect(drained).toEqual([{ slots: 2, keys: 3, bytes: 30 }]);
});

it('leaves out what is no longer wanted, and tells once when nothing is left, of what was copied since', async () => {
  const { queue, state, begun, unwanted, drained, end } = openQueue();
  state.isLinkUp = false;
  const [gone, kept, later] = [slotOf(0, 1), slotOf(1, 1), slotOf(2, 1)];
  queue.add(gone);
  queue.add(kept);
  unwanted.add(gone);
  state.isLinkUp = true;
  queue.wake();
  expect(begun).toEqual([1]);
  await end(kept, { keys: 3, bytes: 300 });
  queue.add(later);
  await end(later, { keys: 1, bytes: 5 });
  expect(drained).toEqual([
    { slots: 1, keys: 3, bytes: 300 },
    { slots: 1, keys: 1, bytes: 5 },
  ]);
});
