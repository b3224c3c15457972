/**
 * The settings of a daemon, from a table of options: flag, then DFS_… in the environment, then the TOML file given by
 * --config, then the default. Every value is checked before anything starts.
 *
 * What cannot be a configuration ends the program with exit code 78 and one sentence that names the value, where it
 * came from and what would be right; a flag that does not exist is a usage error (2).
 */
import { parseArgs } from 'node:util';
import { nearest } from '../cli/suggestion.js';
import { DaemonStop, DfsError, exitCodes } from '../core/errors.js';
import { parseToml } from './toml.js';

export interface Option<T> {
  /** The name of its value in the help. */
  readonly takes: string;
  readonly about: string;
  /** As it would be written; absent: the option may be left out. */
  readonly default?: string;
  /** Throws a DfsError `invalid` that says what would be right. */
  readonly parse: (text: string) => T;
}

export type Options = Readonly<Record<string, Option<unknown>>>;

/** A value for each option; undefined only where there is no default. */
export type SettingsOf<O extends Options> = {
  readonly [K in keyof O]: ReturnType<O[K]['parse']> | (O[K] extends { readonly default: string } ? never : undefined);
};

export interface Program<O extends Options> {
  readonly name: string;
  readonly about: string;
  /** Whole command lines to copy, each with what it does. */
  readonly examples: readonly (readonly [command: string, about: string])[];
  readonly options: O;
  /** Keys of the configuration file that are not of this program, but of one that shares the file with it. */
  readonly otherKeys?: readonly string[];
  /** Words that are commands of their own: "recover". */
  readonly commands?: readonly (readonly [name: string, about: string])[];
  /** What single values cannot show: a sentence when they do not fit together. */
  check?(settings: SettingsOf<O>): string | undefined;
}

export interface Sources {
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readText(path: string): Promise<string>;
}

export type Loaded<O extends Options> =
  | { readonly kind: 'run'; readonly settings: SettingsOf<O> }
  | { readonly kind: 'command'; readonly name: string }
  | { readonly kind: 'print'; readonly text: string };

/** Throws DaemonStop. */
export async function loadSettings<O extends Options>(program: Program<O>, sources: Sources): Promise<Loaded<O>> {
  const { flags, words } = readFlags(program, sources.argv);
  if (flags.has('help')) return { kind: 'print', text: helpText(program) };
  if (flags.has('version')) return { kind: 'print', text: 'version' };
  const [command] = words;
  if (command !== undefined) {
    const names = (program.commands ?? []).map(([name]) => name);
    if (names.includes(command)) return { kind: 'command', name: command };
    throw usage(program, `Unknown command "${command}"`, nearest(command, names));
  }
  const path = flags.get('config') ?? (sources.environment.DFS_CONFIG || undefined);
  const file = path === undefined ? undefined : { path, values: await readFile(program, path, sources) };
  const settings: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(program.options)) {
    settings[name] = readSetting(name, option, { flags, environment: sources.environment, file });
  }
  const complaint = program.check?.(settings as SettingsOf<O>);
  if (complaint !== undefined) throw new DaemonStop(exitCodes.configuration, complaint);
  return { kind: 'run', settings: settings as SettingsOf<O> };
}

interface Found {
  readonly flags: ReadonlyMap<string, string>;
  readonly environment: Sources['environment'];
  readonly file: { readonly path: string; readonly values: Readonly<Record<string, unknown>> } | undefined;
}

function readSetting(name: string, option: Option<unknown>, found: Found): unknown {
  const variable = variableOf(name);
  const fromFile = found.file?.values[name];
  const candidates: readonly (readonly [origin: string, value: unknown])[] = [
    [`--${name}`, found.flags.get(name)],
    [variable, found.environment[variable] || undefined],
    [`${found.file?.path}: ${name}`, fromFile],
    ['default', option.default],
  ];
  const given = candidates.find(([, value]) => value !== undefined);
  if (given === undefined) return undefined;
  const [origin, value] = given;
  try {
    return option.parse(textOf(value));
  } catch (error) {
    if (!(error instanceof DfsError)) throw error;
    throw new DaemonStop(exitCodes.configuration, `${origin}: ${error.message}`);
  }
}

/** A value of the file as it would be written for a flag. */
function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(textOf).join(',');
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint') return String(value);
  throw new DfsError('invalid', 'The value must be a text, a number, or a list of them');
}

export function variableOf(name: string): string {
  return `DFS_${name.toUpperCase().replaceAll('-', '_')}`;
}

function readFlags<O extends Options>(
  program: Program<O>,
  argv: readonly string[],
): { flags: ReadonlyMap<string, string>; words: readonly string[] } {
  const names = [...Object.keys(program.options), 'config'];
  const switches = ['help', 'version'];
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: {
      ...Object.fromEntries(names.map((name) => [name, { type: 'string' }])),
      ...{ help: { type: 'boolean', short: 'h' }, version: { type: 'boolean', short: 'V' } },
    },
  });
  const flags = new Map<string, string>();
  const words: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') words.push(token.value);
    if (token.kind !== 'option') continue;
    if (switches.includes(token.name)) {
      flags.set(token.name, '');
      continue;
    }
    if (!names.includes(token.name)) {
      const close = nearest(token.name, names);
      throw usage(program, `Unknown flag ${token.rawName}`, close === undefined ? undefined : `--${close}`);
    }
    if (token.value === undefined) throw usage(program, `Flag --${token.name} needs a value`);
    if (flags.has(token.name)) throw usage(program, `Flag --${token.name} is given twice`);
    flags.set(token.name, token.value);
  }
  return { flags, words };
}

function usage(program: { readonly name: string }, sentence: string, suggestion?: string): DaemonStop {
  const hint = suggestion === undefined ? '' : ` (did you mean ${suggestion}?)`;
  return new DaemonStop(exitCodes.usage, `${sentence}${hint}. See ${program.name} --help`);
}

async function readFile<O extends Options>(
  program: Program<O>,
  path: string,
  sources: Sources,
): Promise<Readonly<Record<string, unknown>>> {
  try {
    const values = parseToml(await sources.readText(path), path);
    const names = Object.keys(program.options);
    for (const key of Object.keys(values)) {
      if (names.includes(key) || program.otherKeys?.includes(key)) continue;
      const close = nearest(key, names);
      const hint = close === undefined ? `It may hold ${names.join(', ')}` : `Did you mean "${close}"?`;
      throw new DfsError('invalid', `Configuration file ${path}: unknown key "${key}". ${hint}`);
    }
    return values;
  } catch (error) {
    if (!(error instanceof DfsError)) throw error;
    throw new DaemonStop(exitCodes.configuration, error.message);
  }
}

function helpText<O extends Options>(program: Program<O>): string {
  const { name, about, examples, options, commands = [] } = program;
  const rows = [
    ...Object.entries(options).map(([flag, option]): [string, string] => [
      `--${flag} ${option.takes}`,
      option.default === undefined ? option.about : `${option.about} (${option.default})`,
    ]),
    ['--config FILE', 'a TOML file with these names as keys'],
    ['--help, --version', 'this text; the version'],
  ] as const;
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return [
    'Examples:',
    ...examples.map(([command, what]) => `  ${command}\n      ${what}`),
    '',
    `${name}: ${about}`,
    '',
    'Options (each also as DFS_… in the environment; flag, then environment, then file, then default):',
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`),
    ...(commands.length === 0 ? [] : ['', 'Commands:']),
    ...commands.map(([command, what]) => `  ${command.padEnd(width)}${what}`),
  ].join('\n');
}
