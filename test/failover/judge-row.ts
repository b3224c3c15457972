/**
 * Judges one row: its history, the pauses against their limits, and what the script saw; prints one line, appends the
 * result to a file of JSON lines, exits 1 when the row fails.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readHistory } from '../checker/history.js';
import { judge, type Verdict } from '../checker/verdict.js';
import type { RowResult } from './row-result.js';

const { values: options } = parseArgs({
  options: {
    row: { type: 'string', default: '' },
    /** May be given several times: judged one by one, pauses the longest of all. */
    history: { type: 'string', multiple: true, default: [] },
    results: { type: 'string', default: '' },
    commit: { type: 'string', default: '' },
    'write-pause-max': { type: 'string', default: 'Infinity' },
    'read-pause-max': { type: 'string', default: 'Infinity' },
    /** Until all slots were whole again. */
    'whole-after': { type: 'string', default: '0' },
    /** No operation may have been refused or left unknown. */
    'no-failures': { type: 'boolean', default: false },
    /** Complaints of the script itself. */
    complaint: { type: 'string', multiple: true, default: [] },
    note: { type: 'string', default: '' },
  },
});

function longest(verdicts: readonly Verdict[], kind: 'write' | 'read'): number {
  return Math.round(Math.max(0, ...verdicts.map(({ victimPauses }) => victimPauses[kind].pauseMs)));
}

function sum(verdicts: readonly Verdict[], of: (verdict: Verdict) => number): number {
  return verdicts.reduce((total, verdict) => total + of(verdict), 0);
}

function toResult(verdicts: readonly Verdict[]): RowResult {
  const complaints = [...options.complaint, ...verdicts.flatMap((verdict) => verdict.complaints)];
  const refused: Record<string, number> = {};
  for (const verdict of verdicts) {
    for (const [code, count] of Object.entries(verdict.refused)) refused[code] = (refused[code] ?? 0) + count;
  }
  const writePauseMs = longest(verdicts, 'write');
  const readPauseMs = longest(verdicts, 'read');
  const unknown = sum(verdicts, (verdict) => verdict.unknown);
  const limits = { write: Number(options['write-pause-max']), read: Number(options['read-pause-max']) };
  if (writePauseMs > limits.write) complaints.push(`Writers paused ${writePauseMs} ms, over ${limits.write} ms`);
  if (readPauseMs > limits.read) complaints.push(`Readers paused ${readPauseMs} ms, over ${limits.read} ms`);
  if (options['no-failures'] && (unknown > 0 || Object.keys(refused).length > 0)) {
    complaints.push(`Requests failed: ${unknown} unknown, refused ${JSON.stringify(refused)}`);
  }
  return {
    row: options.row,
    commit: options.commit,
    passed: complaints.length === 0,
    operations: sum(verdicts, (verdict) => verdict.operations),
    unknown,
    refused,
    writePauseMs,
    readPauseMs,
    wholeAfterMs: Number(options['whole-after']),
    note: options.note,
    complaints,
  };
}

const result = toResult(options.history.map((path) => judge(readHistory(readFileSync(path, 'utf8')))));
const refusedText = Object.entries(result.refused).map(([code, count]) => `, ${count} ${code}`);
console.log(
  `${result.passed ? 'PASS' : 'FAIL'} ${result.row}: ${result.operations} operations, ${result.unknown} unknown` +
    `${refusedText.join('')}, longest pause ${result.writePauseMs} ms writing, ${result.readPauseMs} ms reading, ` +
    `whole after ${(result.wholeAfterMs / 1000).toFixed(1)} s${result.note ? `; ${result.note}` : ''}`,
);
for (const complaint of result.complaints.slice(0, 10)) console.log(`     ${complaint}`);
if (options.results) appendFileSync(options.results, `${JSON.stringify(result)}\n`);
process.exitCode = result.passed ? 0 : 1;
