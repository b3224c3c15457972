/**
 * Runs many seeds: `node run-seeds.js FROM COUNT [--trace]`. Prints a line for each that fails, and how many did; with
 * --trace also what happened, line by line. Exits 1 when one failed.
 */
import { runSeed } from './seed-run.js';

const [from = '1', count = '100', flag] = process.argv.slice(2);
let failed = 0;
let operations = 0;
for (let seed = Number(from); seed < Number(from) + Number(count); seed++) {
  const result = await runSeed(seed, flag === '--trace' ? (line) => console.log(line) : undefined);
  operations += result.operations;
  if (result.complaints.length === 0) continue;
  failed++;
  console.log(`seed ${seed} ${result.setting}`);
  for (const complaint of result.complaints.slice(0, 5)) console.log(`  ${complaint.slice(0, 1500)}`);
}
console.log(`${failed} of ${count} seeds failed; ${operations} operations`);
process.exitCode = failed > 0 ? 1 : 0;
