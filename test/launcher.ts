/**
 * Runs real daemons of the built checkout for tests: a master and peers on free loopback ports in a temporary folder.
 *
 * `withCluster` is the usual way in: it stops everything at the end and, when the test fails, prints the last lines
 * that every daemon logged. Needs `npm run build` first.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const checkout = fileURLToPath(new URL('..', import.meta.url));

const startWithinMs = 20_000;
const stopWithinMs = 15_000;
const logLinesKept = 2000;
const logLinesPrinted = 40;

export interface LogLine {
  readonly msg?: string;
  readonly level?: number | string;
  readonly [field: string]: unknown;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface CommandResult extends Ended {
  readonly stdout: string;
  readonly stderr: string;
}

export interface DaemonOptions {
  readonly name: string;
  readonly program: 'dfs-master' | 'dfs-peer';
  /** Everything but `--listen` and `--data`. */
  readonly flags: readonly string[];
  readonly listen: string;
  readonly dataDir: string;
  readonly env?: Readonly<Record<string, string>>;
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

const children = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

function start(command: string, args: readonly string[], env: Readonly<Record<string, string>>): Running {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  children.add(child);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      children.delete(child);
      resolve({ code, signal });
    });
  });
  // A child killed while a test still writes to it is the test's own doing.
  child.stdin?.on('error', (error) => void error);
  return { child, ended };
}

