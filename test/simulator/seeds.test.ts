/**
 * A few fixed seeds in every test run; npm run simulate draws others.
 */
import { expect, it } from 'vitest';
import { drawPlan } from './plan/plan.js';
import { runPlan } from './run-plan.js';

const firstSeed = 1;
const seedsMax = 40;
const longestMs = 10_000;

it('under random faults nothing acknowledged is lost, and every slot becomes whole with equal replicas', {
  timeout: 180_000,
}, async () => {
  const endMs = performance.now() + longestMs;
  for (let seed = firstSeed; seed < firstSeed + seedsMax && performance.now() < endMs; seed++) {
    const { complaints } = await runPlan(drawPlan(seed));
    expect(complaints, `seed ${seed}`).toEqual([]);
  }
});

it('does the same again with the same seed', { timeout: 180_000 }, async () => {
  const traceOf = async (seed: number): Promise<string> => {
    const lines: string[] = [];
    await runPlan(drawPlan(seed), { trace: (line) => lines.push(line) });
    return lines.join('\n');
  };
  const first = await traceOf(3);
  expect(first.length).toBeGreaterThan(1000);
  expect(await traceOf(3)).toBe(first);
});
