/** `dfs scrub`: has peers read and verify everything they store, now; with --wait tells what they found. */
import type { ScrubState } from '../client/results.js';
import { sleep } from '../core/environment.js';
import { refusals } from '../core/errors.js';
import { type Context, defineCommand, type Given, textOption, toggle } from './command.js';
import { Outcomes } from './outcomes.js';
import { formatBytes, plural } from './units.js';

const options = {
  peer: textOption('id', 'only this peer; all that run without it'),
  wait: toggle('return when everything was read, at most after --deadline'),
} as const;

export const scrub = defineCommand({
  operands: [],
  options,
  examples: ['dfs scrub', 'dfs scrub --peer p2 --wait'],
  run: scrubPeers,
});

const pollMs = 500;

async function scrubPeers(context: Context, _: readonly string[], given: Given<typeof options>): Promise<number> {
  const client = await context.connect();
  const { peers } = await client.status({ signal: context.interrupted });
  const running = peers.filter(({ state }) => state !== 'down' && state !== 'removed').map(({ id }) => id);
  const outcomes = new Outcomes(context.output, 'scrub');
  const endMs = context.clock.monotonicMs() + (context.settings.deadlineMs ?? Number.POSITIVE_INFINITY);
  let isOver = true;
  const scrubOne = async (id: string): Promise<void> => {
    const ask = (start: boolean): Promise<ScrubState> =>
      client.operations.scrub(id, { start, signal: context.interrupted });
    let state = await ask(true);
    while (given.wait && state.isRunning && context.clock.monotonicMs() < endMs) {
      await sleep(context.clock, pollMs);
      state = await ask(false);
    }
    if (given.wait && state.isRunning) isOver = false;
    await context.output.answer(state, () => toText(state));
  };
  const chosen = given.peer === undefined ? running : [given.peer];
  await Promise.all(chosen.map((id) => outcomes.attempt(id, () => scrubOne(id))));
  if (isOver) return outcomes.exitCode;
  await context.output.tell('Not everything was read within --deadline; the peers go on.');
  return refusals.unavailable.exitCode;
}

function toText({ peer, isRunning, entries, bytes, bad }: ScrubState): string {
  const read = `${plural(entries, 'entry', 'entries')}, ${formatBytes(bytes)}`;
  if (isRunning) return `${peer}: reading, ${read} so far`;
  return `${peer}: ${read} read, ${bad === 0 ? 'all good' : `${bad} bad, in repair: see dfs events`}`;
}
