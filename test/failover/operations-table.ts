/**
 * What each change of a cluster cost, as a markdown table: requests that failed, what was moved beside what had to be,
 * how long it took, how slow clients were before, after and meanwhile. Exits 1, with sentences on stderr, where that is
 * more than may be.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { isAnswered, type Operation, readHistory } from '../checker/history.js';

const { values: options } = parseArgs({
  options: {
    history: { type: 'string', default: '' },
    /** A Step in JSON on each line. */
    steps: { type: 'string', default: '' },
    /** When nothing was done after the last step: FROM,UNTIL in milliseconds. */
    'quiet-after': { type: 'string', default: '' },
    /** Operations a second that clients must have had answered in every step. */
    'rate-min': { type: 'string', default: '200' },
  },
});

/** Times in milliseconds by the clock of the history. */
interface Step {
  readonly step: string;
  /** Nothing was done from here to there. */
  readonly quietFromMs: number;
  readonly quietUntilMs: number;
  readonly fromMs: number;
  readonly untilMs: number;
  /** What the dry run said. */
  readonly told: Moved & { readonly leastCopies: number };
  readonly moved: Moved;
}

interface Moved {
  readonly copies: number;
  readonly bytes: number;
}

const slowdownMax = 2;
const toldShare = 0.1;
/** What clients write meanwhile is moved with the rest. */
const bytesBeside = 2_000_000;
const copiesBeside = 2;

const { operations } = readHistory(readFileSync(options.history, 'utf8'));
const steps = readFileSync(options.steps, 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Step);
const complaints: string[] = [];

interface Span {
  readonly fromMs: number;
  readonly untilMs: number;
}

interface Latencies {
  readonly p50: number;
  readonly p99: number;
  readonly longest: number;
  readonly perSecond: number;
}

/** Of those that began in the span. */
function latencies(span: Span): Latencies {
  const took = operations
    .filter((operation) => isIn(operation, span) && isAnswered(operation))
    .map(({ calledMs, returnedMs }) => returnedMs - calledMs)
    .sort((a, b) => a - b);
  const at = (share: number): number => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0;
  const perSecond = (took.length / (span.untilMs - span.fromMs)) * 1000;
  return { p50: at(0.5), p99: at(0.99), longest: took.at(-1) ?? 0, perSecond };
}

function isIn({ calledMs }: Operation, { fromMs, untilMs }: Span): boolean {
  return calledMs >= fromMs && calledMs < untilMs;
}

/** The quiet before the next step is that after this one. */
function quietAfter(index: number): Span {
  const next = steps[index + 1];
  if (next !== undefined) return { fromMs: next.quietFromMs, untilMs: next.quietUntilMs };
  const [fromMs = 0, untilMs = 0] = options['quiet-after'].split(',').map(Number);
  return { fromMs, untilMs };
}

function lineOf({ step, quietFromMs, quietUntilMs, fromMs, untilMs, told, moved }: Step, index: number): string {
  const before = latencies({ fromMs: quietFromMs, untilMs: quietUntilMs });
  const after = latencies(quietAfter(index));
  // The 99th percentile of the 200 requests of a second is two of them: a short step's is that of as long a time as the
  // quiet before it. How many were answered is asked of the step alone: a standstill must show.
  const span = { fromMs, untilMs: Math.max(untilMs, fromMs + quietUntilMs - quietFromMs) };
  const beside = { ...latencies(span), perSecond: latencies({ fromMs, untilMs }).perSecond };
  const failed = operations.filter((each) => isIn(each, span) && !isAnswered(each)).length;
  const slowdown = beside.p99 / before.p99;
  const complain = (text: string): void => void complaints.push(`${step}: ${text}`);
  if (failed > 0) complain(`${failed} requests failed`);
  if (beside.perSecond < Number(options['rate-min'])) complain(`${beside.perSecond.toFixed(0)} operations a second`);
  if (slowdown > slowdownMax * Number(process.env.DFS_PAUSE_SLACK ?? 1)) {
    complain(`p99 is ${slowdown.toFixed(1)} times what it was`);
  }
  const isNear = (was: number, said: number, beyond: number): boolean =>
    Math.abs(was - said) <= said * toldShare + beyond;
  // What is told of is near the least, as test/unit/cluster/movement.test.ts holds.
  if (!isNear(moved.bytes, told.bytes, bytesBeside)) complain(`${moved.bytes} bytes moved; ${told.bytes} were told of`);
  if (!isNear(moved.copies, told.copies, copiesBeside)) {
    complain(`${moved.copies} copies moved; ${told.copies} were told of`);
  }
  const cells = [
    step,
    failed,
    `${moved.copies} (told ${told.copies}, least ${told.leastCopies})`,
    `${toMegabytes(moved.bytes)} (told ${toMegabytes(told.bytes)})`,
    ((untilMs - fromMs) / 1000).toFixed(1),
    `${before.p50.toFixed(1)} / ${before.p99.toFixed(1)}`,
    `${after.p50.toFixed(1)} / ${after.p99.toFixed(1)}`,
    `${beside.p50.toFixed(1)} / ${beside.p99.toFixed(1)}`,
    slowdown.toFixed(2),
    `${before.longest.toFixed(0)} / ${beside.longest.toFixed(0)}`,
    beside.perSecond.toFixed(0),
  ];
  return `| ${cells.join(' | ')} |`;
}

function toMegabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

const titles = [
  'step',
  'failed',
  'copies moved',
  'MB moved',
  's until settled',
  'p50 / p99 ms before',
  'after',
  'beside',
  'p99 ratio',
  'longest ms before / beside',
  'operations/s',
];
console.log(`| ${titles.join(' | ')} |`);
console.log(`|${titles.map(() => '---').join('|')}|`);
for (const [index, step] of steps.entries()) console.log(lineOf(step, index));
for (const complaint of complaints) console.error(complaint);
process.exitCode = complaints.length > 0 ? 1 : 0;
