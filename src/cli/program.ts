/**
 * The program `dfs`: finds the command, its options and the shared settings, runs it, and gives the exit code.
 *
 * A command's file is loaded only when it is named, so that starting up stays quick.
 */
import { setMaxListeners } from 'node:events';
import {
  Command as CommanderCommand,
  CommanderError,
  Option as CommanderOption,
  InvalidArgumentError,
} from 'commander';
import type { FileClient } from '../client/file-client.js';
import { Bug } from '../core/assert.js';
import type { Clock } from '../core/environment.js';
import { sleep } from '../core/environment.js';
import { DfsError, refusals } from '../core/errors.js';
import { type LocalFiles, OutputClosed, type Processes, type Terminal } from '../core/local-machine.js';
import type { Command, Context, Option } from './command.js';
import { exitCodeOf, Output } from './output.js';
import { loadPaint } from './paint.js';
import { type SettingName, type SettingSources, type Settings, settingsTable, toSettings } from './settings.js';

export interface World {
  readonly terminal: Terminal;
  readonly files: LocalFiles;
  readonly processes: Processes;
  readonly clock: Clock;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  loadConfig(path: string): Promise<Readonly<Record<string, unknown>>>;
  connect(settings: Settings): Promise<FileClient>;
  examine(settings: Settings): ReturnType<Context['examine']>;
  freePorts: Context['freePorts'];
  limitsOf: Context['limitsOf'];
}

interface Entry {
  readonly about: string;
  readonly alias?: string;
  load(): Promise<Command>;
}

const commands: Readonly<Record<string, Entry>> = {
  send: { about: 'store files', alias: 'SEND', load: async () => (await import('./send.js')).send },
  receive: { about: 'fetch files', alias: 'RECEIVE', load: async () => (await import('./receive.js')).receive },
  ls: { about: 'list names', load: async () => (await import('./ls.js')).ls },
  stat: { about: 'show what is known about a file', load: async () => (await import('./stat.js')).stat },
  rm: { about: 'remove files', load: async () => (await import('./rm.js')).rm },
  cp: { about: 'copy a file to another name', load: async () => (await import('./cp.js')).cp },
  mv: { about: 'move a file to another name', load: async () => (await import('./mv.js')).mv },
  'set-metadata': {
    about: "replace a file's own key=value notes",
    load: async () => (await import('./set-metadata.js')).setMetadata,
  },
  locate: { about: 'show where every copy of a file is', load: async () => (await import('./locate.js')).locate },
  status: { about: 'show the health of the cluster', load: async () => (await import('./status.js')).status },
  peers: { about: 'list the peers', load: async () => (await import('./peers.js')).peers },
  peer: { about: 'drain, weigh or remove a peer', load: async () => (await import('./peer.js')).peer },
  moves: { about: 'pause or resume what moves for balance', load: async () => (await import('./moves.js')).moves },
  set: { about: 'change a setting of the cluster', load: async () => (await import('./set.js')).set },
  'what-if': {
    about: 'show what would be lost without some peers',
    load: async () => (await import('./what-if.js')).whatIf,
  },
  repair: { about: 'make lost copies anew now', load: async () => (await import('./repair.js')).repair },
  explain: { about: 'tell why a file is where it is', load: async () => (await import('./explain.js')).explain },
  incident: { about: 'tell the last failure', load: async () => (await import('./incident.js')).incident },
  verify: { about: 'read every copy of files', load: async () => (await import('./verify.js')).verify },
  scrub: { about: 'have peers read all they store', load: async () => (await import('./scrub.js')).scrub },
  checkpoint: {
    about: 'keep the files as they are now, and bring them back',
    load: async () => (await import('./checkpoint.js')).checkpoint,
  },
  events: { about: 'show what happened in the cluster', load: async () => (await import('./events.js')).events },
  doctor: { about: 'look for what usually goes wrong', load: async () => (await import('./doctor.js')).doctor },
  bench: { about: 'measure how fast the cluster is', load: async () => (await import('./bench.js')).bench },
  dev: { about: 'run a whole cluster on this machine', load: async () => (await import('./dev.js')).dev },
};

/** Words that are fixed already and will mean something in a later version. */
const laterCommands = ['force-promote'] as const;

