/**
 * `dfs dev`: a whole cluster on this machine, until Ctrl-C: a master and peers as processes of their own, on loopback.
 *
 * It waits until the cluster is healthy, says how to use it, and stops every daemon in order at the end.
 */
import type { PeerStatus } from '../client/results.js';
import { sleep } from '../core/environment.js';
import { DfsError, toDfsError } from '../core/errors.js';
import type { ChildProcess } from '../core/local-machine.js';
import { timing } from '../core/timing.js';
import { type Context, countOption, defineCommand, type Given, textOption, usage } from './command.js';
import { defaultMaster } from './settings.js';

const options = {
  peers: countOption('n', 'how many peers (3)', { min: 1, max: 32 }),
  dir: textOption('dir', 'keep the data here (a temporary folder, removed at the end)'),
  port: countOption('n', "the master's port, the peers' are above it; 0 takes free ones", { min: 0, max: 65_000 }),
} as const;

export const dev = defineCommand({
  operands: [],
  options,
  examples: ['dfs dev', 'dfs dev --peers 5 --dir ./cluster', 'dfs dev --port 0'],
  interruptGraceMs: 3 * timing.stopWithinMs,
  run: runCluster,
});

const loopback = '127.0.0.1';
const peersDefault = 3;
const portDefault = 7420;
const healthyWithinMs = 30_000;
const pollMs = 100;
const killAfterMs = timing.stopWithinMs + 1000;

interface Daemon {
  readonly program: 'dfs-master' | 'dfs-peer';
  readonly args: readonly string[];
  readonly address: string;
  readonly logFile: string;
  readonly child: ChildProcess;
}

async function runCluster(context: Context, _: readonly string[], given: Given<typeof options>): Promise<number> {
  const { files } = context;
  const peerCount = given.peers ?? peersDefault;
  const ports = await choosePorts(context, given.port, peerCount + 1);
  const folder = given.dir ?? (await files.makeTemporaryFolder());
  await files.makeFolder(folder);
  const daemons: Daemon[] = [];
  let isStopping = false;
  const start = async (title: string, program: Daemon['program'], address: string, args: readonly string[]) => {
    const logFile = files.join(folder, `${title}.log`);
    const all = ['--listen', address, '--data', files.join(folder, title), ...args];
    const child = await context.processes.start(program, { args: all, logFile });
    const daemon: Daemon = { program, args: all, address, logFile, child };
    daemons.push(daemon);
    void child.ended.then((how) => (isStopping ? undefined : tellEnded(context, daemon, how)));
  };
  try {
    const master = `${loopback}:${ports[0]}`;
    await start('master', 'dfs-master', master, peerCount === 1 ? ['--replicas', '1'] : []);
    for (const [index, port] of ports.slice(1).entries()) {
      const zone = `zone-${index + 1}`;
      await start(`peer-${index + 1}`, 'dfs-peer', `${loopback}:${port}`, ['--master', master, '--zone', zone]);
    }
    const peers = await untilHealthy(context, { master, folder, peerCount }, daemons);
    await tellReady(context, { master, folder, peers, isTemporary: given.dir === undefined }, daemons);
    await untilInterrupted(context);
    return 0;
  } finally {
    isStopping = true;
    await stopAll(context, daemons);
    if (given.dir === undefined) await files.removeFolder(folder);
  }
}

async function choosePorts(context: Context, wanted: number | undefined, count: number): Promise<readonly number[]> {
  const from = wanted ?? portDefault;
  const ports = await context.freePorts({ from, count });
  if (wanted !== undefined && wanted !== 0 && ports[0] !== wanted) {
    usage(`Port ${wanted} is in use`, 'Give another with --port, or --port 0 for a free one');
  }
  return ports;
}

