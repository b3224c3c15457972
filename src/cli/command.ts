/**
 * What a command of the command line is: its words, its options as a table from which their types come, and what it
 * runs. program.ts turns it into what the user meets.
 */
import type { Examination } from '../client/examination.js';
import type { FileClient } from '../client/file-client.js';
import type { Clock } from '../core/environment.js';
import { DfsError } from '../core/errors.js';
import type { Address } from '../core/ids.js';
import type { LocalFiles, MachineLimits, Processes, Terminal } from '../core/local-machine.js';
import type { Here } from './diagnosis.js';
import type { Output } from './output.js';
import type { Settings } from './settings.js';

export interface Context {
  readonly settings: Settings;
  readonly terminal: Terminal;
  readonly files: LocalFiles;
  readonly processes: Processes;
  readonly clock: Clock;
  readonly output: Output;
  /** Aborted when the user interrupts. */
  readonly interrupted: AbortSignal;
  /** The client of these settings, connected once; with other places, one for them. The program closes them. */
  connect(places?: { readonly masters: readonly Address[]; readonly cacheDir?: string }): Promise<FileClient>;
  /** One more client of these settings, with connections of its own. The program closes it. */
  connectAnew(): Promise<FileClient>;
  /** How the cluster of these settings looks from here, and this machine itself; answers also when nothing works. */
  examine(): Promise<{ readonly cluster: Examination; readonly here: Here }>;
  /** What this machine can do at most with files below a folder. */
  limitsOf(folder: string): Promise<MachineLimits>;
  /** Ports of loopback on which nobody listens, from `from` upwards; any, when that is 0. */
  freePorts(wanted: { from: number; count: number }): Promise<readonly number[]>;
}

export interface Option<T> {
  readonly short?: string;
  /** The name of the option's value in the help; undefined for a switch. */
  readonly takes?: string;
  readonly about: string;
  /** Throws a DfsError `invalid` that says what would be valid. */
  readonly parse: (text: string) => T;
}

type Options = Readonly<Record<string, Option<unknown>>>;

/** A value that was not given is undefined; a switch that was not given is false. */
export type Given<O extends Options> = {
  readonly [K in keyof O]: O[K] extends Option<infer T> ? (T extends boolean ? boolean : T | undefined) : never;
};

export interface Command<O extends Options = Options> {
  /** As commander writes them: "<file...>", "[prefix]". */
  readonly operands: readonly { readonly name: string; readonly about: string }[];
  readonly options: O;
  readonly examples: readonly string[];
  /** How long an interrupted command may take to clean up. */
  readonly interruptGraceMs?: number;
  /** Resolves with the exit code. */
  run(context: Context, operands: readonly string[], options: Given<O>): Promise<number>;
}

export function defineCommand<const O extends Options>(command: Command<O>): Command {
  return command as unknown as Command;
}

export function toggle(about: string, short?: string): Option<boolean> {
  return { about, parse: () => true, ...(short === undefined ? {} : { short }) };
}

export function textOption(takes: string, about: string, short?: string): Option<string> {
  return { takes, about, parse: (text) => text, ...(short === undefined ? {} : { short }) };
}

export function countOption(takes: string, about: string, bounds: { min: number; max: number }): Option<number> {
  return { takes, about, parse: (text) => parseCount(text, bounds) };
}

export function parseCount(text: string, { min, max }: { min: number; max: number }): number {
  const count = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(count) && count >= min && count <= max) return count;
  throw new DfsError('invalid', `"${text}" is not a whole number from ${min} to ${max}`);
}

/** "512", "64K", "4MiB", "1.5G": bytes; K, M, G and T are powers of 1024. */
export function parseBytes(text: string): number {
  const match = /^(\d{1,16}(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text);
  const power = 'KMGT'.indexOf(match?.[2]?.toUpperCase() || '-') + 1;
  const bytes = match === null ? Number.NaN : Math.round(Number(match[1]) * 1024 ** power);
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new DfsError('invalid', `"${text}" is not a size; write it as 4194304, 4096K or 4M`);
}

/** "30", "0.5": seconds, as milliseconds. */
export function parseSeconds(text: string): number {
  const seconds = /^\d{1,9}(?:\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
  if (seconds > 0) return seconds * 1000;
  throw new DfsError('invalid', `"${text}" is not a number of seconds above 0`);
}

export function usage(message: string, advice?: string): never {
  throw new DfsError('invalid', message, advice === undefined ? {} : { advice });
}
