/**
 * Judges one row: its history, the pauses against their limits, and what the script saw; prints one line, appends the
 * result to a file of JSON lines, exits 1 when the row fails.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeOperation, type History, isAnswered, readHistory } from '../checker/history.js';
import type { Pause } from '../checker/pauses.js';
import { judge, type Verdict } from '../checker/verdict.js';
import type { RowResult } from './row-result.js';

const { values: options } = parseArgs({
  options: {
    row: { type: 'string', default: '' },
    history: { type: 'string', multiple: true, default: [] },
    results: { type: 'string', default: '' },
    commit: { type: 'string', default: '' },
    'write-pause-max': { type: 'string', default: 'Infinity' },
    'read-pause-max': { type: 'string', default: 'Infinity' },
    /** Until all slots were whole again. */
    'whole-after': { type: 'string', default: '0' },
    /** No operation may have been refused or left unknown. */
    'no-failures': { type: 'boolean', default: false },
    /**
     * HISTORY,START,SPAN,NAME:NAME…: in that history every operation on these names that began in the span (in ms by
     * the clock of the history) was answered, and there was one.
     */
    'goes-on': { type: 'string', multiple: true, default: [] },
    /** Complaints of the script itself. */
    complaint: { type: 'string', multiple: true, default: [] },
    note: { type: 'string', default: '' },
  },
});

function goesOnComplaints(claim: string): string[] {
  const [path, start, span, list] = claim.split(',') as [string, string, string, string];
  const names = new Set(list.split(':'));
  const inSpan = readHistory(readFileSync(path, 'utf8')).operations.filter(
    ({ name, calledMs }) => names.has(name) && calledMs >= Number(start) && calledMs < Number(start) + Number(span),
  );
  if (inSpan.length === 0) return [`Nobody asked for ${list} while the network was split`];
  return inSpan
    .filter((operation) => !isAnswered(operation))
    .map((operation) => `${operation.name} lies wholly on one side, yet: ${describeOperation(operation)}`);
}

function toResult(verdict: Verdict): RowResult {
  const goesOn = options['goes-on'].flatMap(goesOnComplaints);
  const complaints = [...options.complaint, ...verdict.complaints, ...goesOn];
  const { unknown, refused, victimPauses } = verdict;
  const writePauseMs = Math.round(victimPauses.write.pauseMs);
  const readPauseMs = Math.round(victimPauses.read.pauseMs);
  // Where other work shares the machine, scripts/test.sh grants more; the figures themselves are always printed.
  const slack = Number(process.env.DFS_PAUSE_SLACK ?? 1);
  const limits = { write: slack * Number(options['write-pause-max']), read: slack * Number(options['read-pause-max']) };
  const after = ({ atMs }: Pause): string => `${((atMs - verdict.startMs) / 1000).toFixed(1)} s after the start`;
  if (writePauseMs > limits.write) {
    complaints.push(`Writers paused ${writePauseMs} ms, over ${limits.write} ms, ${after(victimPauses.write)}`);
  }
  if (readPauseMs > limits.read) {
    complaints.push(`Readers paused ${readPauseMs} ms, over ${limits.read} ms, ${after(victimPauses.read)}`);
  }
  if (options['no-failures'] && (unknown > 0 || Object.keys(refused).length > 0)) {
    complaints.push(`Requests failed: ${unknown} unknown, refused ${JSON.stringify(refused)}`);
  }
  return {
    row: options.row,
    commit: options.commit,
    passed: complaints.length === 0,
    operations: verdict.operations,
    unknown,
    refused,
    writePauseMs,
    readPauseMs,
    wholeAfterMs: Number(options['whole-after']),
    note: options.note,
    complaints,
  };
}

/** Several processes at work on one cluster make one history. */
function mergedHistory(): History {
  const histories = options.history.map((path) => readHistory(readFileSync(path, 'utf8')));
  return {
    victimNames: [...new Set(histories.flatMap(({ victimNames }) => victimNames))],
    operations: histories.flatMap(({ operations }) => operations),
  };
}

/** A script without a workload judges by itself. */
function emptyVerdict(): Verdict {
  const none = { pauseMs: 0, atMs: 0 };
  const pauses = { write: none, read: none };
  return { operations: 0, startMs: 0, unknown: 0, refused: {}, complaints: [], pauses, victimPauses: pauses };
}

function describe(result: RowResult): string {
  const refused = Object.entries(result.refused).map(([code, count]) => `, ${count} ${code}`);
  const work =
    `${result.operations} operations, ${result.unknown} unknown${refused.join('')}, ` +
    `longest pause ${result.writePauseMs} ms writing, ${result.readPauseMs} ms reading`;
  const parts = [
    ...(result.operations > 0 ? [work] : []),
    `whole after ${(result.wholeAfterMs / 1000).toFixed(1)} s`,
    ...(result.note === '' ? [] : [result.note]),
  ];
  return `${result.passed ? 'PASS' : 'FAIL'} ${result.row}: ${parts.join('; ')}`;
}

const result = toResult(options.history.length === 0 ? emptyVerdict() : judge(mergedHistory()));
console.log(describe(result));
for (const complaint of result.complaints.slice(0, 10)) console.log(`     ${complaint}`);
if (options.results) appendFileSync(options.results, `${JSON.stringify(result)}\n`);
process.exitCode = result.passed ? 0 : 1;
