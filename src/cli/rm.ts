/** `dfs rm`: removes files by name, or every file of a prefix once that is confirmed. */
import type { FileClient } from '../client/file-client.js';
import { DfsError } from '../core/errors.js';
import { showChange } from './change-receipt.js';
import { type Context, defineCommand, type Given, textOption, usage } from './command.js';
import { isMeant, requireYes, yesOption } from './confirmation.js';
import { shownName } from './escaping.js';
import { Outcomes } from './outcomes.js';
import { forEachBounded } from './parallel.js';

const options = {
  prefix: textOption('prefix', 'remove every file whose name begins with this'),
  yes: yesOption,
} as const;

export const rm = defineCommand({
  operands: [{ name: '[name...]', about: 'the files to remove' }],
  options,
  examples: ['dfs rm photo.jpg', 'dfs rm --prefix photos/2019/ --yes'],
  run: removeAll,
});

const bounds = { atOnce: 16, weightMax: 16, weightOf: () => 1 };

async function removeAll(context: Context, names: readonly string[], given: Given<typeof options>): Promise<number> {
  const { prefix } = given;
  if (prefix === undefined && names.length === 0) usage('No name is given', 'Give names, or --prefix PREFIX --yes');
  if (prefix !== undefined && names.length > 0) usage('Names and --prefix cannot be mixed');
  const isAsked = prefix !== undefined && !given.yes;
  if (isAsked) requireYes(context, '--prefix removes many files');
  const client = await context.connect();
  if (isAsked && !(await isMeant(context, await questionFor(context, client, prefix)))) return 0;
  const outcomes = new Outcomes(context.output, 'remove');
  await forEachBounded(prefix === undefined ? names : namesBelow(context, client, prefix), bounds, async (name) => {
    await outcomes.attempt(name, async () => {
      await showChange(context.output, 'removed', await client.delete(name, { signal: context.interrupted }));
    });
  });
  return outcomes.exitCode;
}

async function* namesBelow(context: Context, client: FileClient, prefix: string): AsyncIterable<string> {
  let foundCount = 0;
  for await (const entry of client.list({ prefix, signal: context.interrupted })) {
    foundCount++;
    yield entry.name;
  }
  if (foundCount === 0) throw new DfsError('not-found', `No name begins with "${prefix}"`);
}

async function questionFor(context: Context, client: FileClient, prefix: string): Promise<string> {
  let count = 0;
  for await (const _ of namesBelow(context, client, prefix)) count++;
  return `Remove ${count} files whose names begin with ${shownName(prefix)}`;
}
