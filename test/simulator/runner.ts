/**
 * Runs seeds one after another, or one with its story, or the mutation gate, and says what came of it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { floorComplaints } from './floors.js';
import { runMutationGate } from './mutation-gate.js';
import { drawPlan, type Plan } from './plan/plan.js';
import { type Counts, type PlanResult, type RunOptions, runPlan } from './run-plan.js';
import { isSameKind, shorten } from './shorten.js';
import { story } from './story.js';
import { forbidRealWorld } from './world/sandbox.js';

export interface RunnerOptions {
  readonly seeds?: string | undefined;
  readonly from?: string | undefined;
  readonly minutes?: string | undefined;
  readonly 'keep-going': boolean;
  readonly seed?: string | undefined;
  readonly trace: boolean;
  readonly whole: boolean;
  readonly starts: string;
  readonly jobs: string;
  readonly shorten?: string | undefined;
  readonly plan?: string | undefined;
}

const twiceEvery = 50;
const shortenRunsMax = 400;
const seedsMax = 2 ** 31;

/** Every function here resolves to the exit code. */
export function huntMutations(options: RunnerOptions, names: readonly string[]): Promise<number> {
  return runMutationGate({
    names,
    starts: Number(options.starts),
    minutes: Number(options.minutes ?? 5),
    jobs: Number(options.jobs),
    ...(options.from === undefined ? {} : { fromSeed: Number(options.from) }),
    ...(options.shorten === undefined ? {} : { shortenRuns: Number(options.shorten) }),
  });
}

export async function tellOne(options: RunnerOptions): Promise<number> {
  const plan =
    options.plan === undefined
      ? drawPlan(Number(options.seed))
      : (JSON.parse(readFileSync(options.plan, 'utf8')) as Plan);
  if (options.trace) {
    const { complaints } = await runAlone(plan, { trace: (line) => console.log(line) });
    for (const complaint of complaints) console.log(complaint);
    return complaints.length > 0 ? 1 : 0;
  }
  const result = await runAlone(plan);
  if (result.complaints.length === 0) {
    console.log(`Seed ${plan.seed} has nothing to complain of: ${countsText(1, result.counts)}`);
    return 0;
  }
  await tell(plan, result, !options.whole);
  return 1;
}

export async function runMany(options: RunnerOptions): Promise<number> {
  const from = options.from === undefined ? Math.floor(Math.random() * seedsMax) : Number(options.from);
  const seedCount = Number(options.seeds ?? (options.minutes === undefined ? 100 : Number.MAX_SAFE_INTEGER));
  const startMs = performance.now();
  const startCpu = process.cpuUsage();
  const endMs = startMs + Number(options.minutes ?? Number.POSITIVE_INFINITY) * 60_000;
  const sums: Record<string, number> = {};
  let failed = 0;
  let ran = 0;
  console.log(`Seeds from ${from} on`);
  // Refusals are made by the thousand; where one came from is asked only of a seed that fails.
  const stackLines = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  for (let seed = from; ran < seedCount && performance.now() < endMs; seed++, ran++) {
    const plan = drawPlan(seed);
    const result = await runAlone(plan);
    for (const [name, count] of Object.entries(result.counts)) sums[name] = (sums[name] ?? 0) + count;
    const complaints = [...result.complaints, ...(ran % twiceEvery === 0 ? await differences(plan, result) : [])];
    if (complaints.length === 0) continue;
    failed++;
    Error.stackTraceLimit = stackLines;
    console.log(`Seed ${seed} fails`);
    for (const complaint of complaints.slice(0, 5)) console.log(`  ${complaint.slice(0, 1000)}`);
    if (options['keep-going']) continue;
    await tell(plan, result, true);
    break;
  }
  Error.stackTraceLimit = stackLines;
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(startCpu);
  const ofCpu = (user + system) / 1e6;
  const rates = `${(ran / seconds).toFixed(2)} seeds a second, ${(ran / ofCpu).toFixed(2)} a second of CPU`;
  const total = sums as unknown as Counts;
  console.log(`${ran} seeds, ${failed} failed; ${rates}; ${countsText(ran, total)}`);
  const missed = failed > 0 ? [] : floorComplaints(ran, total);
  for (const complaint of missed) console.log(complaint);
  return failed > 0 || missed.length > 0 ? 1 : 0;
}

/** A seed decides everything: run again, the very same must happen. */
async function differences(plan: Plan, first: PlanResult): Promise<string[]> {
  const again = await runAlone(plan);
  return again.digest === first.digest ? [] : [`Not the same again: ${first.digest} and then ${again.digest}`];
}

/** Nothing else happens in this process meanwhile: whatever reaches for the real world does it from inside the run. */
async function runAlone(plan: Plan, options: RunOptions = {}): Promise<PlanResult> {
  const reached: string[] = [];
  const allow = forbidRealWorld((sentence) => void reached.push(sentence));
  try {
    const result = await runPlan(plan, options);
    return { ...result, complaints: [...reached, ...result.complaints] };
  } finally {
    allow();
  }
}

async function tell(plan: Plan, result: PlanResult, isShortened: boolean): Promise<void> {
  const fails = async (candidate: Plan): Promise<boolean> =>
    isSameKind(result.complaints, (await runAlone(candidate)).complaints);
  const told = isShortened ? await shorten(plan, fails, { runsMax: shortenRunsMax }) : plan;
  const lines: string[] = [];
  const { complaints } = await runAlone(told, { trace: (line) => lines.push(line) });
  console.log(story(told, lines, complaints));
  if (!isShortened) return;
  const file = join(tmpdir(), `plan-${plan.seed}.json`);
  writeFileSync(file, JSON.stringify(told));
  console.log(`The shortened plan is in ${file}: npm run simulate -- --plan ${file} --whole`);
}

function countsText(seeds: number, counts: Counts): string {
  const { virtualMs, ...others } = counts;
  const rest = Object.entries(others).map(([name, count]) => `${count} ${name}`);
  return [`${(virtualMs / 1000 / seeds).toFixed(1)} virtual seconds a seed`, ...rest].join(', ');
}
