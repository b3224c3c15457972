/**
 * `dfs repair`: has what a peer that is down held copied anew now, without waiting for the grace; or checks every copy
 * of one file, which repairs what is bad.
 */
import { finishChange, isSettled } from './change-text.js';
import { type Context, defineCommand, type Given, textOption, toggle, usage } from './command.js';
import { verifyEach } from './verify.js';

const options = {
  peer: textOption('id', 'a peer that is down: its copies are made anew on others'),
  wait: toggle('return when it is done, at most after --deadline'),
} as const;

export const repair = defineCommand({
  operands: [{ name: '[name]', about: 'check every copy of this file' }],
  options,
  examples: ['dfs repair --peer p3 --wait', 'dfs repair photo.jpg'],
  run: runRepair,
});

function runRepair(
  context: Context,
  [name, ...more]: readonly string[],
  given: Given<typeof options>,
): Promise<number> {
  if (more.length > 0) usage('Only one file is repaired at a time');
  if ((name === undefined) === (given.peer === undefined)) usage('Give either a name or --peer ID');
  return name === undefined ? repairPeer(context, given.peer ?? '', given.wait) : verifyEach(context, [name]);
}

async function repairPeer(context: Context, id: string, isAwaited: boolean): Promise<number> {
  const client = await context.connect();
  const change = await client.operations.changePeer(id, 'repair', { signal: context.interrupted });
  const done = `What ${id} held is copied anew; its return ends that`;
  return finishChange(context, change, { done, isAwaited, isOver: isSettled });
}
