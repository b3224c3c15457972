/** `dfs peer`: what an operator wants of one peer: drained, kept through a maintenance, weighed anew, removed. */
import type { FileClient } from '../client/file-client.js';
import type { ChangePeerOptions, PeerOperation } from '../client/operations.js';
import type { ClusterStatus } from '../client/results.js';
import { DfsError, refusals } from '../core/errors.js';
import { finishChange, isSettled } from './change-text.js';
import { type Context, defineCommand, type Given, toggle, usage } from './command.js';
import { isMeant, requireYes, yesOption } from './confirmation.js';
import { nearest } from './suggestion.js';

const options = {
  dryRun: toggle('only tell what would be moved'),
  wait: toggle('return when it is done, at most after --deadline'),
  yes: yesOption,
} as const;

export const peer = defineCommand({
  operands: [
    { name: '<action>', about: 'drain, enable, maintenance, remove or set' },
    { name: '<id>', about: 'the peer, as dfs peers shows it' },
    { name: '[setting...]', about: 'with set: weight=2 zone=rack-7' },
  ],
  options,
  examples: ['dfs peer drain p3 --wait', 'dfs peer remove p3', 'dfs peer set p2 weight=2 --dry-run'],
  run: changePeer,
});

const actions = {
  drain: 'Its copies move to other peers',
  enable: 'It takes part as any other',
  maintenance: 'While it is down, nothing is copied anew on others; `dfs peer enable` ends that',
  remove: 'It is no peer of this cluster any more; its data folder may be deleted',
  set: 'Set',
} as const satisfies Partial<Record<PeerOperation, string>>;

async function changePeer(
  context: Context,
  [action = '', id = '', ...settings]: readonly string[],
  given: Given<typeof options>,
): Promise<number> {
  if (!isAction(action)) {
    const meant = nearest(action, Object.keys(actions));
    return usage(`"${action}" is no action`, meant === undefined ? 'See dfs peer --help' : `Did you mean ${meant}?`);
  }
  if (action !== 'set' && settings.length > 0) usage(`dfs peer ${action} takes no settings`);
  const place = action === 'set' ? parsePlace(settings) : {};
  if (action === 'remove' && !given.dryRun && !given.yes) {
    requireYes(context, 'A removed peer cannot come back with its data');
    if (!(await isMeant(context, `Remove ${id} from the cluster for good`))) return 0;
  }
  const client = await context.connect();
  const isCramped = action === 'drain' && !given.dryRun && (await tellRisk(context, client, id));
  const asked = { ...place, dryRun: given.dryRun, signal: context.interrupted };
  const change = await client.operations.changePeer(id, action, asked);
  const isOver = (status: ClusterStatus): boolean => (action === 'drain' ? isEmpty(status, id) : isSettled(status));
  const isAwaited = given.wait && !isCramped;
  const exitCode = await finishChange(context, change, { done: actions[action], isAwaited, isOver });
  return given.wait && isCramped ? refusals.unavailable.exitCode : exitCode;
}

function isAction(text: string): text is keyof typeof actions {
  return Object.hasOwn(actions, text);
}

function parsePlace(settings: readonly string[]): Pick<ChangePeerOptions, 'weight' | 'zone'> {
  if (settings.length === 0) usage('Nothing is set', 'Give weight=NUMBER, zone=NAME or both');
  const place: { weight?: number; zone?: string } = {};
  for (const setting of settings) {
    const [, name, value = ''] = /^([^=]*)=(.*)$/s.exec(setting) ?? [];
    if (name === 'zone' && value !== '') place.zone = value;
    else if (name === 'weight' && /^\d+(\.\d+)?$/.test(value)) place.weight = Number(value);
    else usage(`"${setting}" is no setting of a peer`, 'Write weight=NUMBER or zone=NAME');
  }
  return place;
}

/** Whether fewer peers are left than copies are wanted: it then keeps some for good, and who asks should know. */
async function tellRisk(context: Context, client: FileClient, id: string): Promise<boolean> {
  const { peers, replicas } = await client.status({ signal: context.interrupted });
  if (!peers.some((each) => each.id === id))
    throw new DfsError('not-found', `No peer has the id ${id}`, { advice: 'See dfs peers' });
  const others = peers.filter((each) => each.id !== id && each.state === 'up').length;
  if (others >= replicas) return false;
  await context.output.tell(
    `Only ${others} other peers run, for ${replicas} wanted copies: it keeps what they cannot take.`,
  );
  return true;
}

function isEmpty({ peers }: ClusterStatus, id: string): boolean {
  const found = peers.find((each) => each.id === id);
  return found === undefined || found.primarySlots + found.backupSlots + found.joiningSlots === 0;
}
