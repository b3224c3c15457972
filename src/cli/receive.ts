/**
 * `dfs receive`: fetches files into the local file system or to standard output.
 *
 * A file appears under its name only when every byte of it has been verified; whatever ends the command before that
 * leaves the target as it was.
 */
import type { FileClient } from '../client/file-client.js';
import type { GetOptions, ReceivedFile } from '../client/results.js';
import { DfsError, isRefusal } from '../core/errors.js';
import { limits } from '../core/limits.js';
import { type Context, defineCommand, type Given, textOption, toggle, usage } from './command.js';
import { shownName } from './escaping.js';
import { toBaseName, toRelativePath } from './local-names.js';
import { Outcomes } from './outcomes.js';
import { forEachBounded, transferBounds } from './parallel.js';
import { Progress } from './progress.js';
import { formatBytes } from './units.js';

const options = {
  output: textOption('path', 'the file or folder to write to; - is standard output', 'o'),
  prefix: textOption('prefix', 'fetch every file whose name begins with this (with --recursive)'),
  recursive: toggle('with --prefix: the parts of the names become folders', 'r'),
  range: { takes: 'a-b', about: 'only bytes a to b, both included; a- is to the end', parse: parseRange },
  staleOk: toggle('take the answer of any copy, which may be older or not yet acknowledged'),
  force: toggle('replace local files that exist', 'f'),
} as const;
type Options = Given<typeof options>;

export const receive = defineCommand({
  operands: [{ name: '[name...]', about: 'the names to fetch' }],
  options,
  examples: [
    'dfs receive photo.jpg',
    'dfs receive --recursive --prefix photos/ -o ./copies',
    'dfs receive home.tar -o - | tar t',
  ],
  run: receiveAll,
});

interface Item {
  readonly name: string;
  /** Undefined: standard output. */
  readonly target: string | undefined;
  /** Undefined until the file is opened. */
  readonly sizeBytes: number | undefined;
}

/** A file that is replaced again and again while it is read is begun anew so often. */
const freshStartsMax = 5;

async function receiveAll(context: Context, names: readonly string[], given: Options): Promise<number> {
  checkUse(context, names, given);
  const client = await context.connect();
  const outcomes = new Outcomes(context.output, 'receive');
  const progress = new Progress(context.terminal, context.clock, context.settings);
  try {
    const items =
      given.prefix === undefined
        ? await namedItems(context, names, given, outcomes)
        : listedItems(context, client, { ...given, prefix: given.prefix }, { outcomes, progress });
    const bounds = given.output === '-' ? oneByOne : transferBounds<Item>((item) => item.sizeBytes ?? unknownSize);
    await forEachBounded(items, bounds, async (item) => {
      await outcomes.attempt(item.name, () => receiveOne(context, client, item, { given, progress }));
    });
  } finally {
    progress.stop();
  }
  return outcomes.exitCode;
}

const oneByOne = { atOnce: 1, weightMax: 1, weightOf: () => 1 };
const unknownSize = limits.clientWindowBytes;

function checkUse(context: Context, names: readonly string[], given: Options): void {
  if (given.prefix === undefined && names.length === 0)
    usage('No name is given', 'Give names, or --prefix --recursive');
  if (given.prefix !== undefined && names.length > 0) usage('Names and --prefix cannot be mixed');
  if (given.prefix !== undefined && !given.recursive) {
    usage('--prefix fetches many files into folders', 'Add --recursive to say that this is meant');
  }
  if (given.recursive && given.prefix === undefined) {
    usage('--recursive goes with --prefix', `Did you mean --prefix "${names[0]}"?`);
  }
  if (given.range !== undefined && names.length !== 1) usage('--range goes with exactly one name');
  if (given.output === '-') {
    if (given.prefix !== undefined) usage('--prefix fetches many files; they cannot all go to standard output');
    if (context.settings.json) usage('--json and -o - both want standard output');
  }
}

/** "5-9": bytes 5 to 9; "5-": from 5 to the end. `end` is exclusive. */
export function parseRange(text: string): { start: number; end?: number } {
  const match = /^(\d{1,15})-(\d{1,15})?$/.exec(text);
  const start = Number(match?.[1]);
  if (match !== null && match[2] === undefined) return { start };
  const end = Number(match?.[2]) + 1;
  if (match !== null && end > start) return { start, end };
  throw new DfsError('invalid', `"${text}" is not a range; write FIRST-LAST, such as 0-1048575, or FIRST-`);
}

