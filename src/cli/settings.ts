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
  /** Whether the user named them, rather than the default. */
  readonly mastersGiven: boolean;
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
  quiet: { takes: undefined, about: 'print errors only' },
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

interface Found {
  readonly text: string;
  readonly origin: string;
}

export function toSettings(sources: SettingSources): Settings {
  checkKeys(sources.config);
  const read = <T>(name: SettingName, parse: (text: string) => T): T | undefined => {
    const found = find(name, sources);
    if (found === undefined) return undefined;
    try {
      return parse(found.text);
    } catch (error) {
      throw new DfsError('invalid', `${found.origin}: ${(error as Error).message}`, { cause: error });
    }
  };
  const masters = read('master', parseAddresses);
  return {
    masters: masters ?? [defaultMaster],
    mastersGiven: masters !== undefined,
    bucket: read('bucket', parseBucket) ?? 'files',
    json: read('json', parseSwitch) ?? false,
    quiet: read('quiet', parseSwitch) ?? false,
    timeoutMs: read('timeout', parseSeconds) ?? timing.clientTimeoutMs,
    deadlineMs: read('deadline', parseSeconds),
    cacheDir: read('cache', (text) => text),
  };
}

function find(name: SettingName, { flags, environment, config }: SettingSources): Found | undefined {
  const flag = flags[name];
  if (flag !== undefined) return { text: String(flag), origin: `--${name}` };
  const variable = `DFS_${name.toUpperCase()}`;
  const fromEnvironment = environment[variable];
  if (fromEnvironment !== undefined && fromEnvironment !== '') return { text: fromEnvironment, origin: variable };
  const fromFile = config?.values[name];
  if (fromFile === undefined) return undefined;
  return {
    text: Array.isArray(fromFile) ? fromFile.join(',') : String(fromFile),
    origin: `${config?.path}, key "${name}"`,
  };
}

function checkKeys(config: SettingSources['config']): void {
  for (const key of Object.keys(config?.values ?? {})) {
    if (names.includes(key as SettingName)) continue;
    const close = nearest(key, names);
    usage(
      `${config?.path}: unknown key "${key}"`,
      close === undefined ? `Known are: ${names.join(', ')}` : `Did you mean "${close}"?`,
    );
  }
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
