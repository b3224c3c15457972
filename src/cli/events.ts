/** `dfs events`: what happened in the cluster, oldest first; with --follow also what happens next. */
import type { FileClient } from '../client/file-client.js';
import type { ClusterEvent } from '../client/results.js';
import { sleep } from '../core/environment.js';
import { refusals, toDfsError } from '../core/errors.js';
import { type Context, countOption, defineCommand, type Given, toggle } from './command.js';
import { printable } from './escaping.js';
import { exitCodeOf } from './output.js';

const options = {
  follow: toggle('go on until Ctrl-C', 'f'),
  after: countOption('seq', 'only events after this one', { min: 0, max: Number.MAX_SAFE_INTEGER }),
} as const;

export const events = defineCommand({
  operands: [],
  options,
  examples: ['dfs events', 'dfs events --follow', 'dfs events --json --after 120'],
  run: showEvents,
});

const pageRows = 1000;
const followWaitMs = 10_000;
const retryMs = 1000;

async function showEvents(context: Context, _: readonly string[], given: Given<typeof options>): Promise<number> {
  const client = await context.connect();
  let after = given.after ?? 0;
  while (!context.interrupted.aborted) {
    const page = given.follow ? await nextPage(context, client, after) : await firstPages(context, client, after);
    for (const event of page) {
      await context.output.answer(toEventJson(event), () => toText(event));
      after = event.seq;
    }
    if (!given.follow && page.length < pageRows) return 0;
  }
  return refusals.cancelled.exitCode;
}

function firstPages(context: Context, client: FileClient, after: number): Promise<readonly ClusterEvent[]> {
  return client.events({ after, limit: pageRows, waitMs: 0, signal: context.interrupted });
}

/** A master that is being restarted is waited for. */
async function nextPage(context: Context, client: FileClient, after: number): Promise<readonly ClusterEvent[]> {
  try {
    return await client.events({ after, limit: pageRows, waitMs: followWaitMs, signal: context.interrupted });
  } catch (problem) {
    const error = toDfsError(problem);
    if (exitCodeOf(error) !== refusals.unavailable.exitCode) throw error;
    await context.output.note(`The master does not answer: ${error.message}. Trying again.`);
    await sleep(context.clock, retryMs);
    return [];
  }
}

function toEventJson(event: ClusterEvent): object {
  const { seq, at, epoch, kind, peer, slots, text, data } = event;
  return {
    ...{ seq, at, epoch, kind },
    ...(peer === undefined ? {} : { peer }),
    ...(slots === undefined ? {} : { slots }),
    ...{ text, data },
  };
}

function toText(event: ClusterEvent): string {
  return `${String(event.seq).padStart(6)}  ${event.at}  ${event.kind.padEnd(16)}  ${printable(event.text)}`;
}
