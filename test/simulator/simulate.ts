/**
 * Runs many seeds: `node simulate.js --seeds N --from S --minutes M [--trace]`; the first that fails is printed.
 */
import { parseArgs } from 'node:util';
import { drawPlan } from './plan.js';
import { runPlan } from './run-plan.js';

const { values: options } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    minutes: { type: 'string', default: '1000' },
    trace: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
  },
});

const first = Number(options.seed ?? options.from);
const last = options.seed === undefined ? first + Number(options.seeds) - 1 : first;
const startMs = performance.now();
const endMs = startMs + Number(options.minutes) * 60_000;
const sums: Record<string, number> = {};
let failed = 0;
let ran = 0;
for (let seed = first; seed <= last && performance.now() < endMs; seed++) {
  const plan = drawPlan(seed);
  const { complaints, counts } = await runPlan(plan, options.trace ? { trace: (line) => console.log(line) } : {});
  ran++;
  for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
  if (complaints.length === 0) continue;
  failed++;
  console.log(`seed ${seed} ${JSON.stringify(plan.setting)}`);
  for (const complaint of complaints.slice(0, 5)) console.log(`  ${complaint.slice(0, 1500)}`);
  if (!options['keep-going']) break;
}
const seconds = (performance.now() - startMs) / 1000;
console.log(`${failed} of ${ran} seeds failed; ${(ran / seconds).toFixed(2)} seeds a second; ${JSON.stringify(sums)}`);
process.exitCode = failed > 0 ? 1 : 0;
