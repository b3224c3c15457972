/**
 * The simulator's own program: runs many seeds until one fails, or one seed with its story, or the mutation gate.
 *
 *   npm run simulate -- [--seeds N] [--from S] [--minutes M] [--keep-going]
 *   npm run simulate -- --seed X | --plan FILE [--trace] [--whole]
 *   npm run simulate -- --coverage [--seeds N]
 *   npm run simulate -- --mutations [NAME…] [--starts N] [--minutes M] [--jobs N] [--from S] [--shorten RUNS]
 *
 * Exits 1 when a seed fails, a floor is missed or a mutation escapes.
 */
import { parseArgs } from 'node:util';
import { Coverage, describeCoverage } from './coverage.js';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string' },
    /** The first seed; a random one when absent. */
    from: { type: 'string' },
    minutes: { type: 'string' },
    /** Goes on after a seed that fails; none is shortened. */
    'keep-going': { type: 'boolean', default: false },
    /** Runs this one and tells its story. */
    seed: { type: 'string' },
    /** Prints everything that happens. */
    trace: { type: 'boolean', default: false },
    /** Tells the seed as it is, not shortened. */
    whole: { type: 'boolean', default: false },
    coverage: { type: 'boolean', default: false },
    mutations: { type: 'boolean', default: false },
    /** How many fresh starts must each find a mutation. */
    starts: { type: 'string', default: '3' },
    jobs: { type: 'string', default: '1' },
    /** Shortens what finds a mutation, in so many runs at most, and tells it. */
    shorten: { type: 'string' },
    /** Runs the plan in this file and tells its story; what tells a failing seed ends with the name of such a file. */
    plan: { type: 'string' },
  },
});

// Counted from before the product's modules are loaded.
const coverage = new Coverage();
if (options.coverage) await coverage.start();
const runner = await import('./runner.js');
if (options.mutations) process.exitCode = await runner.huntMutations(options, positionals);
else if (options.seed !== undefined || options.plan !== undefined) process.exitCode = await runner.tellOne(options);
else process.exitCode = await runner.runMany(options);
if (options.coverage) console.log(describeCoverage(await coverage.take()));
