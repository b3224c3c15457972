import { expect, it } from 'vitest';
import { cpuPressureOf } from '../../../src/io/cpu-pressure.js';
import { ManualClock } from '../manual-clock.js';

function look(texts: readonly (string | Error)[]) {
  const clock = new ManualClock();
  const left = [...texts];
  const pressure = cpuPressureOf(clock, () => {
    const text = left.shift() ?? new Error('Nothing is left');
    if (text instanceof Error) throw text;
    return text;
  });
  return { clock, pressure };
}

function told(totalUs: number): string {
  return `some avg10=1.00 avg60=2.00 avg300=3.00 total=${totalUs}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n`;
}

it('tells the share of time in which something waited, anew every half second', async () => {
  const { clock, pressure } = look([told(1_000_000), told(1_150_000), told(1_150_000)]);
  expect(pressure()).toBe(0.01);
  await clock.advance(600);
  expect(pressure()).toBeCloseTo(0.25);
  await clock.advance(400);
  expect(pressure()).toBeCloseTo(0.25);
  await clock.advance(200);
  expect(pressure()).toBe(0);
});

it('asks the kernel for the last ten seconds after a long time without a look', async () => {
  const { clock, pressure } = look([told(0), told(5_000_000)]);
  pressure();
  await clock.advance(60_000);
  expect(pressure()).toBe(0.01);
});

it('knows nothing where the system does not tell, and forgets nothing else over that', async () => {
  const { clock, pressure } = look([told(9_000_000), new Error('EOPNOTSUPP'), 'nothing known', told(9_100_000)]);
  pressure();
  for (const expected of [undefined, undefined, 0.01]) {
    await clock.advance(1000);
    expect(pressure()).toBe(expected);
  }
});
