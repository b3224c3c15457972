import { expect, it } from 'vitest';
import { sleep } from '../../../src/core/environment.js';
import { GiveWay } from '../../../src/peer/give-way.js';
import { ManualClock } from '../manual-clock.js';

const pieceBytes = 200_000;
const pieceMs = 10;

/** How many of a hundred pieces, each of which takes a while, are done after so long. */
async function doneAfter(forMs: number, lastClientMs: (nowMs: number, startMs: number) => number): Promise<number> {
  const clock = new ManualClock();
  const startMs = clock.monotonicMs();
  const giveWay = new GiveWay(clock, () => lastClientMs(clock.monotonicMs(), startMs));
  let done = 0;
  for (let piece = 0; piece < 100; piece++) {
    void giveWay.run(pieceBytes, () => sleep(clock, pieceMs)).then(() => done++);
  }
  await clock.advance(forMs);
  return done;
}

it('while nobody asks for anything nothing waits', async () => {
  expect(await doneAfter(pieceMs, () => Number.NEGATIVE_INFINITY)).toBe(100);
});

it('beside clients few bytes are under way at a time, and half of the time none', async () => {
  // Two pieces at a time, then a rest as long as they took.
  const done = await doneAfter(20 * pieceMs, (nowMs) => nowMs);
  expect(done).toBeGreaterThanOrEqual(18);
  expect(done).toBeLessThanOrEqual(20);
});

it('what waits goes on at full speed when clients have gone', async () => {
  expect(await doneAfter(4 * pieceMs, (_, startMs) => startMs)).toBeLessThan(10);
  expect(await doneAfter(1000 + 4 * pieceMs, (_, startMs) => startMs)).toBe(100);
});

it('a piece larger than a batch goes alone, and one that failed holds up nobody', async () => {
  const clock = new ManualClock();
  const giveWay = new GiveWay(clock, () => clock.monotonicMs());
  const ended: string[] = [];
  const run = (name: string, bytes: number, task: () => Promise<void>) =>
    giveWay.run(bytes, task).then(
      () => ended.push(name),
      () => ended.push(`no ${name}`),
    );
  void run('large', 4_000_000, () => sleep(clock, pieceMs));
  void run('bad', 1, () => Promise.reject(new Error('Broken')));
  void run('small', 1, () => sleep(clock, pieceMs));
  await clock.advance(pieceMs);
  expect(ended).toEqual(['large']);
  await clock.advance(2 * pieceMs);
  expect(ended).toEqual(['large', 'no bad', 'small']);
});
