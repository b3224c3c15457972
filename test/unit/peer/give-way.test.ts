import { expect, it } from 'vitest';
import { sleep } from '../../../src/core/environment.js';
import { GiveWay } from '../../../src/peer/give-way.js';
import { ManualClock } from '../manual-clock.js';

const pieceBytes = 64 * 1024;
const pieceMs = 10;

/** How many of a hundred pieces, each of which takes a while, are done after so long. */
async function doneAfter(
  forMs: number,
  lastClientMs: (nowMs: number, startMs: number) => number,
  cpuPressure?: () => number | undefined,
): Promise<number> {
  const clock = new ManualClock();
  const startMs = clock.monotonicMs();
  const host = { clock, ...(cpuPressure && { cpuPressure }) };
  const giveWay = new GiveWay(host, () => lastClientMs(clock.monotonicMs(), startMs));
  let done = 0;
  for (let piece = 0; piece < 100; piece++) {
    void giveWay.run('p2', pieceBytes, () => sleep(clock, pieceMs)).then(() => done++);
  }
  await clock.advance(forMs);
  return done;
}

it('while nobody asks for anything nothing waits', async () => {
  expect(await doneAfter(pieceMs, () => Number.NEGATIVE_INFINITY)).toBe(100);
});

it('beside clients few bytes are under way at a time, and mostly none where processors are crowded', async () => {
  const whileClientsAsk = (nowMs: number): number => nowMs;
  // Two pieces at a time, then a rest: twice to twenty times as long as they took.
  expect(await doneAfter(60 * pieceMs, whileClientsAsk, () => 0)).toBe(40);
  expect(await doneAfter(60 * pieceMs, whileClientsAsk, () => 0.05)).toBe(10);
  for (const crowded of [() => 0.1, () => 1, () => undefined, undefined]) {
    expect(await doneAfter(63 * pieceMs, whileClientsAsk, crowded)).toBe(6);
  }
});

it('the more replicas there are to copy to, the longer each flow rests', async () => {
  const clock = new ManualClock();
  const giveWay = new GiveWay({ clock, cpuPressure: () => 0 }, () => clock.monotonicMs());
  const done = { p2: 0, p3: 0 };
  for (let piece = 0; piece < 100; piece++) {
    for (const replica of ['p2', 'p3'] as const) {
      void giveWay.run(replica, pieceBytes, () => sleep(clock, pieceMs)).then(() => done[replica]++);
    }
  }
  await clock.advance(50 * pieceMs);
  expect(done).toEqual({ p2: 20, p3: 20 });
});

it('what waits goes on at full speed when clients have gone', async () => {
  expect(await doneAfter(4 * pieceMs, (_, startMs) => startMs)).toBe(2);
  expect(await doneAfter(1000 + 6 * pieceMs, (_, startMs) => startMs)).toBe(100);
});

it('a piece larger than a batch goes alone, and one that failed holds up nobody', async () => {
  const clock = new ManualClock();
  const giveWay = new GiveWay({ clock, cpuPressure: () => 0 }, () => clock.monotonicMs());
  const ended: string[] = [];
  const run = (name: string, bytes: number, task: () => Promise<void>) =>
    giveWay.run('p2', bytes, task).then(
      () => ended.push(name),
      () => ended.push(`no ${name}`),
    );
  void run('large', 4_000_000, () => sleep(clock, pieceMs));
  void run('bad', 1, () => Promise.reject(new Error('Broken')));
  void run('small', 1, () => sleep(clock, pieceMs));
  await clock.advance(pieceMs);
  expect(ended).toEqual(['large']);
  await clock.advance(4 * pieceMs);
  expect(ended).toEqual(['large', 'no bad', 'small']);
});

it('however long a batch took, and however crowded the host is, a rest ends after a second', async () => {
  const clock = new ManualClock();
  const giveWay = new GiveWay({ clock }, () => clock.monotonicMs());
  let done = 0;
  for (let piece = 0; piece < 3; piece++) {
    void giveWay.run('p2', 4_000_000, () => sleep(clock, 500)).then(() => done++);
  }
  await clock.advance(3 * 500 + 2 * 1000 - 1);
  expect(done).toBe(2);
  await clock.advance(1);
  expect(done).toBe(3);
});

it('where there is only one copy the rest is five times a batch at the most', async () => {
  const clock = new ManualClock();
  const giveWay = new GiveWay({ clock }, () => clock.monotonicMs());
  let done = 0;
  for (let piece = 0; piece < 100; piece++) {
    void giveWay.run('p2', pieceBytes, () => sleep(clock, pieceMs), true).then(() => done++);
  }
  await clock.advance(60 * pieceMs);
  expect(done).toBe(20);
});
