import { expect, it } from 'vitest';
import { Pace } from '../../../src/peer/pace.js';
import { ManualClock } from '../manual-clock.js';

async function sentWithin(clock: ManualClock, pace: Pace, on: { pieces: number; bytes: number; ms: number }) {
  let sent = 0;
  for (let piece = 0; piece < on.pieces; piece++) void pace.take(on.bytes).then(() => sent++);
  await clock.advance(on.ms);
  return sent;
}

it('lets through what the speed allows, small pieces and large', async () => {
  const clock = new ManualClock();
  const pace = new Pace(clock, () => 1000);
  const small = await sentWithin(clock, pace, { pieces: 1000, bytes: 10, ms: 2000 });
  expect(small).toBeGreaterThan(195);
  expect(small).toBeLessThanOrEqual(204);
  const other = new Pace(clock, () => 1000);
  expect(await sentWithin(clock, other, { pieces: 5, bytes: 1000, ms: 3000 })).toBe(4);
});

it('a change of speed is felt by who waits already', async () => {
  const clock = new ManualClock();
  let speed = 1;
  const pace = new Pace(clock, () => speed);
  expect(await sentWithin(clock, pace, { pieces: 3, bytes: 1_000_000, ms: 1000 })).toBe(1);
  speed = 0;
  let isSent = false;
  void pace.take(5).then(() => {
    isSent = true;
  });
  await clock.advance(300);
  expect(isSent).toBe(true);
});

it('what was let through at a low speed holds nobody up at a higher one', async () => {
  const clock = new ManualClock();
  let speed = 1;
  const pace = new Pace(clock, () => speed);
  expect(await sentWithin(clock, pace, { pieces: 1, bytes: 1_000_000, ms: 10 })).toBe(1);
  speed = 10_000_000;
  expect(await sentWithin(clock, pace, { pieces: 1, bytes: 5, ms: 500 })).toBe(1);
});

it('what nobody wants any more waits for nothing and costs nothing', async () => {
  const clock = new ManualClock();
  const pace = new Pace(clock, () => 1000);
  let isWanted = true;
  for (let piece = 0; piece < 100; piece++) void pace.take(10_000, () => isWanted);
  await clock.advance(100);
  isWanted = false;
  expect(await sentWithin(clock, pace, { pieces: 1, bytes: 5, ms: 11_000 })).toBe(1);
});
