/**
 * How a daemon starts, stops and dies: settings, log, data folder, signals, and the exit code for each way to end. What
 * is done once to its data folder, while no daemon runs over it, ends with a text and a code instead.
 *
 * SIGTERM ends cleanly within 10 s; SIGHUP reads the log level again; a broken disk ends with 70, a data folder in use
 * with 75, a configuration that cannot work with 78.
 */
import { type Environment, sleep } from '../core/environment.js';
import { DaemonStop, DfsError, exitCodes, StorageFailure } from '../core/errors.js';
import { timing } from '../core/timing.js';
import { packageVersion } from '../core/version.js';
import { systemClock } from '../io/clock.js';
import { cpuPressureOf } from '../io/cpu-pressure.js';
import { exitProcess, listenToSignals, printError, printLine } from '../io/daemon-process.js';
import { type FolderLock, FolderRefused, lockFolder } from '../io/folder-lock.js';
import { localFiles } from '../io/local-files.js';
import { type LeveledLog, type LogLevel, openLog } from '../io/log.js';
import { systemRandom } from '../io/random.js';
import { openSmallFiles } from '../io/small-files.js';
import { tcpNetwork } from '../io/tcp.js';
import { loadSettings, type Options, type Program, type SettingsOf } from './config.js';

const lockWithinMs = 2000;
const lockRetryMs = 50;

export interface Started {
  /** Where it listens. */
  readonly address: string;
  stop(): Promise<void>;
}

export interface Ground<O extends Options> {
  readonly settings: SettingsOf<O>;
  readonly environment: Environment;
  readonly folder: FolderLock;
  /** Ends the process by what the error means: a DaemonStop, a StorageFailure, or a bug. */
  onFatal(error: unknown): void;
}

/** Settings that every daemon has. */
interface SharedSettings {
  readonly data: string;
  readonly 'log-level': LogLevel;
}

export async function runDaemon<O extends Options>(
  program: Program<O>,
  given: { argv: readonly string[]; environment: Readonly<Record<string, string | undefined>> },
  start: (ground: Ground<O>) => Promise<Started>,
): Promise<void> {
  const read = () => loadSettings(program, { ...given, readText: (path) => localFiles.readText(path) });
  try {
    const loaded = await read();
    if (loaded.kind === 'print') return printLine(loaded.text === 'version' ? packageVersion : loaded.text);
    if (loaded.kind === 'command') {
      throw new DaemonStop(exitCodes.usage, `Write the command first: ${program.name} ${loaded.name} --help`);
    }
    const shared = loaded.settings as unknown as SharedSettings;
    const log = openLog(shared['log-level'], { program: program.name });
    const reload = async (): Promise<void> => {
      const again = await read();
      if (again.kind !== 'run') return;
      const level = (again.settings as unknown as SharedSettings)['log-level'];
      log.setLevel(level);
      log.info({ logLevel: level }, 'log level read again');
    };
    const place = { program: program.name, defaultData: program.options.data?.default, data: shared.data };
    await run({ log, reload, ...place }, (ground) => start({ ...ground, settings: loaded.settings }));
  } catch (error) {
    printError(`${program.name}: ${sentenceOf(error)}`);
    exitProcess(exitCodeOf(error));
  }
}

async function run(
  on: {
    readonly program: string;
    readonly log: LeveledLog;
    reload(): Promise<void>;
    readonly data: string;
    readonly defaultData: string | undefined;
  },
  start: (ground: Omit<Ground<Options>, 'settings'>) => Promise<Started>,
): Promise<void> {
  const { log, reload, data, defaultData } = on;
  const end = (code: number): never => {
    log.flush();
    return exitProcess(code);
  };
  const onFatal = (error: unknown): void => {
    log.error({ error, exitCode: exitCodeOf(error) }, sentenceOf(error));
    end(exitCodeOf(error));
  };
  let running: { readonly started: Started; readonly folder: FolderLock } | undefined;
  let isStopping = false;
  const stop = async (): Promise<void> => {
    isStopping = true;
    if (running === undefined) return;
    log.info({}, 'stopping');
    systemClock.after(timing.stopWithinMs, () => onFatal(new Error('Stopping took too long')));
    await running.started.stop();
    await running.folder.release();
    log.info({}, 'stopped');
    end(exitCodes.ok);
  };
  listenToSignals({
    onStop: () => void stop().catch(onFatal),
    onHangUp: () => void reload().catch((error) => log.warn({ error: sentenceOf(error) }, 'Nothing was changed')),
    onUncaught: onFatal,
  });
  const folder = await openFolder(on.program, { data, defaultData });
  const environment = systemEnvironment(log);
  const started = await start({ environment, folder, onFatal });
  running = { started, folder };
  log.info({ address: started.address }, 'listening');
  if (isStopping) await stop();
}

