import { expect, it } from 'vitest';
import { timing } from '../../../src/core/timing.js';
import { encodeBeaconList, Grants, hashOfBeaconList } from '../../../src/peer/grants.js';
import { ManualClock } from '../manual-clock.js';

const row = (slot: number, slotEpoch: number, term = slotEpoch) => ({ slot, slotEpoch, term });

async function grantsAfter(ms: number) {
  const clock = new ManualClock();
  const grants = new Grants(clock);
  await clock.advance(ms);
  return { clock, grants };
}

it('F12: nothing is granted for the slots where a higher slotEpoch is known, the others are not touched', async () => {
  const { grants } = await grantsAfter(1000);
  grants.refuseBelow(1, 7);
  expect(grants.grant([row(0, 5), row(1, 6), row(2, 5)])).toEqual([1]);
  expect(grants.grant([row(1, 7)])).toEqual([]);
});

it('F12: a beacon of another list than the last one is not known', async () => {
  const { grants } = await grantsAfter(1000);
  const slots = [row(0, 5)];
  const memory = { hash: hashOfBeaconList(encodeBeaconList(slots)), slots };
  expect(grants.onBeacon(memory, memory.hash)).toEqual([]);
  expect(grants.onBeacon(memory, hashOfBeaconList(encodeBeaconList([row(0, 6)])))).toBeUndefined();
});

it('F12: a new primary waits from the last grant to anyone', async () => {
  const { clock, grants } = await grantsAfter(1000);
  grants.grant([row(0, 5)]);
  await clock.advance(100);
  grants.grant([row(0, 6)]);
  await clock.advance(20);
  expect(grants.waitMsFor(0, undefined)).toBe(timing.leaseWaitMs - 20);
  await clock.advance(timing.leaseWaitMs);
  expect(grants.waitMsFor(0, undefined)).toBe(0);
});

it('F12: what was granted before a restart is not known, so the start counts as a grant', async () => {
  const { grants } = await grantsAfter(50);
  expect(grants.waitMsFor(0, undefined)).toBe(timing.leaseWaitMs - 50);
});

it('F20: only a handover of the very term last granted to needs no wait', async () => {
  const { grants } = await grantsAfter(1000);
  grants.grant([row(0, 6, 5)]);
  expect(grants.waitMsFor(0, 5)).toBe(0);
  expect(grants.waitMsFor(0, 4)).toBe(timing.leaseWaitMs);
});
