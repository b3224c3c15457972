/** `dfs bench`: how fast a cluster is, as one client on this machine sees it. */

import { DfsError } from '../core/errors.js';
import { BenchLimits, type Limit } from './bench-limits.js';
import { Bench, type BenchOptions, type BenchRow } from './bench-runs.js';
import {
  type Context,
  countOption,
  defineCommand,
  type Given,
  type Option,
  parseBytes,
  parseCount,
  textOption,
} from './command.js';
import type { Paint } from './paint.js';
import { alignColumns, formatBytes } from './units.js';

const atOnceMax = 1024;

function listOption<T>(takes: string, about: string, parse: (text: string) => T): Option<readonly T[]> {
  return { takes, about, parse: (text) => text.split(',').map(parse) };
}

const options = {
  sizes: listOption('bytes,…', 'sizes of the small files (4K,64K)', parseBytes),
  inFlight: listOption('n,…', 'how many operations at the same time (1,16,64)', (text) =>
    parseCount(text, { min: 1, max: atOnceMax }),
  ),
  clients: listOption(
    'n,…',
    'also how many clients, each with one operation at a time, for the smallest size',
    (text) => parseCount(text, { min: 1, max: atOnceMax }),
  ),
  files: countOption('n', 'small files of each row (1000)', { min: 1, max: 1_000_000 }),
  large: { takes: 'bytes', about: 'size of the large file, 0 for none (256M)', parse: parseBytes },
  limits: textOption('folder', 'show beside each row what this machine can do at most, with files below this folder'),
  runs: countOption('n', 'measured runs of each row, after one that warms up (3)', { min: 1, max: 100 }),
} as const;

export const bench = defineCommand({
  operands: [],
  options,
  examples: ['dfs bench', 'dfs bench --sizes 4K --in-flight 64 --files 10000 --large 1G --json'],
  // What was stored is removed again.
  interruptGraceMs: 30_000,
  run: measure,
});

async function measure(context: Context, _operands: readonly string[], given: Given<typeof options>): Promise<number> {
  const client = await context.connect();
  const wanted: BenchOptions = {
    sizes: given.sizes ?? [4096, 65_536],
    inFlight: given.inFlight ?? [1, 16, 64],
    clients: given.clients ?? [],
    files: given.files ?? 1000,
    largeBytes: given.large ?? 256 * 1024 * 1024,
    runs: given.runs ?? 3,
    signal: context.interrupted,
    connect: () => context.connectAnew(),
    sendAlone: (name, bytes) => sendAlone(context, name, bytes),
  };
  const limits = given.limits === undefined ? undefined : new BenchLimits(await context.limitsOf(given.limits), wanted);
  const prefix = `dfs-bench-${Math.floor(context.clock.wallMs()).toString(36)}/`;
  const measured = new Bench(client, context.clock, prefix, wanted);
  await context.output.note(`Measuring with files below ${prefix}, which are removed again`);
  const rows: Row[] = [];
  try {
    await measured.run(async (measuredRow) => {
      const row = withLimit(measuredRow, await limits?.of(measuredRow));
      rows.push(row);
      if (context.output.json) await context.output.answer(row, () => '');
      else await context.output.note(cellsOf(row).join('  '));
    });
  } finally {
    await measured.cleanUp();
  }
  if (!context.output.json) await context.output.answer(rows, (paint) => toTable(rows, paint));
  return 0;
}

/** The client of a new process, as a user would start it. */
async function sendAlone({ processes, settings }: Context, name: string, bytes: Uint8Array): Promise<void> {
  const { masters, bucket, cacheDir } = settings;
  const cache = cacheDir === undefined ? [] : ['--cache', cacheDir];
  const shared = ['--master', masters.join(','), '--bucket', bucket, ...cache, '--quiet'];
  const { code, notes } = await processes.run([...shared, 'send', '-', '--as', name], bytes);
  if (code !== 0) throw new DfsError('failed', `dfs send ended with exit code ${code}: ${notes.trim()}`);
}

/** A row, with what the machine can do and the row's share of that. */
interface Row extends BenchRow {
  readonly limit?: Limit & { readonly share: number };
}

function withLimit(row: BenchRow, limit: Limit | undefined): Row {
  return limit === undefined ? row : { ...row, limit: { ...limit, share: row.perSecond.median / limit.perSecond } };
}

function toTable(rows: readonly Row[], paint: Paint): string {
  const titles = ['work', 'in flight', 'a second', 'least', 'most', 'p50 ms', 'p99 ms'];
  const limitTitles = rows.some(({ limit }) => limit !== undefined) ? ['at most', 'share', 'by'] : [];
  const [head = '', ...lines] = alignColumns(
    [[...titles, ...limitTitles], ...rows.map(cellsOf)],
    [1, 2, 3, 4, 5, 6, 7, 8],
  ).split('\n');
  return [paint.bold(head), ...lines].join('\n');
}

function cellsOf(row: Row): readonly string[] {
  const { work, sizeBytes, inFlight, clients, unit, perSecond, p50Ms, p99Ms, limit } = row;
  const rate = (value: number): string =>
    unit === 'bytes' ? `${(value / 1e6).toFixed(0)} MB` : value.toFixed(value < 100 ? 1 : 0);
  return [
    sizeBytes === undefined ? work : `${work} ${formatBytes(sizeBytes)}`,
    clients === undefined ? (inFlight?.toString() ?? '') : `${clients} clients`,
    ...[perSecond.median, perSecond.min, perSecond.max].map(rate),
    p50Ms?.toFixed(1) ?? '',
    p99Ms?.toFixed(1) ?? '',
    ...(limit === undefined ? [] : [rate(limit.perSecond), limit.share.toFixed(2), limit.of]),
  ];
}
