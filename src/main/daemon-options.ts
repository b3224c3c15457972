/**
 * The options of dfs-master, its command recover, and dfs-peer, as tables: name, meaning, default and what is a right
 * value.
 */
import { parseBytes } from '../cli/command.js';
import { DfsError } from '../core/errors.js';
import type { Address } from '../core/ids.js';
import { limits } from '../core/limits.js';
import type { Option, Program } from './config.js';

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;

const logLevel = {
  takes: 'LEVEL',
  about: `what is logged to stderr: ${logLevels.join(', ')}; SIGHUP reads it again`,
  default: 'info',
  parse: (text: string) => logLevels.find((level) => level === text) ?? invalid(text, `one of ${logLevels.join(', ')}`),
} satisfies Option<(typeof logLevels)[number]>;

const masterOptions = {
  listen: {
    takes: 'HOST:PORT',
    about: 'where peers and clients find this master',
    default: '127.0.0.1:7420',
    parse: parseAddress,
  },
  data: { takes: 'DIR', about: 'where the cluster map is kept', default: './dfs-data/master', parse: parsePath },
  replicas: {
    takes: 'N',
    about: `wanted copies of everything, 1 to ${limits.replicasMax}; for a new cluster`,
    default: '2',
    parse: (text: string) => parseWhole(text, { min: 1, max: limits.replicasMax }),
  },
  'min-in-sync': {
    takes: 'N',
    about: 'copies without which writes are refused; for a new cluster',
    default: '1',
    parse: (text: string) => parseWhole(text, { min: 1, max: limits.replicasMax }),
  },
  slots: {
    takes: 'N',
    about: `slices of the hash space, a power of two up to ${limits.slotsMax}; for a new cluster`,
    default: String(limits.slotsDefault),
    parse: parseSlots,
  },
  'repair-grace': {
    takes: 'SECONDS',
    about: 'how long an absent peer is waited for before its copies are made elsewhere; at most 5 when one is left',
    default: '30',
    parse: parseSeconds,
  },
  quarantine: {
    takes: 'SECONDS',
    about: 'how long a surplus copy is kept',
    default: '86400',
    parse: parseSeconds,
  },
  'checkpoint-every': {
    takes: 'SECONDS',
    about: 'how often a checkpoint is made by itself; 0: never',
    default: '0',
    parse: parseSeconds,
  },
  'checkpoint-keep': {
    takes: 'N',
    about: 'how many of those are kept, the newest; others stay until they are removed',
    default: '7',
    parse: (text: string) => parseWhole(text, { min: 1, max: limits.checkpointsMax - 8 }),
  },
  'on-event': { takes: 'COMMAND', about: 'run at each event, with the event as JSON on stdin', parse: parseCommand },
  'log-level': logLevel,
} as const satisfies Record<string, Option<unknown>>;

export const masterProgram: Program<typeof masterOptions> = {
  name: 'dfs-master',
  about: 'decides which peer serves what; never on the path of a file',
  examples: [
    ['dfs-master', 'on this machine only, data under ./dfs-data/master'],
    ['dfs-master --listen 10.0.0.1:7420 --data /var/lib/dfs-master', 'for peers on other hosts'],
    ['dfs-master --replicas 3 --min-in-sync 2', 'a new cluster that keeps three copies'],
  ],
  options: masterOptions,
  commands: [['recover', 'make the map again from the peers, after its disk was lost: dfs-master recover --help']],
  check(settings) {
    const { replicas, 'min-in-sync': minInSync } = settings;
    if (minInSync <= replicas) return undefined;
    return `min-in-sync is ${minInSync}, more than the ${replicas} replicas: every write would be refused`;
  },
};

const recoverOptions = {
  peer: {
    takes: 'HOST:PORT[,…]',
    about: 'a peer that runs, or several; those that they know of are asked too',
    parse: parseAddresses,
  },
  data: {
    takes: 'DIR',
    about: 'the data folder the master will have; there must be no map in it',
    default: masterOptions.data.default,
    parse: parsePath,
  },
  'accept-missing': {
    takes: 'ID[,…]',
    about: 'peers that are gone for good: go on without what only they know',
    parse: (text: string) => text.split(',').map((one) => parseName(one.trim())),
  },
  'log-level': { ...logLevel, default: 'warn' },
} as const satisfies Record<string, Option<unknown>>;

export const recoverProgram: Program<typeof recoverOptions> = {
  name: 'dfs-master recover',
  about:
    'makes the cluster map again from what the peers know, after the data folder of the master was lost; then start ' +
    'dfs-master over the folder as always. Slots of which a peer that does not answer may know more wait for it: ' +
    'start it, and it is asked when it joins',
  examples: [
    ['dfs-master recover --peer 10.0.0.2:7421 --data /var/lib/dfs-master', 'the one peer named tells of the others'],
    [
      'dfs-master recover --accept-missing p3 --data /var/lib/dfs-master',
      'later, with the master stopped, when p3 is gone for good: what only p3 knew is lost',
    ],
  ],
  options: recoverOptions,
  otherKeys: Object.keys(masterOptions),
};