const examples = ['dfs send photo.jpg', 'dfs receive photo.jpg -o copy.jpg', 'dfs status'];

const interruptGraceMs = 1500;

type Run = (settings: SettingSources['flags'] & { config?: string }) => Promise<number>;

/** Runs `dfs` with the arguments after its name. Resolves with the exit code; rejects for bugs only. */
export async function runProgram(argv: readonly string[], world: World): Promise<number> {
  try {
    const plan = await parse(argv, world);
    return plan.run === undefined ? plan.exitCode : await plan.run(plan.flags);
  } catch (problem) {
    return isOutputClosed(problem) ? closedExitCode : await tellProblem(problem, argv, world);
  }
}

/** As other programs do whose reader has gone: no success, and no words. */
const closedExitCode = refusals.failed.exitCode;

function isOutputClosed(problem: unknown): boolean {
  return problem instanceof OutputClosed;
}

async function tellProblem(problem: unknown, argv: readonly string[], world: World): Promise<number> {
  if (problem instanceof Bug) throw problem;
  const output = await openOutput(world, { json: argv.includes('--json'), quiet: false });
  try {
    await output.error(problem);
  } catch (second) {
    if (!isOutputClosed(second)) throw second;
  }
  return exitCodeOf(problem);
}

async function openOutput(world: World, options: { json: boolean; quiet: boolean }): Promise<Output> {
  const { output, notes } = world.terminal;
  return new Output(world.terminal, options, await loadPaint({ isColourful: output.isColourful && notes.isColourful }));
}

interface Plan {
  readonly run: Run | undefined;
  readonly flags: Parameters<Run>[0];
  readonly exitCode: number;
}