async function untilHealthy(
  context: Context,
  { master, folder, peerCount }: { master: string; folder: string; peerCount: number },
  daemons: readonly Daemon[],
): Promise<readonly PeerStatus[]> {
  const { clock, interrupted } = context;
  const ended = Promise.race(daemons.map(async (daemon) => ({ daemon, how: await daemon.child.ended })));
  let early: { daemon: Daemon; how: number | string } | undefined;
  void ended.then((end) => (early = end));
  const untilMs = clock.monotonicMs() + healthyWithinMs;
  let lastReason = 'nobody answered';
  while (clock.monotonicMs() < untilMs) {
    interrupted.throwIfAborted();
    if (early !== undefined) throw await toEarlyEnd(context, early.daemon, early.how);
    try {
      const client = await context.connect({ masters: [master], cacheDir: context.files.join(folder, 'cache') });
      const found = await client.status({ signal: interrupted, deadlineMs: 1000 });
      const upCount = found.peers.filter((peer) => peer.state === 'up').length;
      if (found.health === 'healthy' && upCount === peerCount) return found.peers;
      lastReason = found.reasons.join('; ') || `${upCount} of ${peerCount} peers are up`;
    } catch (problem) {
      lastReason = toDfsError(problem).message;
    }
    await sleep(clock, pollMs);
  }
  throw new DfsError('unavailable', `The cluster did not become healthy: ${lastReason}`, {
    advice: `The daemons' logs are in ${folder}; --dir DIR keeps them`,
  });
}

async function toEarlyEnd(context: Context, daemon: Daemon, how: number | string): Promise<DfsError> {
  const lines = (await context.files.readText(daemon.logFile)).trim().split('\n');
  return new DfsError('failed', `${daemon.program} at ${daemon.address} ended (${how}) before the cluster was up`, {
    advice: `The last it said: ${lines.at(-1)}`,
  });
}

async function tellReady(
  context: Context,
  cluster: { master: string; folder: string; peers: readonly PeerStatus[]; isTemporary: boolean },
  daemons: readonly Daemon[],
): Promise<void> {
  const { master, folder, peers, isTemporary } = cluster;
  const command = context.processes.ownCommand;
  const pidAt = (address: string): number | undefined =>
    daemons.find((daemon) => daemon.address === address)?.child.pid;
  const value = {
    ...{ master: { address: master, pid: pidAt(master) }, dir: folder },
    peers: peers.map(({ id, address }) => ({ id, address, pid: pidAt(address) })),
  };
  await context.output.answer(value, (paint) =>
    [
      paint.bold(`A cluster of ${peers.length} is running, its master at ${master}.`),
      `Its data is in ${folder}${isTemporary ? ' and is removed at the end' : ''}. Ctrl-C stops it.`,
      '',
      'Try in another terminal:',
      ...(master === defaultMaster ? [] : [`  export DFS_MASTER=${master}`]),
      `  echo hello | ${command} send - --as hello.txt`,
      `  ${command} receive hello.txt -o -`,
      `  ${command} locate hello.txt`,
      `  ${command} status`,
      '',
      'Then kill any peer and receive the file again:',
      ...peers.map(({ id, address }) => `  kill -9 ${pidAt(address)}  # ${id} at ${address}`),
    ].join('\n'),
  );
}

async function tellEnded(context: Context, daemon: Daemon, how: number | string): Promise<void> {
  const program = context.processes.ownCommand.replace(/dfs$/, daemon.program);
  const command = `${program} ${daemon.args.join(' ')}`;
  await context.output.tell(
    `${daemon.program} at ${daemon.address} ended (${how}). Start it again with:\n  ${command}`,
  );
}

function untilInterrupted({ interrupted }: Context): Promise<void> {
  return new Promise((resolve) => {
    if (interrupted.aborted) resolve();
    else interrupted.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Peers first: they hand over and tell the master. */
async function stopAll(context: Context, daemons: readonly Daemon[]): Promise<void> {
  const stop = async ({ child }: Daemon): Promise<void> => {
    child.stop('SIGTERM');
    const late = sleep(context.clock, killAfterMs).then(() => child.stop('SIGKILL'));
    await Promise.race([child.ended, late]);
  };
  await Promise.all(daemons.filter((daemon) => daemon.program === 'dfs-peer').map(stop));
  await Promise.all(daemons.filter((daemon) => daemon.program === 'dfs-master').map(stop));
}
