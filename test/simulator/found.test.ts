/**
 * Plans that once failed, shortened, each under what went wrong: "<what went wrong>.json" in found/.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { Plan } from './plan/plan.js';
import { runPlan } from './run-plan.js';

const folder = new URL('found/', import.meta.url);
const files = readdirSync(folder).filter((file) => file.endsWith('.json'));

it.each(files.map((file) => [file.replace(/\.json$/, '').replaceAll('-', ' '), file]))('%s', async (_name, file) => {
  const plan = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Plan;
  expect((await runPlan(plan)).complaints).toEqual([]);
});
