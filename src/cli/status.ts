/**
 * `dfs status`: the health of the cluster on one screen; waits until it is well, or shows it again and again.
 *
 * "available" is healthy or degraded. Exit code 6 when the cluster is unavailable or the wait ran out.
 */
import type { FileClient } from '../client/file-client.js';
import type { ClusterStatus } from '../client/results.js';
import { sleep } from '../core/environment.js';
import { DfsError, refusals, toDfsError } from '../core/errors.js';
import { toPeerJson, toStatusText } from './cluster-text.js';
import { type Context, defineCommand, type Given, toggle } from './command.js';
import { exitCodeOf } from './output.js';

type Wanted = 'healthy' | 'available';

const options = {
  wait: {
    takes: 'healthy|available',
    about: 'wait until it is so, at most --timeout or --deadline',
    parse: parseWanted,
  },
  watch: toggle('show it every second until Ctrl-C'),
} as const;

export const status = defineCommand({
  operands: [],
  options,
  examples: ['dfs status', 'dfs status --wait healthy --timeout 60', 'dfs status --json'],
  run: showStatus,
});

const waitPollMs = 100;
const watchMs = 1000;
const clearScreen = '\u001b[H\u001b[2J';

function parseWanted(text: string): Wanted {
  if (text === 'healthy' || text === 'available') return text;
  throw new DfsError('invalid', `"${text}" is neither healthy nor available`);
}

async function showStatus(context: Context, _: readonly string[], given: Given<typeof options>): Promise<number> {
  if (given.watch) return watch(context);
  const found = given.wait === undefined ? await ask(context) : await waitFor(context, given.wait);
  await show(context, found);
  const isWell = given.wait === undefined ? found.health !== 'unavailable' : holds(found, given.wait);
  if (isWell) return 0;
  if (given.wait !== undefined) await context.output.note(`The cluster did not become ${given.wait} in time.`);
  return refusals.unavailable.exitCode;
}

async function ask(context: Context): Promise<ClusterStatus> {
  const client = await context.connect();
  return client.status({ signal: context.interrupted });
}

export function holds(found: ClusterStatus, wanted: Wanted): boolean {
  return wanted === 'healthy' ? found.health === 'healthy' : found.health !== 'unavailable';
}

/** The status once it is as wanted, or the last one when time runs out. Throws when nobody ever answered. */
async function waitFor(context: Context, wanted: Wanted): Promise<ClusterStatus> {
  const { clock, settings, interrupted } = context;
  const untilMs = clock.monotonicMs() + (settings.deadlineMs ?? settings.timeoutMs);
  let seen: ClusterStatus | undefined;
  let failure = new DfsError('timed-out', 'No time was given');
  while (!interrupted.aborted) {
    const leftMs = untilMs - clock.monotonicMs();
    if (leftMs <= 0) break;
    const answer = await tryStatus(context, leftMs);
    if (answer instanceof DfsError) failure = answer;
    else if (holds(answer, wanted)) return answer;
    else seen = answer;
    await sleep(clock, waitPollMs);
  }
  interrupted.throwIfAborted();
  if (seen === undefined) throw failure;
  return seen;
}

async function tryStatus(context: Context, leftMs: number): Promise<ClusterStatus | DfsError> {
  try {
    const client: FileClient = await context.connect();
    return await client.status({ signal: context.interrupted, deadlineMs: leftMs });
  } catch (problem) {
    const error = toDfsError(problem);
    if (exitCodeOf(error) !== refusals.unavailable.exitCode) throw error;
    return error;
  }
}

async function watch(context: Context): Promise<number> {
  const { output } = context.terminal;
  while (!context.interrupted.aborted) {
    const found = await ask(context);
    if (output.isTerminal && !context.output.json) await output.write(clearScreen);
    await show(context, found);
    await sleep(context.clock, watchMs);
  }
  return refusals.cancelled.exitCode;
}

async function show({ output }: Context, found: ClusterStatus): Promise<void> {
  await output.answer(toStatusJson(found), (paint) => toStatusText(found, paint));
}

function toStatusJson(found: ClusterStatus): object {
  const { clusterId, epoch, health, reasons, replicas, minInSync, uptimeSeconds } = found;
  const { files, bytes, master, peers, slots, repair, moves, checkpoints } = found;
  return {
    ...{ clusterId, epoch, health, reasons, replicas, minInSync, uptimeSeconds },
    ...{ files, bytes, master, peers: peers.map(toPeerJson), slots, repair, moves, checkpoints },
  };
}
