/**
 * Writes docs/failover-results.md from the results of a run: the last result of every row.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { RowResult } from './row-result.js';

const { values: options } = parseArgs({
  options: {
    results: { type: 'string', default: 'results.jsonl' },
    out: { type: 'string', default: 'docs/failover-results.md' },
    machine: { type: 'string', default: '' },
  },
});

function toLine(result: RowResult): string {
  const refused = Object.entries(result.refused).map(([code, count]) => `${count} ${code}`);
  const cells = [
    result.row,
    runsText(result),
    ...(result.operations === 0
      ? ['–', '–', '–', '–', '–']
      : [result.operations, result.unknown, refused.join(', ') || '–', result.writePauseMs, result.readPauseMs]),
    (result.wholeAfterMs / 1000).toFixed(1),
    result.note.replace(/[; ]+$/, ''),
    result.commit,
  ];
  return `| ${cells.join(' | ')} |`;
}

/** How the last run ended, and how many ended well: a row that only sometimes keeps to its limits says so. */
function runsText({ row, passed }: RowResult): string {
  const runs = results.filter((other) => other.row === row);
  const well = runs.filter((other) => other.passed).length;
  const worst = Math.max(...runs.map(({ writePauseMs, readPauseMs }) => Math.max(writePauseMs, readPauseMs)));
  const last = passed ? 'pass' : '**fail**';
  return well === runs.length ? last : `${last}; ${well} of ${runs.length} runs passed, worst pause ${worst} ms`;
}

const results = readFileSync(options.results, 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line) as RowResult);
const lastOfRow = new Map(results.map((result) => [result.row, result]));
const rows = [...lastOfRow.values()].sort((a, b) => a.row.localeCompare(b.row));

const about = [
  'Written by `test/failover/run.sh --full --table`. Each row is a script in `test/failover` that says what it does to',
  'a cluster of real daemons with default ping and lease times; most do it under 8 writers and 4 readers on 50 names.',
  'Every history was found linearizable for each name, with versions that never go back and no bad bytes, or the row',
  'says fail. Pauses are the longest time without an answer, over all writers or all readers, on names in the slots of',
  'the peer attacked. The numbers are those of the last run of each row.',
];
const heads = ['row', 'result', 'operations', 'unknown outcome', 'refused', 'write pause, ms', 'read pause, ms'];
const moreHeads = ['whole after, s', 'besides', 'commit'];

writeFileSync(
  options.out,
  [
    '# What the failover tests measured',
    '',
    ...about,
    ...(options.machine === '' ? [] : ['', `Machine: ${options.machine}.`]),
    '',
    `| ${[...heads, ...moreHeads].join(' | ')} |`,
    '|---|---|--:|--:|---|--:|--:|--:|---|---|',
    ...rows.map(toLine),
    '',
  ].join('\n'),
);
