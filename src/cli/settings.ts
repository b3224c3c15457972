/**
 * The settings every command shares, and where each comes from: flag, then DFS_… in the environment, then the file
 * given by --config, then the default.
 */
import { DfsError } from '../core/errors.js';
import type { Address } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { timing } from '../core/timing.js';
import { parseSeconds, usage } from './command.js';
import { nearest } from './suggestion.js';

export interface Settings {
  readonly masters: readonly Address[];
  readonly bucket: string;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly timeoutMs: number;
  readonly deadlineMs: number | undefined;
  readonly cacheDir: string | undefined;
}

export const defaultMaster = '127.0.0.1:7420';

export const settingsTable = {
  master: { takes: 'host:port,…', about: `the master's address, or several (${defaultMaster})` },
  bucket: { takes: 'name', about: 'the bucket to work in (files)' },
  json: { takes: undefined, about: 'print JSON: one document, or one object a line' },
  quiet: { short: 'q', takes: undefined, about: 'print errors only' },
  timeout: { takes: 'seconds', about: `longest time without progress (${timing.clientTimeoutMs / 1000})` },
  deadline: { takes: 'seconds', about: 'longest time for the whole operation (none)' },
  cache: { takes: 'dir', about: 'where the cluster map is remembered' },
} as const;
export type SettingName = keyof typeof settingsTable;

const names = Object.keys(settingsTable) as SettingName[];

export interface SettingSources {
  readonly flags: Readonly<Partial<Record<SettingName, string | boolean>>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly config: { readonly path: string; readonly values: Readonly<Record<string, unknown>> } | undefined;
}

const parsers = {
  master: parseAddresses,
  bucket: parseBucket,
  json: parseSwitch,
  quiet: parseSwitch,
  timeout: parseSeconds,
  deadline: parseSeconds,
  cache: (text: string) => text,
} as const satisfies Record<SettingName, (text: string) => unknown>;

interface Found {
  readonly text: string;
  readonly origin: string;
}

export function toSettings(sources: SettingSources): Settings {
  checkFile(sources.config);
  const read = <N extends SettingName>(name: N): ReturnType<(typeof parsers)[N]> | undefined => {
    const found = find(name, sources);
    return found === undefined ? undefined : parse(name, found);
  };
  return {
    masters: read('master') ?? [defaultMaster],
    bucket: read('bucket') ?? 'files',
    json: read('json') ?? false,
    quiet: read('quiet') ?? false,
    timeoutMs: read('timeout') ?? timing.clientTimeoutMs,
    deadlineMs: read('deadline'),
    cacheDir: read('cache'),
  };
}

function parse<N extends SettingName>(name: N, { text, origin }: Found): ReturnType<(typeof parsers)[N]> {
  try {
    return parsers[name](text) as ReturnType<(typeof parsers)[N]>;
  } catch (error) {
    throw new DfsError('invalid', `${origin}: ${(error as Error).message}`, { cause: error });
  }
}

function find(name: SettingName, { flags, environment, config }: SettingSources): Found | undefined {
  const flag = flags[name];
  if (flag !== undefined) return { text: String(flag), origin: `--${name}` };
  const variable = `DFS_${name.toUpperCase()}`;
  const fromEnvironment = environment[variable];
  if (fromEnvironment !== undefined && fromEnvironment !== '') return { text: fromEnvironment, origin: variable };
  return config === undefined ? undefined : findInFile(name, config);
}

function findInFile(name: SettingName, { path, values }: NonNullable<SettingSources['config']>): Found | undefined {
  const value = values[name];
  if (value === undefined) return undefined;
  return { text: Array.isArray(value) ? value.join(',') : String(value), origin: `${path}, key "${name}"` };
}

/** All of the file is checked, also what a flag overrides: a mistake should not wait for the day it counts. */
function checkFile(config: SettingSources['config']): void {
  if (config === undefined) return;
  for (const key of Object.keys(config.values)) {
    const name = names.find((known) => known === key);
    if (name === undefined) refuseKey(key, config.path);
    const found = findInFile(name, config);
    if (found !== undefined) parse(name, found);
  }
}

function refuseKey(key: string, path: string): never {
  const close = nearest(key, names);
  const advice = close === undefined ? `Known are: ${names.join(', ')}` : `Did you mean "${close}"?`;
  usage(`${path}: unknown key "${key}"`, advice);
}

function parseSwitch(text: string): boolean {
  if (['true', '1', 'yes'].includes(text)) return true;
  if (['false', '0', 'no'].includes(text)) return false;
  throw new DfsError('invalid', `"${text}" is neither true nor false`);
}

export function parseAddresses(text: string): readonly Address[] {
  return text.split(',').map((part) => {
    const address = part.trim();
    const match = /^(?:\[[0-9a-f:.]+\]|[^\s:[\]]+):(\d{1,5})$/i.exec(address);
    const port = Number(match?.[1]);
    if (port >= 1 && port <= 65_535) return address;
    throw new DfsError('invalid', `"${address}" is not an address; write HOST:PORT with a port from 1 to 65535`);
  });
}

export function parseBucket(text: string): string {
  const { bucketLengthMin, bucketLengthMax } = limits;
  if (/^[a-z0-9.-]+$/.test(text) && text.length >= bucketLengthMin && text.length <= bucketLengthMax) return text;
  throw new DfsError(
    'invalid',
    `"${text}" is not a bucket; write ${bucketLengthMin} to ${bucketLengthMax} of a–z, 0–9, "." and "-"`,
  );
}