/** Does one thing to the data folder of `owner`, prints what it says on stdout, and ends with its code. */
export async function runTask<O extends Options>(
  program: Program<O>,
  given: { owner: string; argv: readonly string[]; environment: Readonly<Record<string, string | undefined>> },
  perform: (ground: Omit<Ground<O>, 'onFatal'>) => Promise<{ readonly text: string; readonly exitCode: number }>,
): Promise<void> {
  try {
    const loaded = await loadSettings(program, { ...given, readText: (path) => localFiles.readText(path) });
    if (loaded.kind === 'print') return printLine(loaded.text === 'version' ? packageVersion : loaded.text);
    if (loaded.kind === 'command') throw new DaemonStop(exitCodes.usage, `${program.name} has no commands`);
    const { data, 'log-level': level } = loaded.settings as unknown as SharedSettings;
    const log = openLog(level, { program: program.name });
    const folder = await openFolder(given.owner, { data, defaultData: program.options.data?.default });
    const environment = systemEnvironment(log);
    const { text, exitCode } = await perform({ settings: loaded.settings, environment, folder });
    await folder.release();
    log.flush();
    printLine(text);
    exitProcess(exitCode);
  } catch (error) {
    printError(`${program.name}: ${sentenceOf(error)}`);
    exitProcess(exitCodeOf(error));
  }
}

async function openFolder(
  owner: string,
  { data, defaultData }: { data: string; defaultData: string | undefined },
): Promise<FolderLock> {
  // Only the default folder's parents are made: a mistyped or unmounted path should not come to life as an empty one.
  if (data === defaultData) await localFiles.makeFolder(data);
  const folder = await lockSoon(data);
  await refuseForeignFolder(folder, owner);
  return folder;
}

/** The file by which each program's folder is known. */
const ownFiles = [
  ['dfs-master', 'cluster-map'],
  ['dfs-master', 'incarnation'],
  ['dfs-peer', 'store.json'],
] as const;

async function refuseForeignFolder(folder: FolderLock, program: string): Promise<void> {
  const files = openSmallFiles(folder.path);
  for (const [owner, file] of ownFiles) {
    if (owner === program || (await files.read(file)) === undefined) continue;
    throw new DaemonStop(exitCodes.configuration, `The data folder ${folder.path} belongs to a ${owner}`);
  }
}

/** A killed process holds its folder until its last write has ended, which a busy disk may delay. */
async function lockSoon(data: string): Promise<FolderLock> {
  const giveUpMs = systemClock.monotonicMs() + lockWithinMs;
  for (;;) {
    try {
      return await lockFolder(data);
    } catch (error) {
      const isInUse = error instanceof FolderRefused && error.reason === 'in-use';
      if (!isInUse || systemClock.monotonicMs() > giveUpMs) throw error;
    }
    await sleep(systemClock, lockRetryMs);
  }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof DaemonStop || error instanceof FolderRefused) return error.exitCode;
  if (error instanceof StorageFailure) return exitCodes.storage;
  // A refusal that ends a daemon comes from its surroundings: an address in use, a folder of another cluster.
  return error instanceof DfsError ? exitCodes.configuration : 1;
}

function sentenceOf(error: unknown): string {
  if (error instanceof DfsError && error.advice !== undefined) return `${error.message}. ${error.advice}`;
  return error instanceof Error ? error.message : String(error);
}

function systemEnvironment(log: LeveledLog): Environment {
  const cpuPressure = cpuPressureOf(systemClock);
  return { clock: systemClock, random: systemRandom, network: tcpNetwork, log, cpuPressure };
}