const peerOptions = {
  listen: {
    takes: 'HOST:PORT',
    about: 'where clients, peers and the master find this peer; port 0 picks one',
    default: '127.0.0.1:7421',
    parse: parseAddress,
  },
  advertise: { takes: 'HOST:PORT', about: 'the address to give others, where it differs', parse: parseAddress },
  master: {
    takes: 'HOST:PORT[,…]',
    about: 'the master, or several',
    default: '127.0.0.1:7420',
    parse: parseAddresses,
  },
  data: { takes: 'DIR', about: 'where files are kept', default: './dfs-data/peer', parse: parsePath },
  zone: { takes: 'NAME', about: 'copies go to different zones (the host name)', parse: parseName },
  weight: {
    takes: 'N',
    about: 'share of the data, compared with other peers',
    default: '1',
    parse: (text: string) => parseNumber(text, { min: 0, max: limits.weightMax }),
  },
  reserve: { takes: 'BYTES', about: 'room kept free on the disk (2 %, at least 256 MiB)', parse: parseBytes },
  reads: {
    takes: 'MODE',
    about: 'lease, or confirm: a round trip for every read, for hosts that are paused at will',
    default: 'lease',
    parse: (text: string) => (text === 'lease' || text === 'confirm' ? text : invalid(text, 'lease or confirm')),
  },
  'sweep-after': {
    takes: 'SECONDS',
    about: 'when an abandoned upload is swept',
    default: '86400',
    parse: parseSeconds,
  },
  'replaced-grace': {
    takes: 'SECONDS',
    about: 'how long replaced and deleted bytes stay readable for those who read them',
    default: '600',
    parse: parseSeconds,
  },
  'max-file-size': { takes: 'BYTES', about: 'larger files are refused (no limit)', parse: parseBytes },
  'max-uploads': {
    takes: 'N',
    about: 'unfinished uploads kept at once (no limit)',
    parse: (text: string) => parseWhole(text, { min: 1, max: 1_000_000 }),
  },
  'log-level': logLevel,
} as const satisfies Record<string, Option<unknown>>;

export const peerProgram: Program<typeof peerOptions> = {
  name: 'dfs-peer',
  about: 'keeps files and serves them',
  examples: [
    ['dfs-peer', 'joins the master on this machine, data under ./dfs-data/peer'],
    ['dfs-peer --master 10.0.0.1:7420 --listen 10.0.0.2:7421 --data /var/lib/dfs-peer', 'on a host of its own'],
    ['dfs-peer --listen 127.0.0.1:0 --data /mnt/disk2/dfs --zone rack-2', 'a second peer, on any free port'],
  ],
  options: peerOptions,
};

function invalid(text: string, wanted: string): never {
  throw new DfsError('invalid', `"${text}" is not ${wanted}`);
}

/** "host:port", "[::1]:port"; port 0 to 65535. */
export function parseAddress(text: string): Address {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+):(\d{1,9})$/.exec(text);
  if (match === null) return invalid(text, 'an address; write HOST:PORT, such as 127.0.0.1:7420');
  if (Number(match[2]) > 65_535) return invalid(text, `an address: port ${match[2]} is above 65535`);
  return text;
}

function parseAddresses(text: string): readonly Address[] {
  return text.split(',').map((one) => parseAddress(one.trim()));
}

function parseWhole(text: string, range: { min: number; max: number }): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= range.min && value <= range.max) return value;
  return invalid(text, `a whole number from ${range.min} to ${range.max}`);
}

function parseNumber(text: string, range: { min: number; max: number }): number {
  const value = /^\d{1,15}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
  if (value >= range.min && value <= range.max) return value;
  return invalid(text, `a number from ${range.min} to ${range.max}`);
}

/** As milliseconds. */
function parseSeconds(text: string): number {
  return Math.round(parseNumber(text, { min: 0, max: 10 * 366 * 86_400 }) * 1000);
}

function parseSlots(text: string): number {
  const slots = parseWhole(text, { min: 1, max: limits.slotsMax });
  return Number.isInteger(Math.log2(slots)) ? slots : invalid(text, 'a power of two, such as 1024');
}

function parsePath(text: string): string {
  return text !== '' && !text.includes('\0') ? text : invalid(text, 'a path');
}

function parseCommand(text: string): string {
  return text.trim() === '' ? invalid(text, 'a command') : text;
}

function parseName(text: string): string {
  return text !== '' && Buffer.byteLength(text) <= 255 ? text : invalid(text, 'a name of 1 to 255 bytes');
}
