/**
 * The longest pause after each of many faults: median and maximum by kind, against limits; a histogram on stderr.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { isAnswered, isWrite, type Operation, readHistory } from '../checker/history.js';
import { longestGap } from '../checker/pauses.js';

const { values: options } = parseArgs({
  options: {
    history: { type: 'string', default: '' },
    /** Lines "KIND MILLISECONDS" by the clock of the history. */
    moments: { type: 'string', default: '' },
    /** KIND=MEDIAN/MAXIMUM,… in milliseconds. */
    limits: { type: 'string', default: '' },
    window: { type: 'string', default: '3000' },
  },
});

const { operations } = readHistory(readFileSync(options.history, 'utf8'));
const answers = operations.filter(isAnswered);

function pauseAfter(momentMs: number, wanted: (operation: Operation) => boolean): number {
  const span = { startMs: momentMs, endMs: momentMs + Number(options.window) };
  const moments = answers
    .filter(
      (operation) => wanted(operation) && operation.returnedMs > span.startMs && operation.returnedMs < span.endMs,
    )
    .map(({ returnedMs }) => returnedMs);
  return Math.round(longestGap(moments, span).pauseMs);
}

function median(sorted: readonly number[]): number {
  return sorted[Math.floor((sorted.length - 1) / 2)] as number;
}

const pauses = new Map<string, number[]>();
for (const line of readFileSync(options.moments, 'utf8').trim().split('\n')) {
  const [kind, moment] = line.split(' ') as [string, string];
  const longest = Math.max(
    pauseAfter(Number(moment), isWrite),
    pauseAfter(Number(moment), (operation) => !isWrite(operation)),
  );
  pauses.set(kind, [...(pauses.get(kind) ?? []), longest]);
}

const parts: string[] = [];
for (const [kind, unsorted] of pauses) {
  const sorted = [...unsorted].sort((a, b) => a - b);
  const worst = sorted.at(-1) as number;
  parts.push(`${kind} ×${sorted.length}: median ${median(sorted)} ms, worst ${worst} ms`);
  console.error(`${kind}: ${sorted.join(' ')}`);
  const limit = options.limits.split(',').find((text) => text.startsWith(`${kind}=`));
  const [medianMax, worstMax] = (limit?.slice(kind.length + 1) ?? 'Infinity/Infinity').split('/').map(Number);
  if (median(sorted) > Number(medianMax) || worst > Number(worstMax)) process.exitCode = 1;
}
console.log(parts.join('; '));