async function parse(argv: readonly string[], world: World): Promise<Plan> {
  let run: Run | undefined;
  const printed: string[] = [];
  const complaints: string[] = [];
  const program = new CommanderCommand('dfs')
    .description('Store and fetch files in a dfs cluster.')
    .version(world.version, '--version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .configureOutput({ writeOut: (text) => printed.push(text), writeErr: (text) => complaints.push(text) })
    .option('--config <file>', 'a TOML file with these settings (DFS_CONFIG)');
  for (const [name, setting] of Object.entries(settingsTable)) {
    const long = setting.takes === undefined ? `--${name}` : `--${name} <${setting.takes}>`;
    program.addOption(new CommanderOption('short' in setting ? `-${setting.short}, ${long}` : long, setting.about));
  }
  addExamples(program, examples);

  for (const [name, entry] of Object.entries(commands)) {
    const isNamed = argv.includes(name) || (entry.alias !== undefined && argv.includes(entry.alias));
    const command = program.command(name).description(entry.about);
    if (entry.alias !== undefined) command.alias(entry.alias);
    if (isNamed) declare(command, await entry.load(), (given) => (run = toRun(given, world)));
  }
  for (const name of laterCommands) {
    const later = program.command(name, { hidden: true }).helpOption(false).allowUnknownOption().allowExcessArguments();
    later.action(() => {
      throw new DfsError('unsupported', `dfs ${name} is not in this version`);
    });
  }

  try {
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (printed.length > 0) await world.terminal.output.write(printed.join(''));
    if (error.exitCode === 0) return { run: undefined, flags: {}, exitCode: 0 };
    if (error.code === 'commander.help') await world.terminal.notes.write(complaints.join(''));
    else throw toUsageError(error);
    return { run: undefined, flags: {}, exitCode: refusals.invalid.exitCode };
  }
  return { run, flags: program.opts(), exitCode: 0 };
}

function toUsageError(error: CommanderError): DfsError {
  const [first = '', ...others] = error.message.replace(/^error: /, '').split('\n');
  const suggestion = /^\(Did you mean (.*)\?\)$/.exec(others.join(' '))?.[1];
  const advice = suggestion === undefined ? 'See dfs --help' : `Did you mean ${suggestion}?`;
  return new DfsError('invalid', first, { advice });
}

function addExamples(command: CommanderCommand, lines: readonly string[]): void {
  command.addHelpText('before', `Examples:\n${lines.map((line) => `  ${line}`).join('\n')}\n`);
}

interface GivenCommand {
  readonly command: Command;
  readonly operands: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
}

function declare(target: CommanderCommand, command: Command, onGiven: (given: GivenCommand) => void): void {
  addExamples(target, command.examples);
  for (const operand of command.operands) target.argument(operand.name, operand.about);
  for (const [key, option] of Object.entries(command.options)) target.addOption(toCommanderOption(key, option));
  target.action(() => onGiven({ command, operands: target.args, options: withSwitches(command, target.opts()) }));
}

function toCommanderOption(key: string, option: Option<unknown>): CommanderOption {
  const long = `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const names = option.short === undefined ? long : `-${option.short}, ${long}`;
  if (option.takes === undefined) return new CommanderOption(names, option.about);
  return new CommanderOption(`${names} <${option.takes}>`, option.about).argParser((text: string) => {
    try {
      return option.parse(text);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
  });
}

function withSwitches(command: Command, given: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const switches = Object.entries(command.options).filter(([, option]) => option.takes === undefined);
  return { ...Object.fromEntries(switches.map(([key]) => [key, false])), ...given };
}

function toRun({ command, operands, options }: GivenCommand, world: World): Run {
  return async ({ config, ...flags }) => {
    const path = config ?? world.environment.DFS_CONFIG;
    const settings = toSettings({
      flags: flags as Readonly<Partial<Record<SettingName, string | boolean>>>,
      environment: world.environment,
      config: path === undefined || path === '' ? undefined : { path, values: await world.loadConfig(path) },
    });
    const output = await openOutput(world, settings);
    const clients = new Clients(world, settings);
    const interruption = listenForInterruption(world, command.interruptGraceMs ?? interruptGraceMs);
    try {
      const context: Context = {
        ...{ settings, output, terminal: world.terminal, files: world.files, processes: world.processes },
        ...{
          clock: world.clock,
          interrupted: interruption.signal,
          freePorts: world.freePorts,
          limitsOf: world.limitsOf,
        },
        examine: () => Promise.race([world.examine(settings), interruption.thrown]),
        connect: (places) => Promise.race([clients.connect(places), interruption.thrown]),
        connectAnew: () => Promise.race([clients.connectAnew(), interruption.thrown]),
      };
      return await Promise.race([command.run(context, operands, options), interruption.graceOver]);
    } catch (problem) {
      if (isOutputClosed(problem) || problem instanceof Bug) throw problem;
      if (interruption.signal.aborted) return refusals.cancelled.exitCode;
      await output.error(problem);
      return exitCodeOf(problem);
    } finally {
      interruption.stopListening();
      await Promise.race([clients.close(), sleep(world.clock, interruptGraceMs)]);
    }
  };
}

interface Interruption {
  readonly signal: AbortSignal;
  /** Rejects at the interruption. */
  readonly thrown: Promise<never>;
  /** Resolves with the exit code when the command has had its time to clean up. */
  readonly graceOver: Promise<number>;
  stopListening(): void;
}

function listenForInterruption(world: World, graceMs: number): Interruption {
  const controller = new AbortController();
  const { signal } = controller;
  setMaxListeners(0, signal); // as many transfers listen as run at once
  const thrown = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });
  const graceOver = thrown.catch(async () => {
    await sleep(world.clock, graceMs);
    return refusals.cancelled.exitCode;
  });
  const stopListening = world.terminal.onInterrupt(() => controller.abort(new DfsError('cancelled', 'Interrupted')));
  return { signal, thrown, graceOver, stopListening };
}

/** The connections a command has asked for. */
class Clients {
  readonly #world: World;
  readonly #settings: Settings;
  readonly #open = new Map<string, Promise<FileClient>>();
  readonly #connected = new Set<FileClient>();

  constructor(world: World, settings: Settings) {
    this.#world = world;
    this.#settings = settings;
  }

  connect(places: Partial<Settings> = {}): Promise<FileClient> {
    const settings = { ...this.#settings, ...places };
    const key = settings.masters.join();
    const client = this.#open.get(key) ?? this.connectAnew(settings);
    this.#open.set(key, client);
    client.catch(() => this.#open.delete(key)); // a failed attempt may be made again
    return client;
  }

  async connectAnew(settings: Settings = this.#settings): Promise<FileClient> {
    const client = await this.#world.connect(settings);
    this.#connected.add(client);
    return client;
  }

  /** Those still connecting are left to the end of the process. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#connected].map((client) => client.close()));
  }
}
