/** `dfs moves`: holds back what moves only for balance; missing copies are made all the same. */
import { finishChange, isSettled } from './change-text.js';
import { type Context, defineCommand, usage } from './command.js';

export const moves = defineCommand({
  operands: [{ name: '<action>', about: 'pause or resume' }],
  options: {},
  examples: ['dfs moves pause', 'dfs moves resume'],
  run: changeMoves,
});

async function changeMoves(context: Context, [action = '']: readonly string[]): Promise<number> {
  if (action !== 'pause' && action !== 'resume') usage(`"${action}" is neither pause nor resume`);
  const client = await context.connect();
  const movesPaused = action === 'pause';
  const change = await client.operations.changeCluster({ movesPaused }, { signal: context.interrupted });
  const done = movesPaused ? 'Only missing copies are made from now on' : 'Moves go on';
  return finishChange(context, change, { done, isAwaited: false, isOver: isSettled });
}
