/** `dfs set`: settings of the whole cluster that can be changed while it runs. */
import type { FileClient } from '../client/file-client.js';
import type { ClusterSettings } from '../client/operations.js';
import { limits } from '../core/limits.js';
import { finishChange, isSettled } from './change-text.js';
import { type Context, defineCommand, type Given, parseBytes, parseCount, toggle, usage } from './command.js';
import { isMeant, requireYes, yesOption } from './confirmation.js';
import { nearest } from './suggestion.js';

const options = {
  dryRun: toggle('only tell what would be moved'),
  wait: toggle('return when it is done, at most after --deadline'),
  yes: yesOption,
} as const;

export const set = defineCommand({
  operands: [
    { name: '<setting>', about: 'replicas, min-in-sync or repair-speed' },
    { name: '<value>', about: 'copies; or for repair-speed bytes a second, as 50M, 0 for what clients leave' },
  ],
  options,
  examples: ['dfs set replicas 3 --wait', 'dfs set min-in-sync 2', 'dfs set repair-speed 50M'],
  run: changeSetting,
});

const settings: Readonly<Record<string, (text: string) => ClusterSettings>> = {
  replicas: (text) => ({ replicas: parseCount(text, { min: 1, max: limits.replicasMax }) }),
  'min-in-sync': (text) => ({ minInSync: parseCount(text, { min: 1, max: limits.replicasMax }) }),
  'repair-speed': (text) => ({ repairBytesPerSecond: parseBytes(text.replace(/\/s$/, '')) }),
};

async function changeSetting(
  context: Context,
  [name = '', value = '']: readonly string[],
  given: Given<typeof options>,
): Promise<number> {
  const parse = settings[name];
  if (parse === undefined) {
    const meant = nearest(name, Object.keys(settings));
    return usage(`"${name}" is no setting`, meant === undefined ? 'See dfs set --help' : `Did you mean ${meant}?`);
  }
  const wanted = parse(value);
  const client = await context.connect();
  const isSafe = given.dryRun || given.yes || !(await wantsFewerCopies(context, client, wanted));
  if (!isSafe) {
    requireYes(context, 'Fewer replicas remove copies of every file');
    if (!(await isMeant(context, `Remove copies of every file until ${value} of each are left`))) return 0;
  }
  const asked = { dryRun: given.dryRun, signal: context.interrupted };
  const change = await client.operations.changeCluster(wanted, asked);
  return finishChange(context, change, { done: `${name} is ${value}`, isAwaited: given.wait, isOver: isSettled });
}

/** Only that destroys something. A lower min-in-sync removes no copy, and may be what lets writes through again. */
async function wantsFewerCopies(context: Context, client: FileClient, { replicas }: ClusterSettings): Promise<boolean> {
  if (replicas === undefined) return false;
  const status = await client.status({ signal: context.interrupted });
  return replicas < status.replicas;
}