async function namedItems(
  { files }: Context,
  names: readonly string[],
  given: Options,
  outcomes: Outcomes,
): Promise<readonly Item[]> {
  const { output } = given;
  if (output === '-') return names.map((name) => ({ name, target: undefined, sizeBytes: undefined }));
  const isFolder =
    output === undefined || output.endsWith('/') || names.length > 1 || (await files.kindOf(output)) === 'folder';
  if (!isFolder) return names.map((name) => ({ name, target: output, sizeBytes: undefined }));
  const items = new Map<string, Item>();
  for (const name of names) {
    const local = toBaseName(name);
    if ('refused' in local) {
      await outcomes.attempt(name, () => {
        throw new DfsError('invalid', local.refused, { advice: 'Say where it should go with -o PATH' });
      });
      continue;
    }
    const target = output === undefined ? local.path : files.join(output, local.path);
    const other = items.get(target);
    if (other !== undefined) usage(`${other.name} and ${name} would both become ${target}`, 'Fetch them one by one');
    items.set(target, { name, target, sizeBytes: undefined });
  }
  return [...items.values()];
}

async function* listedItems(
  context: Context,
  client: FileClient,
  given: Options & { prefix: string },
  { outcomes, progress }: { outcomes: Outcomes; progress: Progress },
): AsyncIterable<Item> {
  let foundCount = 0;
  for await (const entry of client.list({ prefix: given.prefix, signal: context.interrupted })) {
    foundCount++;
    const local = toRelativePath(entry.name);
    if ('refused' in local) {
      const advice = 'Fetch it by its name with -o PATH';
      await outcomes.skip(entry.name, { message: local.refused, advice });
      continue;
    }
    progress.expect(entry.size);
    const target = given.output === undefined ? local.path : context.files.join(given.output, local.path);
    yield { name: entry.name, target, sizeBytes: entry.size };
  }
  progress.totalIsFinal();
  if (foundCount === 0) throw new DfsError('not-found', `No name begins with "${given.prefix}"`);
}

interface Way {
  readonly given: Options;
  readonly progress: Progress;
}

async function receiveOne(context: Context, client: FileClient, item: Item, way: Way): Promise<void> {
  way.progress.subject(item.name);
  const getOptions: GetOptions = {
    signal: context.interrupted,
    consistency: way.given.staleOk ? 'any' : 'linearizable',
    reuseMemory: true,
    ...(way.given.range === undefined ? {} : { range: way.given.range }),
  };
  if (item.target === undefined) return toStandardOutput(context, await client.get(item.name, getOptions), way);
  if (!way.given.force) await refuseExisting(context, item.target);
  for (let start = 1; ; start++) {
    try {
      const file = await client.get(item.name, getOptions);
      if (item.sizeBytes === undefined) way.progress.expectOnly(file.range.end - file.range.start);
      await toFile(context, file, item.target, way);
      return await showReceived(context, file, item.target);
    } catch (error) {
      // Replaced and swept while it was read: the newer version is as good an answer, from its beginning.
      if (!isRefusal(error, 'gone') || start === freshStartsMax) throw error;
    }
  }
}

async function refuseExisting(context: Context, target: string): Promise<void> {
  const kind = await context.files.kindOf(target);
  if (kind === undefined) return;
  throw new DfsError('conflict', `${target} exists already and was kept`, {
    advice: kind === 'folder' ? 'It is a folder; give -o another place' : 'Give --force to replace it, or -o PATH',
  });
}

async function toStandardOutput(context: Context, file: ReceivedFile, { progress }: Way): Promise<void> {
  progress.expectOnly(file.range.end - file.range.start);
  for await (const chunk of progress.counting(file.body)) await context.terminal.output.write(chunk);
}

async function toFile(context: Context, file: ReceivedFile, path: string, { given, progress }: Way): Promise<void> {
  const target = await context.files.create(path);
  try {
    for await (const chunk of progress.counting(file.body)) await target.write(chunk);
    await target.commit({ replace: given.force });
  } catch (error) {
    await target.discard();
    throw error;
  }
}

async function showReceived({ output }: Context, file: ReceivedFile, path: string): Promise<void> {
  const { bucket, name, size, version, checksum } = file.stat;
  const bytes = file.range.end - file.range.start;
  const { acknowledged, tally } = file;
  const value = { bucket, name, size, version, checksum, path, bytes, acknowledged, ...tally };
  await output.answer(value, (paint) => {
    const what = bytes === size ? formatBytes(size) : `${formatBytes(bytes)} of ${formatBytes(size)}`;
    const sure = acknowledged ? '' : paint.warning('  not yet acknowledged, may be rolled back');
    return `${paint.bold(shownName(path))}  ${what}  ${checksum}  version ${version}${sure}`;
  });
}
