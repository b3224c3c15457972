/** `dfs ls`: lists names in order of their UTF-8 bytes. */
import type { ListEntry } from '../client/results.js';
import { type Context, countOption, defineCommand, type Given, textOption, toggle } from './command.js';
import { shownName } from './escaping.js';
import { formatBytes } from './units.js';

const options = {
  long: toggle('show size, time, version and checksum too', 'l'),
  limit: countOption('n', 'at most so many', { min: 1, max: Number.MAX_SAFE_INTEGER }),
  after: textOption('name', 'only names after this one'),
} as const;

export const ls = defineCommand({
  operands: [{ name: '[prefix]', about: 'only names that begin with this' }],
  options,
  examples: ['dfs ls', 'dfs ls -l photos/', 'dfs ls --json --limit 100 --after photos/cat.jpg'],
  run: list,
});

async function list(context: Context, [prefix]: readonly string[], given: Given<typeof options>): Promise<number> {
  const client = await context.connect();
  const entries = client.list({
    signal: context.interrupted,
    ...(prefix === undefined ? {} : { prefix }),
    ...(given.after === undefined ? {} : { after: given.after }),
    ...(given.limit === undefined ? {} : { limit: given.limit }),
  });
  for await (const entry of entries) {
    await context.output.answer(toEntryJson(entry), () => (given.long ? toLongText(entry) : shownName(entry.name)));
  }
  return 0;
}

function toEntryJson(entry: ListEntry): object {
  const { bucket, name, size, version, checksum, contentType, modifiedAt, segments } = entry;
  return { bucket, name, size, version, checksum, contentType: contentType ?? null, modifiedAt, segments };
}

function toLongText(entry: ListEntry): string {
  const size = formatBytes(entry.size).padStart(10);
  const columns = [size, entry.modifiedAt, entry.version.padEnd(16), entry.checksum, shownName(entry.name)];
  return columns.join('  ');
}
