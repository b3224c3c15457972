/** `dfs stat`: what is known about one file, without its bytes. */
import type { FileStat } from '../client/results.js';
import { type Context, defineCommand, type Given, toggle } from './command.js';
import { printable, shownName } from './escaping.js';
import type { Paint } from './paint.js';
import { alignColumns, formatBytes, plural } from './units.js';

const options = { staleOk: toggle('take the answer of any copy, which may be older') } as const;

export const stat = defineCommand({
  operands: [{ name: '<name>', about: 'the file' }],
  options,
  examples: ['dfs stat photo.jpg', 'dfs stat photo.jpg --json'],
  run: showStat,
});

async function showStat(
  context: Context,
  [name = '']: readonly string[],
  given: Given<typeof options>,
): Promise<number> {
  const client = await context.connect();
  const consistency = given.staleOk ? 'any' : 'linearizable';
  const file = await client.stat(name, { signal: context.interrupted, consistency });
  await context.output.answer(file, (paint) => toText(file, paint));
  return 0;
}

function toText(file: FileStat, paint: Paint): string {
  const rows = [
    ['bucket', file.bucket],
    ['size', `${formatBytes(file.size)} (${file.size} bytes, ${plural(file.segments, 'segment')})`],
    ['checksum', file.checksum],
    ['version', file.version],
    ['type', file.contentType === undefined ? '–' : printable(file.contentType)],
    ['created', file.createdAt],
    ['modified', file.modifiedAt],
    ...Object.entries(file.metadata).map(([key, value]) => [`  ${shownName(key)}`, `= ${shownName(value)}`]),
  ];
  return `${paint.bold(shownName(file.name))}\n${alignColumns(rows)}`;
}
