/**
 * `dfs verify`: reads every copy of files where they are, has bad ones repaired. Exit code 7: some could not be; 8:
 * some could not be looked at.
 */
import type { FileClient } from '../client/file-client.js';
import type { BadCopy, Verification } from '../client/results.js';
import { wasRead } from '../client/verification.js';
import { isRefusal, refusals } from '../core/errors.js';
import { type Context, defineCommand, type Given, toggle, usage } from './command.js';
import { shownName } from './escaping.js';
import { Outcomes } from './outcomes.js';
import type { Paint } from './paint.js';
import { forEachBounded } from './parallel.js';
import { plural } from './units.js';

const options = { all: toggle('every file of the bucket') } as const;

export const verify = defineCommand({
  operands: [{ name: '[name...]', about: 'the files to verify' }],
  options,
  examples: ['dfs verify photo.jpg', 'dfs verify --all'],
  run: verifyFiles,
});

const bounds = { atOnce: 8, weightMax: 8, weightOf: () => 1 };

async function verifyFiles(context: Context, names: readonly string[], given: Given<typeof options>): Promise<number> {
  if (given.all === names.length > 0) usage('Give names, or --all');
  return verifyEach(context, given.all ? undefined : names);
}

/** Also what `dfs repair NAME` does. Undefined: every file. */
export async function verifyEach(context: Context, names: readonly string[] | undefined): Promise<number> {
  const client = await context.connect();
  const outcomes = new Outcomes(context.output, 'verify');
  let isAllGood = true;
  let isAllRead = true;
  await forEachBounded(names ?? namesOf(context, client), bounds, (name) =>
    outcomes.attempt(name, async () => {
      const found = await client.verify(name, { signal: context.interrupted }).catch((error: unknown) => {
        // It was there when it was listed.
        if (names === undefined && isRefusal(error, 'not-found')) return undefined;
        throw error;
      });
      if (found === undefined) return;
      if (found.left.length > 0) isAllGood = false;
      if (!found.bad.every(wasRead)) isAllRead = false;
      if (names === undefined && found.bad.length === 0 && !context.output.json) return;
      await context.output.answer(found, (paint) => toText(found, paint));
    }),
  );
  if (!isAllGood) return refusals.integrity.exitCode;
  if (!isAllRead) {
    await context.output.tell('Some copies could not be looked at: repeat this when dfs status says healthy.');
    return refusals['partly-done'].exitCode;
  }
  if (names === undefined) await context.output.note('Every other copy is good.');
  return outcomes.exitCode;
}

async function* namesOf(context: Context, client: FileClient): AsyncIterable<string> {
  for await (const { name } of client.list({ signal: context.interrupted })) yield name;
}

function toText({ name, copies, bad, left }: Verification, paint: Paint): string {
  const count = plural(copies, 'copy', 'copies');
  if (bad.length === 0) return `${shownName(name)}: ${count}, ${paint.good('all good')}`;
  const lines = bad.map((copy) => `  ${copyText(copy)}: ${verdict(copy, left, paint)}`);
  return [`${shownName(name)}: ${count}, ${bad.length} not good`, ...lines].join('\n');
}

function copyText({ index, id, address, state }: BadCopy): string {
  return `segment ${index} on ${id} ${address} ${state}`;
}

function verdict(copy: BadCopy, left: readonly BadCopy[], paint: Paint): string {
  if (!wasRead(copy)) return paint.warning('could not be looked at');
  const isLeft = left.some(({ index, id }) => index === copy.index && id === copy.id);
  return isLeft ? paint.bad('no other copy could repair it') : paint.good('repaired');
}