/** Rejects with `claim` when `promise` has not settled within `withinMs`. */
export async function within<T>(promise: Promise<T>, withinMs: number, claim: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${claim} (not within ${withinMs} ms)`)), withinMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when `condition` answers true; asks again every 20 ms. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  claim: string,
  withinMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`${claim} (not within ${withinMs} ms)`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * A port nobody listens on, below the range the kernel gives to outgoing connections: a daemon that restarts finds its
 * port still free.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** The paths of all files in a folder and those in it, in order. */
export async function filesBelow(folder: string): Promise<readonly string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.flatMap((each) => (each.isFile() ? [join(each.parentPath, each.name)] : [])).sort();
}

/** One daemon, which may be started again and again over the same data folder and address. */
export class Daemon {
  readonly name: string;
  readonly address: string;
  readonly dataDir: string;
  /** What it logged on stderr, over all its starts; lines that are not JSON appear as `{ raw }`. */
  readonly log: LogLine[] = [];
  readonly #options: DaemonOptions;
  readonly #watchers = new Set<(line: LogLine) => void>();
  #running: Running | undefined;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.name = options.name;
    this.address = options.listen;
    this.dataDir = options.dataDir;
  }

  get pid(): number {
    const pid = this.#running?.child.pid;
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    return pid;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Starts the process and resolves when it has said that it listens. */
  async start(extraFlags: readonly string[] = []): Promise<void> {
    const listening = this.waitForLog((line) => line.msg === 'listening', startWithinMs, 'says that it listens');
    const ended = this.launch(extraFlags).then((end) => {
      throw new Error(`${this.name} ended at its start: ${JSON.stringify(end)}\n${this.tail()}`);
    });
    listening.catch((error: Error) => error);
    await Promise.race([listening, ended]);
    ended.catch((error: Error) => error);
  }

  /** Starts the process without waiting for it; resolves when it has ended. */
  launch(extraFlags: readonly string[] = []): Promise<Ended> {
    if (this.#running) throw new Error(`${this.name} runs already`);
    const options = this.#options;
    const program = join(checkout, 'bin', options.program);
    if (!existsSync(join(checkout, 'dist'))) throw new Error('There is no dist/ folder: run npm run build first');
    const flags = ['--listen', options.listen, '--data', options.dataDir, ...options.flags, ...extraFlags];
    const running = start(program, flags, options.env ?? {});
    this.#running = running;
    running.child.stdin?.end();
    running.child.stdout?.resume();
    createInterface({ input: running.child.stderr as NonNullable<ChildProcess['stderr']> }).on('line', (text) =>
      this.#onLine(text),
    );
    return running.ended.then((end) => {
      if (this.#running === running) this.#running = undefined;
      return end;
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#running?.child.kill(signal);
  }

  /** kill -9; resolves when it is gone. */
  async kill(): Promise<void> {
    const running = this.#running;
    if (!running) return;
    running.child.kill('SIGKILL');
    await running.ended;
    this.#running = undefined;
  }

  /** SIGTERM; resolves with how it ended, killing it when it takes longer than it may. */
  async stop(): Promise<Ended> {
    const running = this.#running;
    if (!running) return { code: null, signal: null };
    running.child.kill('SIGTERM');
    try {
      return await within(running.ended, stopWithinMs, `${this.name} ends after SIGTERM`);
    } catch (error) {
      running.child.kill('SIGKILL');
      await running.ended;
      throw error;
    } finally {
      this.#running = undefined;
    }
  }

  /** Resolves with the next matching line; lines of before count only with `fromStart`. */
  waitForLog(
    matches: (line: LogLine) => boolean,
    withinMs = startWithinMs,
    claim = 'logs a certain line',
  ): Promise<LogLine> {
    let watcher: ((line: LogLine) => void) | undefined;
    const seen = new Promise<LogLine>((resolve) => {
      watcher = (line) => {
        if (matches(line)) resolve(line);
      };
      this.#watchers.add(watcher);
    });
    return within(seen, withinMs, `${this.name} ${claim}`).finally(() => {
      if (watcher) this.#watchers.delete(watcher);
    });
  }

  /** The last lines logged, for people. */
  tail(lines = logLinesPrinted): string {
    return this.log
      .slice(-lines)
      .map((line) => `${this.name}: ${JSON.stringify(line)}`)
      .join('\n');
  }

  #onLine(text: string): void {
    const line = parseLine(text);
    this.log.push(line);
    if (this.log.length > logLinesKept) this.log.splice(0, logLinesKept / 2);
    for (const watcher of this.#watchers) watcher(line);
  }
}

function parseLine(text: string): LogLine {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as LogLine) : { raw: text };
  } catch {
    return { raw: text };
  }
}

export interface ClusterOptions {
  readonly peers?: number;
  readonly replicas?: number;
  readonly masterFlags?: readonly string[];
  readonly peerFlags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Wait until `dfs status` says healthy (the default) before the cluster is handed over. */
  readonly waitHealthy?: boolean;
}

export class Cluster {
  readonly dir: string;
  readonly master: Daemon;
  readonly peers: Daemon[] = [];
  readonly #options: ClusterOptions;

  constructor(dir: string, masterPort: number, options: ClusterOptions) {
    this.dir = dir;
    this.#options = options;
    this.master = new Daemon({
      name: 'master',
      program: 'dfs-master',
      listen: `127.0.0.1:${masterPort}`,
      dataDir: join(dir, 'master'),
      flags: ['--replicas', String(options.replicas ?? 2), ...(options.masterFlags ?? [])],
      env: options.env ?? {},
    });
  }

  /** Adds a peer with an empty data folder and starts it. */
  async addPeer(flags: readonly string[] = []): Promise<Daemon> {
    const peer = new Daemon({
      name: `peer${this.peers.length + 1}`,
      program: 'dfs-peer',
      listen: `127.0.0.1:${await freePort()}`,
      dataDir: join(this.dir, `peer${this.peers.length + 1}`),
      flags: ['--master', this.master.address, ...(this.#options.peerFlags ?? []), ...flags],
      env: this.#options.env ?? {},
    });
    this.peers.push(peer);
    await peer.start();
    return peer;
  }

  peerAt(address: string): Daemon {
    const peer = this.peers.find((candidate) => candidate.address === address);
    if (!peer) throw new Error(`No peer of this cluster listens on ${address}`);
    return peer;
  }

  /** Runs `dfs` against this cluster with a cache folder of the cluster's own. */
  async dfs(args: readonly string[], options: { input?: string | Uint8Array; cwd?: string } = {}) {
    const env = { DFS_MASTER: this.master.address, DFS_CACHE: join(this.dir, 'cache'), NO_COLOR: '1' };
    return await runCommand(join(checkout, 'bin', 'dfs'), args, { ...options, env });
  }

  /** Like `dfs`, failing unless it exits 0; returns what `--json` printed, one value a line. */
  async dfsJson(args: readonly string[], input?: string | Uint8Array): Promise<Record<string, unknown>[]> {
    const result = await this.dfs(['--json', ...args], input === undefined ? {} : { input });
    if (result.code !== 0) throw new Error(`dfs ${args.join(' ')} ended with ${result.code}: ${result.stderr}`);
    return parseDocuments(result.stdout);
  }

  async waitHealthy(): Promise<void> {
    const result = await this.dfs(['--timeout', '30', 'status', '--wait', 'healthy']);
    if (result.code !== 0) throw new Error(`Not healthy: ${result.stdout}${result.stderr}`);
  }

  logs(): string {
    return [this.master, ...this.peers].map((daemon) => daemon.tail()).join('\n');
  }

  /** Stops every daemon and removes the temporary folder. */
  async stop(): Promise<void> {
    await Promise.all([this.master, ...this.peers].map((daemon) => daemon.kill()));
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** One JSON document, or one a line. */
function parseDocuments(text: string): Record<string, unknown>[] {
  try {
    return [JSON.parse(text) as Record<string, unknown>];
  } catch {
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

export async function runCommand(
  command: string,
  args: readonly string[],
  options: { input?: string | Uint8Array; env?: Readonly<Record<string, string>>; cwd?: string } = {},
): Promise<CommandResult> {
  const child = spawn(command, args, { env: { ...process.env, ...options.env }, cwd: options.cwd ?? process.cwd() });
  children.add(child);
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => err.push(bytes));
  child.stdin.on('error', (error) => void error); // a command need not read its input
  child.stdin.end(options.input ?? '');
  const end = await new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  children.delete(child);
  return { ...end, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
}

export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const dir = await mkdtemp(join(tmpdir(), 'dfs-test-'));
  const cluster = new Cluster(dir, await freePort(), options);
  try {
    await mkdir(join(dir, 'cache'));
    await cluster.master.start();
    for (let index = 0; index < (options.peers ?? 2); index++) await cluster.addPeer();
    if (options.waitHealthy ?? true) await cluster.waitHealthy();
    return cluster;
  } catch (error) {
    console.error(cluster.logs());
    await cluster.stop();
    throw error;
  }
}

/** Starts a cluster, runs `use`, stops the cluster; prints the daemons' last log lines when `use` fails. */
export async function withCluster(options: ClusterOptions, use: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = await startCluster(options);
  try {
    await use(cluster);
  } catch (error) {
    console.error(cluster.logs());
    throw error;
  } finally {
    await cluster.stop();
  }
}
